package wire

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sort"
)

// The primitives of the protocol's section 3, append-style. Integers are big-endian.

// AppendShort appends a [short].
func AppendShort(dst []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(dst, v) }

// AppendInt appends an [int].
func AppendInt(dst []byte, v int32) []byte { return binary.BigEndian.AppendUint32(dst, uint32(v)) }

// AppendLong appends a [long].
func AppendLong(dst []byte, v int64) []byte { return binary.BigEndian.AppendUint64(dst, uint64(v)) }

// AppendString appends a [string]; what is over 65,535 bytes is cut off at a rune's start (only messages can be that long).
func AppendString(dst []byte, s string) []byte {
	if len(s) > maxItems {
		s = s[:maxItems]
		for len(s) > 0 && s[len(s)-1]&0xC0 == 0x80 {
			s = s[:len(s)-1]
		}
		s = s[:max(len(s)-1, 0)]
	}
	dst = AppendShort(dst, uint16(len(s)))
	return append(dst, s...)
}

// AppendLongString appends a [long string].
func AppendLongString(dst []byte, s string) []byte {
	dst = AppendInt(dst, int32(len(s)))
	return append(dst, s...)
}

// AppendBytes appends [bytes]; nil is null.
func AppendBytes(dst, b []byte) []byte {
	if b == nil {
		return AppendInt(dst, -1)
	}
	dst = AppendInt(dst, int32(len(b)))
	return append(dst, b...)
}

// AppendUnset appends the [value] that says that a bind marker has none.
func AppendUnset(dst []byte) []byte { return AppendInt(dst, -2) }

// AppendShortBytes appends [short bytes]. Only ids are short bytes: b is under 65,536 bytes.
func AppendShortBytes(dst, b []byte) []byte {
	dst = AppendShort(dst, uint16(len(b)))
	return append(dst, b...)
}

// AppendStringList appends a [string list].
func AppendStringList(dst []byte, list []string) []byte {
	dst = AppendShort(dst, uint16(len(list)))
	for _, s := range list {
		dst = AppendString(dst, s)
	}
	return dst
}

// AppendStringMap appends a [string map], by key, so that equal maps have equal bytes.
func AppendStringMap(dst []byte, m map[string]string) []byte {
	dst = AppendShort(dst, uint16(len(m)))
	for _, k := range sortedKeys(m) {
		dst = AppendString(AppendString(dst, k), m[k])
	}
	return dst
}

// AppendStringMultimap appends a [string multimap], by key.
func AppendStringMultimap(dst []byte, m map[string][]string) []byte {
	dst = AppendShort(dst, uint16(len(m)))
	for _, k := range sortedKeys(m) {
		dst = AppendStringList(AppendString(dst, k), m[k])
	}
	return dst
}

// AppendBytesMap appends a [bytes map], by key: a custom payload.
func AppendBytesMap(dst []byte, m map[string][]byte) []byte {
	dst = AppendShort(dst, uint16(len(m)))
	for _, k := range sortedKeys(m) {
		dst = AppendBytes(AppendString(dst, k), m[k])
	}
	return dst
}

// AppendInet appends an [inet]: an address and a port.
func AppendInet(dst []byte, a netip.AddrPort) []byte {
	dst = AppendInetAddr(dst, a.Addr())
	return AppendInt(dst, int32(a.Port()))
}

// AppendInetAddr appends an [inetaddr]: an address without a port.
func AppendInetAddr(dst []byte, a netip.Addr) []byte {
	raw := a.Unmap().AsSlice()
	dst = append(dst, byte(len(raw)))
	return append(dst, raw...)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// Decoder reads primitives from a frame's body. The first error sticks: later reads give zero values, and Err tells. Slices it gives alias the
// body; strings are copies. Counts are checked against the bytes that are left before anything is allocated for them.
type Decoder struct {
	b   []byte
	err error
}

// NewDecoder reads from b.
func NewDecoder(b []byte) Decoder { return Decoder{b: b} }

// Err is the first error, which wraps ErrMalformed, or nil.
func (d *Decoder) Err() error { return d.err }

// Rest is what has not been read yet.
func (d *Decoder) Rest() []byte { return d.b }

// Done gives an error when anything went wrong or bytes are left over.
func (d *Decoder) Done() error {
	if d.err == nil && len(d.b) > 0 {
		d.fail("%d bytes too many", len(d.b))
	}
	return d.err
}

func (d *Decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
	}
	d.b = nil
}

