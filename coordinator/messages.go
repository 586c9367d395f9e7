package coordinator

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/vmihailenco/msgpack/v5"

	"nodedb/node/row"
	"nodedb/node/storage"
	"nodedb/node/trace"
	"nodedb/vnodes"
)

// messageVersion begins every envelope. Fields are positional and only grow at the end.
const messageVersion = 1

// Fence carries the epochs a request was sent under. A replica that has not applied Needs waits for it; one whose ring is newer than
// Ring looks whether the request still went to the right owners.
type Fence struct {
	Needs uint64 // newest metadata entry the request depends on: its tables' and the ring's
	Ring  uint64 // entry that last changed the ring the coordinator used
	Clock int64  // coordinator's hybrid clock, µs
}

// WriteMessage is VerbWrite's body: [version, needs, ring, clock, repair, mutations…, background].
type WriteMessage struct {
	Fence
	Mutations [][]byte // row.Mutation bytes
	// Decoded is what Mutations would be decoded to, of a message to this node's own replica, instead of them; it doesn't travel. They have been checked, and
	// are the replica's until done.
	Decoded []row.Mutation
	// Trace takes the steps on this node's own replica; it doesn't travel (rpc.Call.Trace does).
	Trace *trace.Span
	// Repair says that the mutations complete a read or a stream: owners only, no further checks of timestamps.
	Repair bool
	// Background says that no client waits for these mutations (hints): on the replica they make way for requests.
	Background bool
}

// ReadMessage is VerbRead's body.
type ReadMessage struct {
	Fence
	Digest bool
	Spec   storage.ReadSpec
	Trace  *trace.Span // as in WriteMessage
	// Room, of a read of this node's own, is what the page may lie in; it does not travel.
	Room []byte
}

// ReadReply answers VerbRead: a page, or its digest.
type ReadReply struct {
	Page   []byte
	Digest [16]byte
	Events []byte // of a traced read: trace.Encode's
}

var encoders = sync.Pool{New: func() any {
	e := &encoder{}
	e.enc = msgpack.NewEncoder(&e.buf)
	e.enc.UseCompactInts(true)
	return e
}}

// encoder is a reusable msgpack writer. Writes into its buffer can't fail.
type encoder struct {
	buf bytes.Buffer
	enc *msgpack.Encoder
}

func (e *encoder) int(v int64)    { _ = e.enc.EncodeInt(v) }
func (e *encoder) uint(v uint64)  { _ = e.enc.EncodeUint(v) }
func (e *encoder) bool(v bool)    { _ = e.enc.EncodeBool(v) }
func (e *encoder) bytes(v []byte) { _ = e.enc.EncodeBytes(v) }
func (e *encoder) array(n int)    { _ = e.enc.EncodeArrayLen(n) }

// encode runs f with a pooled encoder and gives its bytes; they are valid until use returns.
func encode(f func(*encoder), use func(body []byte)) {
	e := newEncoder()
	f(e)
	use(e.buf.Bytes())
	e.release()
}

// newEncoder takes an empty encoder from the pool; its bytes are valid until release.
func newEncoder() *encoder {
	e := encoders.Get().(*encoder)
	e.buf.Reset()
	return e
}

func (e *encoder) release() { encoders.Put(e) }

func (e *encoder) fence(f *Fence) {
	e.uint(f.Needs)
	e.uint(f.Ring)
	e.int(f.Clock)
}

// encodeTo writes the message's envelope.
func (m *WriteMessage) encodeTo(e *encoder) {
	e.uint(messageVersion)
	e.fence(&m.Fence)
	e.bool(m.Repair)
	e.array(len(m.Mutations))
	for _, b := range m.Mutations {
		e.bytes(b)
	}
	e.bool(m.Background)
}

func (m *ReadMessage) encodeTo(e *encoder) {
	s := &m.Spec
	e.uint(messageVersion)
	e.fence(&m.Fence)
	e.bool(m.Digest)
	e.uint(uint64(s.Storage))
	e.int(int64(s.Token))
	e.bytes(s.Key)
	e.int(int64(s.Range.Start))
	e.int(int64(s.Range.End))
	e.array(len(s.Slices))
	for _, sl := range s.Slices {
		e.bytes(sl.Start)
		e.bytes(sl.End)
	}
	e.bool(s.NoRows)
	e.bool(s.Reverse)
	if s.After == nil {
		e.bytes(nil)
	} else {
		e.bytes(s.After.Append(nil))
	}
	e.int(s.Now)
	e.uint(uint64(s.RowLimit))
	e.uint(uint64(s.PartitionRows))
	e.uint(uint64(s.ByteLimit))
	e.uint(uint64(s.WorkLimit))
	if s.Count { // left out where it isn't so, as older nodes do
		e.bool(true)
	}
}

func (r *ReadReply) encodeTo(e *encoder) {
	e.uint(messageVersion)
	e.bytes(r.Digest[:])
	e.bytes(r.Page)
	if r.Events != nil {
		e.bytes(r.Events)
	}
}

// decoder reads an envelope; the first failure sticks.
type decoder struct {
	r   bytes.Reader
	all []byte
	dec *msgpack.Decoder
	err error
}

// maxItems bounds arrays in an envelope, so that hostile lengths can't allocate.
const maxItems = 1 << 16

