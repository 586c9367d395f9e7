// Package types owns CQL types and their value codecs: binary, text, JSON, and the order-preserving encoding of keys. Values are
// always CQL binary-protocol bytes; a nil slice is null. It imports nothing of nodedb. Start reading at Type.
package types

import (
	"errors"
	"fmt"
)

// Kind is a type's id in the binary protocol (CQL spec v4, section 4.2.5.2). Kinds over 0x8000 are ours and never on the wire.
type Kind uint16

// The kinds. Only append to this list.
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

// Limits. A value or type beyond one of them is refused with an error that names the limit.
const (
	MaxDepth        = 32      // levels of types inside types; every recursion over a value follows its type, so this bounds it too
	MaxFields       = 8192    // fields of a tuple or user type
	MaxVectorDim    = 65535   // dimensions of a vector
	MaxVectorBytes  = 1 << 28 // bytes of a vector of fixed-length elements
	MaxVarintBytes  = 65535   // bytes of a varint, or of a decimal's unscaled value (157,826 decimal digits)
	MaxDecimalScale = 100_000 // a decimal's scale, either side of zero
	MaxTypeName     = 1 << 16 // bytes of a type name, CQL or Java class
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

// scalar says what is peculiar to a scalar kind.
type scalar struct {
	typ    *Type
	name   string // CQL
	class  string // Cassandra's, without the package
	width  int    // bytes of a value; 0 where it varies
	empty  bool   // the zero-length value is allowed beside the regular ones
	inline bool   // vector elements lie side by side without lengths (Cassandra gives fewer types a fixed length than have one)
	quoted bool   // its literal is a quoted string
}

// scalars by kind. The peculiar ones, as in Cassandra 5: tinyint, smallint, date and time refuse the empty value and are of "variable"
// length inside a vector.
var scalars = [...]scalar{
	Ascii:     {AsciiType, "ascii", "AsciiType", 0, true, false, true},
	Bigint:    {BigintType, "bigint", "LongType", 8, true, true, false},
	Blob:      {BlobType, "blob", "BytesType", 0, true, false, false},
	Boolean:   {BooleanType, "boolean", "BooleanType", 1, true, true, false},
	Counter:   {CounterType, "counter", "CounterColumnType", 8, true, false, false},
	Decimal:   {DecimalType, "decimal", "DecimalType", 0, true, false, false},
	Double:    {DoubleType, "double", "DoubleType", 8, true, true, false},
	Float:     {FloatType, "float", "FloatType", 4, true, true, false},
	Int:       {IntType, "int", "Int32Type", 4, true, true, false},
	Timestamp: {TimestampType, "timestamp", "TimestampType", 8, true, true, true},
	UUID:      {UUIDType, "uuid", "UUIDType", 16, true, true, false},
	Varchar:   {VarcharType, "text", "UTF8Type", 0, true, false, true},
	Varint:    {VarintType, "varint", "IntegerType", 0, true, false, false},
	Timeuuid:  {TimeuuidType, "timeuuid", "TimeUUIDType", 16, true, true, false},
	Inet:      {InetType, "inet", "InetAddressType", 0, true, false, true},
	Date:      {DateType, "date", "SimpleDateType", 4, false, false, true},
	Time:      {TimeType, "time", "TimeType", 8, false, false, true},
	Smallint:  {SmallintType, "smallint", "ShortType", 2, false, false, false},
	Tinyint:   {TinyintType, "tinyint", "ByteType", 1, false, false, false},
	Duration:  {DurationType, "duration", "DurationType", 0, false, false, false},
}

// scalar gives the kind's entry, or nil for collections, tuples, user types, vectors and custom types.
func (k Kind) scalar() *scalar {
	if int(k) < len(scalars) && scalars[k].typ != nil {
		return &scalars[k]
	}
	return nil
}

// Equal compares types, frozen included.
func (t *Type) Equal(o *Type) bool {
	if t == o {
		return true
	}
	if t == nil || o == nil || t.Kind != o.Kind || t.Keyspace != o.Keyspace || t.Name != o.Name || t.Dim != o.Dim ||
		len(t.Elems) != len(o.Elems) || len(t.Fields) != len(o.Fields) {
		return false
	}
	if (t.IsCollection() || t.Kind == UDT) && t.Frozen != o.Frozen {
		return false
	}
	for i := range t.Elems {
		if !t.Elems[i].Equal(o.Elems[i]) {
			return false
		}
	}
	for i := range t.Fields {
		if t.Fields[i] != o.Fields[i] {
			return false
		}
	}
	return true
}

// IsCollection: list, set or map.
func (t *Type) IsCollection() bool { return t.Kind == List || t.Kind == Set || t.Kind == Map }

// IsMultiCell: a collection or UDT that is not frozen.
func (t *Type) IsMultiCell() bool { return !t.Frozen && (t.IsCollection() || t.Kind == UDT) }

// AllowsEmpty says whether the zero-length value is one of the type.
func (t *Type) AllowsEmpty() bool {
	if s := t.Kind.scalar(); s != nil {
		return s.empty
	}
	return t.Kind == Custom || t.Kind == Tuple || t.Kind == UDT
}

// IsText: the types whose empty value is an ordinary value and whose plain text is the value itself.
func (t *Type) IsText() bool { return t.Kind == Varchar || t.Kind == Ascii }

// Freeze gives the type with itself and all it contains frozen; t is not changed.
func (t *Type) Freeze() *Type {
	if t.Kind.scalar() != nil || t.Kind == Custom {
		return t
	}
	f := *t
	f.Frozen = t.IsCollection() || t.Kind == UDT
	f.Elems = make([]*Type, len(t.Elems))
	for i, e := range t.Elems {
		f.Elems[i] = e.Freeze()
	}
	return &f
}

// NewList, NewSet and NewMap make collection types.
func NewList(elem *Type, frozen bool) *Type {
	return &Type{Kind: List, Frozen: frozen, Elems: []*Type{elem}}
}

// NewSet makes a set type.
func NewSet(elem *Type, frozen bool) *Type {
	return &Type{Kind: Set, Frozen: frozen, Elems: []*Type{elem}}
}

// NewMap makes a map type.
func NewMap(key, value *Type, frozen bool) *Type {
	return &Type{Kind: Map, Frozen: frozen, Elems: []*Type{key, value}}
}

// NewTuple makes a tuple type. Tuples are always frozen.
func NewTuple(fields ...*Type) *Type { return &Type{Kind: Tuple, Elems: fields} }

// NewVector makes a vector type of dim elements.
func NewVector(elem *Type, dim int) *Type {
	return &Type{Kind: Vector, Elems: []*Type{elem}, Dim: dim}
}

// fixedLength is the bytes each value of the type takes inside a vector, or 0 where elements carry their length.
func (t *Type) fixedLength() int {
	if s := t.Kind.scalar(); s != nil {
		if s.inline {
			return s.width
		}
		return 0
	}
	if t.Kind != Vector || len(t.Elems) != 1 {
		return 0
	}
	return t.Elems[0].fixedLength() * t.Dim
}

// checkVector says whether a vector's element type and dimension are within the limits.
func (t *Type) checkVector() error {
	if t.Dim < 1 || t.Dim > MaxVectorDim {
		return fmt.Errorf("%w: a vector has 1 to %d dimensions, not %d", ErrType, MaxVectorDim, t.Dim)
	}
	if n := t.Elems[0].fixedLength(); n > MaxVectorBytes/t.Dim {
		return fmt.Errorf("%w: a vector of %d elements of %d bytes is over the limit of %d bytes", ErrType, t.Dim, n, MaxVectorBytes)
	}
	return nil
}

// valueError says what is wrong with a value of the type.
func (t *Type) valueError(format string, args ...any) error {
	return fmt.Errorf("%w for %s: %s", ErrValue, t, fmt.Sprintf(format, args...))
}