// take gives the next n bytes, or nil after an error.
func (d *Decoder) take(n int, what string) []byte {
	if d.err != nil {
		return nil
	}
	if n < 0 || n > len(d.b) {
		d.fail("%s needs %d bytes, %d are left", what, n, len(d.b))
		return nil
	}
	out := d.b[:n:n]
	d.b = d.b[n:]
	return out
}

// Byte reads a [byte].
func (d *Decoder) Byte() byte {
	if b := d.take(1, "[byte]"); b != nil {
		return b[0]
	}
	return 0
}

// Short reads a [short].
func (d *Decoder) Short() uint16 {
	if b := d.take(2, "[short]"); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// Int reads an [int].
func (d *Decoder) Int() int32 {
	if b := d.take(4, "[int]"); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

// Long reads a [long].
func (d *Decoder) Long() int64 {
	if b := d.take(8, "[long]"); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

// UUID reads a [uuid].
func (d *Decoder) UUID() (id [16]byte) {
	copy(id[:], d.take(16, "[uuid]"))
	return id
}

// String reads a [string].
func (d *Decoder) String() string { return string(d.take(int(d.Short()), "[string]")) }

// LongString reads a [long string].
func (d *Decoder) LongString() string { return string(d.take(int(d.Int()), "[long string]")) }

// Bytes reads [bytes]; null is nil, and empty is not nil.
func (d *Decoder) Bytes() []byte {
	n := d.Int()
	if n < 0 {
		return nil
	}
	return d.take(int(n), "[bytes]")
}

// Value reads a [value]: null is nil; unset says that the bind marker has no value.
func (d *Decoder) Value() (value []byte, unset bool) {
	switch n := d.Int(); {
	case n >= 0:
		return d.take(int(n), "[value]"), false
	case n == -1:
		return nil, false
	case n == -2:
		return nil, true
	default:
		d.fail("[value] of length %d", n)
		return nil, false
	}
}

// ShortBytes reads [short bytes].
func (d *Decoder) ShortBytes() []byte { return d.take(int(d.Short()), "[short bytes]") }

// count reads a [short] that counts items of at least size bytes each, and fails when they can't all be there.
func (d *Decoder) count(size int, what string) int {
	n := int(d.Short())
	return d.fits(n, size, what)
}

// fits checks that n items of at least size bytes each can be in what is left, so that a length field alone makes nobody allocate.
func (d *Decoder) fits(n, size int, what string) int {
	if d.err != nil {
		return 0
	}
	if n < 0 || n > len(d.b)/size {
		d.fail("%d %s in %d bytes", n, what, len(d.b))
		return 0
	}
	return n
}

// StringList reads a [string list].
func (d *Decoder) StringList() []string {
	n := d.count(2, "strings")
	list := make([]string, 0, n)
	for range n {
		list = append(list, d.String())
	}
	return list
}

// StringMap reads a [string map].
func (d *Decoder) StringMap() map[string]string {
	n := d.count(4, "map entries")
	m := make(map[string]string, n)
	for range n {
		k := d.String()
		m[k] = d.String()
	}
	return m
}

// StringMultimap reads a [string multimap].
func (d *Decoder) StringMultimap() map[string][]string {
	n := d.count(4, "map entries")
	m := make(map[string][]string, n)
	for range n {
		k := d.String()
		m[k] = d.StringList()
	}
	return m
}

// BytesMap reads a [bytes map]; the values alias the body.
func (d *Decoder) BytesMap() map[string][]byte {
	n := d.count(6, "map entries")
	m := make(map[string][]byte, n)
	for range n {
		k := d.String()
		m[k] = d.Bytes()
	}
	return m
}

// Inet reads an [inet].
func (d *Decoder) Inet() netip.AddrPort {
	a := d.InetAddr()
	port := d.Int()
	if port < 0 || port > 65535 {
		d.fail("port %d", port)
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a, uint16(port))
}

// InetAddr reads an [inetaddr].
func (d *Decoder) InetAddr() netip.Addr {
	n := int(d.Byte())
	if d.err == nil && n != 4 && n != 16 {
		d.fail("an address of %d bytes", n)
	}
	a, _ := netip.AddrFromSlice(d.take(n, "[inetaddr]"))
	return a
}
