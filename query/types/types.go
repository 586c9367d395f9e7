// Package types owns CQL types and their value codecs: binary, text, JSON, and the order-preserving encoding of keys. Values are
// always CQL binary-protocol bytes; a nil slice is null. It imports nothing of nodedb. Start reading at Type.
package types

import (
	"encoding/json"
	"errors"
)

// Kind is a type's id in the binary protocol (CQL spec v4, section 4.2.5.2). Kinds over 0x8000 are ours and never on the wire.
type Kind uint16

const (
	Custom    Kind = 0x0000
	Ascii     Kind = 0x0001
	Bigint    Kind = 0x0002
	Blob      Kind = 0x0003
	Boolean   Kind = 0x0004
	Counter   Kind = 0x0005
	Decimal   Kind = 0x0006
	Double    Kind = 0x0007
	Float     Kind = 0x0008
	Int       Kind = 0x0009
	Timestamp Kind = 0x000B
	UUID      Kind = 0x000C
	Varchar   Kind = 0x000D // text
	Varint    Kind = 0x000E
	Timeuuid  Kind = 0x000F
	Inet      Kind = 0x0010
	Date      Kind = 0x0011
	Time      Kind = 0x0012
	Smallint  Kind = 0x0013
	Tinyint   Kind = 0x0014
	Duration  Kind = 0x0015
	List      Kind = 0x0020
	Map       Kind = 0x0021
	Set       Kind = 0x0022
	UDT       Kind = 0x0030
	Tuple     Kind = 0x0031
	Vector    Kind = 0x8001 // on the wire a Custom with Cassandra's VectorType class name
)

// Type is a CQL type. Scalars are shared values; compare with Equal.
type Type struct {
	Kind     Kind
	Frozen   bool    // collections and UDTs
	Elems    []*Type // list, set, vector: 1; map: key, value; tuple: fields; UDT: fields
	Keyspace string  // UDT
	Name     string  // UDT: its name; Custom: its class
	Fields   []string
	Dim      int // vector
}

// Errors of this package; all wrap ErrValue or ErrType.
var (
	ErrValue = errors.New("invalid value")
	ErrType  = errors.New("invalid type")
)

// The scalars.
var (
	AsciiType     = &Type{Kind: Ascii}
	BigintType    = &Type{Kind: Bigint}
	BlobType      = &Type{Kind: Blob}
	BooleanType   = &Type{Kind: Boolean}
	CounterType   = &Type{Kind: Counter}
	DecimalType   = &Type{Kind: Decimal}
	DoubleType    = &Type{Kind: Double}
	FloatType     = &Type{Kind: Float}
	IntType       = &Type{Kind: Int}
	TimestampType = &Type{Kind: Timestamp}
	UUIDType      = &Type{Kind: UUID}
	VarcharType   = &Type{Kind: Varchar}
	VarintType    = &Type{Kind: Varint}
	TimeuuidType  = &Type{Kind: Timeuuid}
	InetType      = &Type{Kind: Inet}
	DateType      = &Type{Kind: Date}
	TimeType      = &Type{Kind: Time}
	SmallintType  = &Type{Kind: Smallint}
	TinyintType   = &Type{Kind: Tinyint}
	DurationType  = &Type{Kind: Duration}
)

// Parse reads a CQL type name: `int`, `map<text, frozen<list<int>>>`, `vector<float, 3>`. udt resolves user types by (keyspace or "", name); it
// may be nil.
func Parse(s string, udt func(keyspace, name string) (*Type, error)) (*Type, error) {
	panic("contract")
}

// String is the CQL name, as DESCRIBE prints it.
func (t *Type) String() string { panic("contract") }

// Equal compares types, frozen included.
func (t *Type) Equal(o *Type) bool { panic("contract") }

// IsCollection: list, set or map. IsMultiCell: a collection or UDT that is not frozen.
func (t *Type) IsCollection() bool { panic("contract") }
func (t *Type) IsMultiCell() bool  { panic("contract") }

// Validate checks that b is a value of the type, exactly. Nil is valid (null).
func (t *Type) Validate(b []byte) error { panic("contract") }

// Compare orders two values as Cassandra orders them. Null and empty sort first. Values are valid.
func (t *Type) Compare(a, b []byte) int { panic("contract") }

// AppendText appends a value as cqlsh prints it in a table: text without quotes, timestamps 2013-01-01 10:00:00.000000+0000, blobs 0x…, null as null.
func (t *Type) AppendText(dst, value []byte) []byte { panic("contract") }

// AppendLiteral appends a value as a CQL literal that parses back to it (text quoted).
func (t *Type) AppendLiteral(dst, value []byte) []byte { panic("contract") }

// ParseText reads a value from plain text (CSV): what AppendText writes, and every form a CQL string or number literal of the type may have.
func (t *Type) ParseText(s string) ([]byte, error) { panic("contract") }

// AppendJSON appends a value as JSON, as cqlsh and SELECT JSON write it: decimals and varints exact numbers, NaN and infinities as strings, map keys as
// strings, blobs "0x…", null real.
func (t *Type) AppendJSON(dst, value []byte) []byte { panic("contract") }

// FromJSON reads a value from JSON. Numbers stay exact; strings are read as ParseText would. null gives nil.
func (t *Type) FromJSON(raw json.RawMessage) ([]byte, error) { panic("contract") }

// AppendKey appends the order-preserving encoding of one clustering component: comparing encodings as bytes orders as Compare does, encodings are
// self-delimiting, and no encoding starts with 0x00 or 0xFF (so that [p, p+0xFF) is everything with prefix p). desc inverts the order.
// Null is an error; the empty value is allowed.
func (t *Type) AppendKey(dst, value []byte, desc bool) ([]byte, error) { panic("contract") }

// DecodeKey reads one component back and gives what follows it.
func (t *Type) DecodeKey(key []byte, desc bool) (value, rest []byte, err error) { panic("contract") }

// AppendWireType appends the [option] that describes the type in result metadata (protocol v4/v5).
func (t *Type) AppendWireType(dst []byte) []byte { panic("contract") }

// DecodeWireType reads an [option] and gives what follows it.
func DecodeWireType(b []byte) (t *Type, rest []byte, err error) { panic("contract") }
