package cql

// Pos is where a node begins in the statement's text. Line counts from 1, Column from 0 in characters (as Cassandra's errors do); Offset in bytes.
type Pos struct{ Offset, Line, Column int }

// Position gives the place of a node, for errors that point at it.
func (p Pos) Position() Pos { return p }

// Node is anything with a place in the text.
type Node interface{ Position() Pos }

// Statement is one parsed CQL statement: a pointer to one of the structs of this file and statements.go.
type Statement interface {
	Node
	// Kind names the statement for people and metrics: "SELECT", "CREATE TABLE".
	Kind() string
	statement()
}

// Parsed is a statement with its bind markers.
type Parsed struct {
	Statement Statement
	Markers   []*Marker // in the order they stand in the text; Markers[i].Index == i
}

// Name is a possibly qualified name of a table, type or function. Parts are folded to lower case unless they were quoted.
type Name struct {
	Pos
	Keyspace string // "" when not given
	Name     string
}

// Ident is the plain name of a column, field or alias, folded to lower case unless it was quoted.
type Ident struct {
	Pos
	Name string
}

// Expr is a value, a selector, or a part of one. A parser can't know what a name means, so all share one type: where only values make sense (VALUES,
// the right side of a relation, LIMIT) the grammar admits no Column, Element, Slice, Field or Cast in it.
//
// It is one of *Constant, *Marker, *ListLiteral, *SetLiteral, *MapLiteral, *TupleLiteral, *UDTLiteral, *TypeHint, *Call, *Binary, *Negate,
// *Column, *Element, *Slice, *Field, *Cast.
type Expr interface {
	Node
	// String prints the expression as CQL that parses back to it.
	String() string
	expr()
}

// ConstantKind says how a constant was written, not what type it has: 'abc' may be text or a timestamp, 1 may be an int or a double.
type ConstantKind uint8

const (
	Null     ConstantKind = iota
	String                // 'it''s' or $$it's$$; Text is the value, without quotes
	Integer               // -12
	Float                 // 1.5, -2e10, NaN, -Infinity
	Boolean               // Text is true or false
	UUID                  // Text as written
	Blob                  // Text as written, with 0x
	Duration              // 1y2mo3d, P1Y2M, P3W, P0001-02-03T04:05:06; Text as written, with its sign
)

// Constant is a literal scalar. A negative number is one Constant with its sign.
type Constant struct {
	Pos
	Type ConstantKind
	Text string
}

// Marker is a bind marker: ? or :name. The same name twice is two markers with the same name.
type Marker struct {
	Pos
	Index int
	Name  string // "" for ?
}

// ListLiteral is [a, b]: a list or a vector.
type ListLiteral struct {
	Pos
	Elems []Expr
}

// SetLiteral is {a, b}. The empty {} is a SetLiteral too, and stands for an empty map or UDT as well.
type SetLiteral struct {
	Pos
	Elems []Expr
}

// MapLiteral is {k: v, …}, at least one entry.
type MapLiteral struct {
	Pos
	Entries []MapEntry
}

// MapEntry is one entry of a MapLiteral.
type MapEntry struct{ Key, Value Expr }

// TupleLiteral is (a, b). One element makes a tuple of one, or an expression in parentheses: the type that is expected tells.
type TupleLiteral struct {
	Pos
	Elems []Expr
}

// UDTLiteral is {name: value, …}.
type UDTLiteral struct {
	Pos
	Fields []FieldValue
}

// FieldValue is one field of a UDTLiteral.
type FieldValue struct {
	Name  Ident
	Value Expr
}

// TypeHint is (int) value.
type TypeHint struct {
	Pos
	Type  *TypeName
	Value Expr
}

// Call is a function call. The special forms are calls as well, of these lower-case names with an empty keyspace: count(*) and count(1) are "count" with
// Star, token(…), writetime(c), maxwritetime(c), ttl(c) (whose argument is a Column, Element, Slice or Field).
type Call struct {
	Pos
	Name Name
	Args []Expr
	Star bool
}

// Binary is arithmetic: Op is one of + - * / %.
type Binary struct {
	Pos
	Op          byte
	Left, Right Expr
	Parens      [2]bool // whether Left and Right stood in parentheses; only the name of a result's column shows needless ones
}

// Negate is -x, where x is no literal number.
type Negate struct {
	Pos
	Value Expr
}

// Column is a column's name as a selector.
type Column struct{ Ident }

// Element is c[key].
type Element struct {
	Pos
	Of  Expr
	Key Expr
}

// Slice is c[from..to]; From or To is nil where open.
type Slice struct {
	Pos
	Of       Expr
	From, To Expr
}

// Field is udt.field.
type Field struct {
	Pos
	Of   Expr
	Name Ident
}

// Cast is CAST(x AS type).
type Cast struct {
	Pos
	Value Expr
	Type  *TypeName
}

// TypeName is a type as written. Its String is what types.Parse reads; unknown names are user types, resolved by the reader.
type TypeName struct {
	Pos
	Keyspace string      // of a user type, "" when not given
	Name     string      // folded unless quoted: int, text, list, map, set, tuple, frozen, vector, or a user type; a custom type's class
	Args     []*TypeName // of list, map, set, tuple, frozen, vector (one)
	Dim      int         // of a vector
	Custom   bool        // written as a 'quoted.java.Class'
}

// Operator of a relation or condition.
type Operator uint8

const (
	Eq Operator = iota
	NotEq
	Less
	LessEq
	Greater
	GreaterEq
	In
	NotIn
	Contains
	NotContains
	ContainsKey
	NotContainsKey
	Like
	NotLike
	Between
	NotBetween
	IsNotNull
)

// RelationKind says what stands on the left of a relation.
type RelationKind uint8

const (
	OnColumn  RelationKind = iota // c = 1
	OnTuple                       // (a, b) > (1, 2)
	OnToken                       // token(a, b) > ?
	OnElement                     // m['k'] = 1
	OnField                       // udt.field = 1
)

// Relation is one term of WHERE or IF; terms are joined by AND.
type Relation struct {
	Pos
	On      RelationKind
	Columns []Ident // one; several for OnTuple and OnToken
	Key     Expr    // OnElement
	Field   Ident   // OnField
	Op      Operator
	Value   Expr   // the right side. IN, NOT IN: the marker of "IN ?", or nil
	Values  []Expr // IN (…), NOT IN (…): the list, which may be empty; [NOT] BETWEEN: low and high
}

// Property is one option of WITH. A scalar's text has no quotes; a map's values may themselves be written as any constant.
type Property struct {
	Pos
	Name   string // folded to lower case
	Quoted bool   // a scalar written as a string
	Text   string // a scalar
	IsMap  bool
	Map    []Pair // in the order written; keys are distinct
}

// Pair is one entry of a property's map; texts without quotes.
type Pair struct{ Key, Value string }
