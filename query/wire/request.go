package wire

import "fmt"

// Request is a message that a client sends.
type Request interface {
	// Opcode of the message.
	Opcode() Opcode
	// AppendBody appends the message's body in a version of the protocol.
	AppendBody(dst []byte, v Version) []byte
}

// Startup begins a connection: CQL_VERSION, COMPRESSION, DRIVER_NAME and what else; unknown keys are ignored.
type Startup struct{ Options map[string]string }

// Options asks for SUPPORTED.
type Options struct{}

// AuthResponse answers AUTHENTICATE or AUTH_CHALLENGE.
type AuthResponse struct{ Token []byte }

// Register asks for events: TOPOLOGY_CHANGE, STATUS_CHANGE, SCHEMA_CHANGE.
type Register struct{ Events []string }

// Query runs a statement given as text.
type Query struct {
	CQL string
	Params
}

// Prepare asks for a statement's id and metadata.
type Prepare struct {
	CQL      string
	Keyspace string // v5
}

// Execute runs a prepared statement.
type Execute struct {
	ID       []byte // as PREPARED gave it
	ResultID []byte // v5: the result_metadata_id that the client knows
	Params
}

// BatchKind as numbered in the protocol.
type BatchKind uint8

// The kinds of batch.
const (
	BatchLogged BatchKind = iota
	BatchUnlogged
	BatchCounter
)

// BatchStatement is one statement of a batch: by text, or by id.
type BatchStatement struct {
	CQL    string
	ID     []byte // nil: CQL
	Values [][]byte
	Unset  []bool
}

// Batch runs statements together. Of Params only Consistency, Serial, Timestamp, Keyspace and NowInSeconds count.
type Batch struct {
	Kind       BatchKind
	Statements []BatchStatement
	Params
}

// Opcode of the message.
func (*Startup) Opcode() Opcode { return OpStartup }

// Opcode of the message.
func (*Options) Opcode() Opcode { return OpOptions }

// Opcode of the message.
func (*AuthResponse) Opcode() Opcode { return OpAuthResponse }

// Opcode of the message.
func (*Register) Opcode() Opcode { return OpRegister }

// Opcode of the message.
func (*Query) Opcode() Opcode { return OpQuery }

// Opcode of the message.
func (*Prepare) Opcode() Opcode { return OpPrepare }

// Opcode of the message.
func (*Execute) Opcode() Opcode { return OpExecute }

// Opcode of the message.
func (*Batch) Opcode() Opcode { return OpBatch }

// AppendBody appends a [string map].
func (m *Startup) AppendBody(dst []byte, _ Version) []byte { return AppendStringMap(dst, m.Options) }

// AppendBody appends nothing.
func (*Options) AppendBody(dst []byte, _ Version) []byte { return dst }

// AppendBody appends the token as [bytes].
func (m *AuthResponse) AppendBody(dst []byte, _ Version) []byte { return AppendBytes(dst, m.Token) }

// AppendBody appends a [string list].
func (m *Register) AppendBody(dst []byte, _ Version) []byte { return AppendStringList(dst, m.Events) }

// AppendBody appends the text as [long string], then the parameters.
func (m *Query) AppendBody(dst []byte, v Version) []byte {
	return m.Params.Append(AppendLongString(dst, m.CQL), v)
}

// AppendBody appends the text as [long string] and in v5 flags [int] and, with flag 0x01, a keyspace [string].
func (m *Prepare) AppendBody(dst []byte, v Version) []byte {
	dst = AppendLongString(dst, m.CQL)
	switch {
	case v < V5:
		return dst
	case m.Keyspace == "":
		return AppendInt(dst, 0)
	default:
		return AppendString(AppendInt(dst, prepareKeyspace), m.Keyspace)
	}
}

const prepareKeyspace = 0x01

// AppendBody appends the id and in v5 the result's metadata id as [short bytes], then the parameters.
func (m *Execute) AppendBody(dst []byte, v Version) []byte {
	dst = AppendShortBytes(dst, m.ID)
	if v >= V5 {
		dst = AppendShortBytes(dst, m.ResultID)
	}
	return m.Params.Append(dst, v)
}