// release gives the decoder back. What it gave aliases the body, not the decoder.
func (d *decoder) release() {
	d.all, d.err = nil, nil
	d.r.Reset(nil)
	decoders.Put(d)
}

var decoders = sync.Pool{New: func() any {
	d := &decoder{}
	d.dec = msgpack.NewDecoder(&d.r)
	return d
}}

func newDecoder(body []byte) *decoder {
	d := decoders.Get().(*decoder)
	d.all, d.err = body, nil
	d.r.Reset(body)
	if v := d.uint(); d.err == nil && v != messageVersion {
		d.err = fmt.Errorf("message version %d, want %d: mixed nodedb versions?", v, messageVersion)
	}
	return d
}

func (d *decoder) int() int64 {
	if d.err != nil {
		return 0
	}
	var v int64
	v, d.err = d.dec.DecodeInt64()
	return v
}

func (d *decoder) uint() uint64 {
	if d.err != nil {
		return 0
	}
	var v uint64
	v, d.err = d.dec.DecodeUint64()
	return v
}

func (d *decoder) bool() bool {
	if d.err != nil {
		return false
	}
	var v bool
	v, d.err = d.dec.DecodeBool()
	return v
}

// bytes gives a view into the body: nil stays nil.
func (d *decoder) bytes() []byte {
	if d.err != nil {
		return nil
	}
	var n int
	n, d.err = d.dec.DecodeBytesLen()
	if d.err != nil || n < 0 {
		return nil
	}
	at := len(d.all) - d.r.Len()
	if n > d.r.Len() {
		d.err = fmt.Errorf("message cut short: %d bytes announced, %d left", n, d.r.Len())
		return nil
	}
	if _, d.err = d.r.Seek(int64(n), 1); d.err != nil {
		return nil
	}
	return d.all[at : at+n : at+n]
}

func (d *decoder) array() int {
	if d.err != nil {
		return 0
	}
	var n int
	n, d.err = d.dec.DecodeArrayLen()
	if d.err == nil && (n < 0 || n > maxItems) {
		d.err = fmt.Errorf("array of %d items in a message, at most %d are allowed", n, maxItems)
	}
	if d.err != nil {
		return 0
	}
	return n
}

func (d *decoder) fence(f *Fence) {
	f.Needs, f.Ring, f.Clock = d.uint(), d.uint(), d.int()
}

// DecodeWrite reads a WriteMessage in place: it aliases body.
func DecodeWrite(body []byte) (*WriteMessage, error) {
	m := &WriteMessage{}
	return m, m.Decode(body)
}

// Decode is DecodeWrite that uses the room of m.Mutations again.
func (m *WriteMessage) Decode(body []byte) error {
	d := newDecoder(body)
	defer d.release()
	*m = WriteMessage{Mutations: m.Mutations[:0]}
	d.fence(&m.Fence)
	m.Repair = d.bool()
	n := d.array()
	for i := 0; i < n && d.err == nil; i++ {
		m.Mutations = append(m.Mutations, d.bytes())
	}
	if d.err == nil && d.r.Len() > 0 {
		m.Background = d.bool()
	}
	return d.err
}

// DecodeRead reads a ReadMessage in place: it aliases body.
func DecodeRead(body []byte) (*ReadMessage, error) {
	d := newDecoder(body)
	defer d.release()
	m := &ReadMessage{}
	s := &m.Spec
	d.fence(&m.Fence)
	m.Digest = d.bool()
	s.Storage = row.StorageID(d.uint())
	s.Token = vnodes.Token(d.int())
	s.Key = d.bytes()
	s.Range = vnodes.Range{Start: vnodes.Token(d.int()), End: vnodes.Token(d.int())}
	n := d.array()
	for i := 0; i < n && d.err == nil; i++ {
		s.Slices = append(s.Slices, storage.Slice{Start: d.bytes(), End: d.bytes()})
	}
	s.NoRows, s.Reverse = d.bool(), d.bool()
	if after := d.bytes(); d.err == nil && len(after) > 0 {
		p, _, err := row.DecodePosition(after)
		s.After, d.err = &p, err
	}
	s.Now = d.int()
	s.RowLimit, s.PartitionRows = int(d.uint()), int(d.uint())
	s.ByteLimit, s.WorkLimit = int(d.uint()), int(d.uint())
	if d.err == nil && d.r.Len() > 0 {
		s.Count = d.bool()
	}
	return m, d.err
}

// DecodeReadReply reads a ReadReply in place: it aliases body.
func DecodeReadReply(body []byte) (*ReadReply, error) {
	r := &ReadReply{}
	err := r.decode(body)
	return r, err
}

func (r *ReadReply) decode(body []byte) error {
	d := newDecoder(body)
	defer d.release()
	copy(r.Digest[:], d.bytes())
	r.Page = d.bytes()
	if d.err == nil && d.r.Len() > 0 {
		r.Events = d.bytes()
	}
	return d.err
}

// EncodeReadReply gives VerbRead's answer to use, which must copy it.
func EncodeReadReply(r *ReadReply, use func(body []byte)) {
	e := newEncoder()
	r.encodeTo(e)
	use(e.buf.Bytes())
	e.release()
}