// AppendBody appends the batch:
//
//	kind [byte] | n [short] | n × ( 0 [byte] text [long string] or 1 [byte] id [short bytes] | values ) | consistency [short] |
//	flags [byte, v5: int] | serial [short] | timestamp [long] | keyspace [string] | now in seconds [int]
func (m *Batch) AppendBody(dst []byte, v Version) []byte {
	dst = append(dst, byte(m.Kind))
	dst = AppendShort(dst, uint16(len(m.Statements)))
	for i := range m.Statements {
		s := &m.Statements[i]
		if s.ID != nil {
			dst = AppendShortBytes(append(dst, 1), s.ID)
		} else {
			dst = AppendLongString(append(dst, 0), s.CQL)
		}
		dst = AppendShort(dst, uint16(len(s.Values)))
		for j := range s.Values {
			dst = appendValue(dst, s.Values, s.Unset, j)
		}
	}
	f := m.Params.commonFlags(v)
	dst = AppendShort(dst, m.Consistency)
	dst = appendFlags(dst, f, v)
	return m.Params.appendTail(dst, f)
}

// Decode reads a STARTUP body.
func (m *Startup) Decode(body []byte) error {
	d := NewDecoder(body)
	m.Options = d.StringMap()
	return wrapDecode(OpStartup, d.Err())
}

// Decode reads an AUTH_RESPONSE body; the token aliases it.
func (m *AuthResponse) Decode(body []byte) error {
	d := NewDecoder(body)
	m.Token = d.Bytes()
	return wrapDecode(OpAuthResponse, d.Err())
}

// Decode reads a REGISTER body.
func (m *Register) Decode(body []byte) error {
	d := NewDecoder(body)
	m.Events = d.StringList()
	return wrapDecode(OpRegister, d.Err())
}

// Decode reads a QUERY body. Values alias it; slices of m are reused.
func (m *Query) Decode(body []byte, v Version) error {
	d := NewDecoder(body)
	m.CQL = d.LongString()
	m.Params.Decode(&d, v)
	return wrapDecode(OpQuery, d.Err())
}

// Decode reads a PREPARE body.
func (m *Prepare) Decode(body []byte, v Version) error {
	d := NewDecoder(body)
	m.CQL, m.Keyspace = d.LongString(), ""
	if v >= V5 && d.Int()&prepareKeyspace != 0 {
		m.Keyspace = d.String()
	}
	return wrapDecode(OpPrepare, d.Err())
}

// Decode reads an EXECUTE body. Ids and values alias it; slices of m are reused.
func (m *Execute) Decode(body []byte, v Version) error {
	d := NewDecoder(body)
	m.ID, m.ResultID = d.ShortBytes(), nil
	if v >= V5 {
		m.ResultID = d.ShortBytes()
	}
	m.Params.Decode(&d, v)
	return wrapDecode(OpExecute, d.Err())
}

// Decode reads a BATCH body. Ids and values alias it; slices of m are reused.
func (m *Batch) Decode(body []byte, v Version) error {
	d := NewDecoder(body)
	m.Kind = BatchKind(d.Byte())
	if m.Kind > BatchCounter {
		d.fail("batch kind %d", m.Kind)
	}
	n := d.count(5, "statements")
	m.Statements = m.Statements[:0]
	for range n {
		m.Statements = append(m.Statements, decodeBatchStatement(&d))
	}
	m.Params = Params{Consistency: d.Short()}
	f := decodeFlags(&d, v)
	if f&flagNames != 0 {
		d.fail("a batch can't have named values")
	}
	m.Params.decodeTail(&d, f)
	return wrapDecode(OpBatch, d.Err())
}

func decodeBatchStatement(d *Decoder) (s BatchStatement) {
	switch kind := d.Byte(); kind {
	case 0:
		s.CQL = d.LongString()
	case 1:
		s.ID = d.ShortBytes()
	default:
		d.fail("batch statement of kind %d, want 0 (text) or 1 (prepared)", kind)
	}
	n := d.fits(int(d.Short()), 4, "values")
	if n > 0 {
		s.Values = make([][]byte, n)
	}
	for i := range n {
		value, unset := d.Value()
		if unset {
			s.Unset = markUnset(s.Unset, i, n)
		}
		s.Values[i] = value
	}
	return s
}

func wrapDecode(op Opcode, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", op, err)
}
