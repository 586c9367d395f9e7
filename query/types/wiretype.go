package types

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// An [option] of the binary protocol (CQL spec v4, section 4.2.5.2). A [string] has a length of two bytes.
//
//	scalar  | kind uint16 |
//	custom  | 0000 | class [string] |             vectors too, and durations before protocol v5
//	list    | 0020 | element [option] |
//	map     | 0021 | key [option] | value [option] |
//	set     | 0022 | element [option] |
//	UDT     | 0030 | keyspace [string] | name [string] | n uint16 | n × ( name [string] | [option] ) |
//	tuple   | 0031 | n uint16 | n × [option] |

// marshal is the package of Cassandra's type classes.
const marshal = "org.apache.cassandra.db.marshal."

// AppendWireType appends the [option] that describes the type in result metadata (protocol v4/v5).
func (t *Type) AppendWireType(dst []byte) []byte {
	switch t.Kind {
	case Custom:
		return appendShortString(append(dst, 0, 0), t.Name)
	case Vector:
		return appendShortString(append(dst, 0, 0), t.ClassName())
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(t.Kind))
	switch t.Kind {
	case UDT:
		dst = appendShortString(dst, t.Keyspace)
		dst = appendShortString(dst, t.Name)
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(t.Elems)))
	case Tuple:
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(t.Elems)))
	}
	for i, e := range t.Elems {
		if t.Kind == UDT {
			dst = appendShortString(dst, t.Fields[i])
		}
		dst = e.AppendWireType(dst)
	}
	return dst
}

// appendShortString appends a [string], cut at the 65535 bytes that its length can say.
func appendShortString(dst []byte, s string) []byte {
	s = s[:min(len(s), 0xFFFF)]
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

// DecodeWireType reads an [option] and gives what follows it.
func DecodeWireType(b []byte) (t *Type, rest []byte, err error) {
	r := optionReader{rest: b}
	if t, err = r.option(0); err != nil {
		return nil, b, err
	}
	return t, r.rest, nil
}

type optionReader struct{ rest []byte }

func (r *optionReader) uint16() (uint16, error) {
	if len(r.rest) < 2 {
		return 0, fmt.Errorf("%w: its description on the wire ends early", ErrType)
	}
	v := binary.BigEndian.Uint16(r.rest)
	r.rest = r.rest[2:]
	return v, nil
}

func (r *optionReader) string() (string, error) {
	n, err := r.uint16()
	if err != nil {
		return "", err
	}
	if int(n) > len(r.rest) {
		return "", fmt.Errorf("%w: its description on the wire ends early", ErrType)
	}
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s, nil
}

func (r *optionReader) option(depth int) (*Type, error) {
	if depth >= MaxDepth {
		return nil, fmt.Errorf("%w: its description on the wire is nested deeper than the limit of %d", ErrType, MaxDepth)
	}
	id, err := r.uint16()
	if err != nil {
		return nil, err
	}
	if s := Kind(id).scalar(); s != nil {
		return s.typ, nil
	}
	t := &Type{Kind: Kind(id)}
	switch t.Kind {
	case Custom:
		class, err := r.string()
		if err != nil {
			return nil, err
		}
		return ParseClass(class)
	case List, Set:
		return t, r.elems(t, 1, depth)
	case Map:
		return t, r.elems(t, 2, depth)
	case UDT:
		if t.Keyspace, err = r.string(); err != nil {
			return nil, err
		}
		if t.Name, err = r.string(); err != nil {
			return nil, err
		}
	case Tuple:
	default:
		return nil, fmt.Errorf("%w: %#04x is no type of the binary protocol", ErrType, id)
	}
	n, err := r.uint16()
	if err != nil {
		return nil, err
	}
	return t, r.elems(t, int(n), depth)
}

func (r *optionReader) elems(t *Type, n, depth int) error {
	if n > MaxFields {
		return fmt.Errorf("%w: %d fields are over the limit of %d", ErrType, n, MaxFields)
	}
	for range n {
		if t.Kind == UDT {
			name, err := r.string()
			if err != nil {
				return err
			}
			t.Fields = append(t.Fields, name)
		}
		e, err := r.option(depth + 1)
		if err != nil {
			return err
		}
		t.Elems = append(t.Elems, e)
	}
	return nil
}

// ClassName is the type's name among Cassandra's Java classes, as custom types and old metadata give it.
func (t *Type) ClassName() string { return string(t.appendClass(nil)) }

func (t *Type) appendClass(dst []byte) []byte {
	if s := t.Kind.scalar(); s != nil {
		return append(append(dst, marshal...), s.class...)
	}
	if t.Kind == Custom {
		return append(dst, t.Name...)
	}
	frozen := t.Frozen && (t.IsCollection() || t.Kind == UDT)
	if frozen {
		dst = append(append(dst, marshal...), "FrozenType("...)
	}
	dst = append(append(append(dst, marshal...), classNames[t.Kind]...), '(')
	if t.Kind == UDT {
		dst = append(append(append(dst, t.Keyspace...), ','), hex.EncodeToString([]byte(t.Name))...)
	}
	for i, e := range t.Elems {
		if i > 0 || t.Kind == UDT {
			dst = append(dst, ',')
		}
		if t.Kind == UDT {
			dst = append(append(dst, hex.EncodeToString([]byte(t.Fields[i]))...), ':')
		}
		dst = e.appendClass(dst)
	}
	if t.Kind == Vector {
		dst = strconv.AppendInt(append(dst, " , "...), int64(t.Dim), 10)
	}
	dst = append(dst, ')')
	if frozen {
		dst = append(dst, ')')
	}
	return dst
}

var classNames = map[Kind]string{List: "ListType", Set: "SetType", Map: "MapType", Tuple: "TupleType", UDT: "UserType", Vector: "VectorType"}

// classes are Cassandra's classes of scalars and nested types, by name without the package.
var classes = func() map[string]*Type {
	m := map[string]*Type{"DateType": TimestampType}
	for _, s := range scalars {
		if s.typ != nil {
			m[s.class] = s.typ
		}
	}
	for k, name := range classNames {
		m[name] = &Type{Kind: k}
	}
	return m
}()

// ParseClass reads the name of one of Cassandra's Java classes with its parameters. A class that isn't a type of CQL gives a Custom type,
// whose values are bytes.
func ParseClass(s string) (*Type, error) {
	if len(s) > MaxTypeName {
		return nil, fmt.Errorf("%w: a class name of %d bytes is over the limit of %d", ErrType, len(s), MaxTypeName)
	}
	p := classParser{text: s}
	t, err := p.class(0)
	if err != nil {
		return nil, err
	}
	if p.blank(); p.at < len(s) {
		return nil, p.errorf("%q follows the type", clip(s[p.at:]))
	}
	return t, nil
}

type classParser struct {
	text string
	at   int
}

func (p *classParser) errorf(format string, args ...any) error {
	return fmt.Errorf("%w %q at byte %d: %s", ErrType, clip(p.text), p.at, fmt.Sprintf(format, args...))
}

func (p *classParser) blank() {
	for p.at < len(p.text) && p.text[p.at] == ' ' {
		p.at++
	}
}

func (p *classParser) take(c byte) bool {
	p.blank()
	if p.at < len(p.text) && p.text[p.at] == c {
		p.at++
		return true
	}
	return false
}

// word reads up to the next delimiter.
func (p *classParser) word() string {
	p.blank()
	start := p.at
	for p.at < len(p.text) && strings.IndexByte(" ,():", p.text[p.at]) < 0 {
		p.at++
	}
	return p.text[start:p.at]
}

func (p *classParser) class(depth int) (*Type, error) {
	if depth >= MaxDepth {
		return nil, p.errorf("classes are nested deeper than the limit of %d", MaxDepth)
	}
	start := p.at
	name := p.word()
	if name == "" {
		return nil, p.errorf("expected a class")
	}
	short := strings.TrimPrefix(name, marshal)
	if known, ok := classes[short]; ok {
		if known.Kind.scalar() != nil {
			return known, nil
		}
		t := &Type{Kind: known.Kind}
		return t, p.parameters(t, depth)
	}
	switch short {
	case "FrozenType", "ReversedType":
		return p.wrapped(short, depth)
	}
	return p.custom(start)
}

// wrapped reads the parameter of FrozenType and ReversedType.
func (p *classParser) wrapped(short string, depth int) (*Type, error) {
	if !p.take('(') {
		return nil, p.errorf("expected ( after %s", short)
	}
	t, err := p.class(depth + 1)
	if err != nil {
		return nil, err
	}
	if !p.take(')') {
		return nil, p.errorf("expected )")
	}
	if short == "FrozenType" {
		t = t.Freeze()
	}
	return t, nil
}

// custom skips the parameters of a class that is unknown here.
func (p *classParser) custom(start int) (*Type, error) {
	if p.at < len(p.text) && p.text[p.at] == '(' {
		for open := 0; p.at < len(p.text); {
			c := p.text[p.at]
			p.at++
			if c == '(' {
				open++
			} else if c == ')' {
				if open--; open == 0 {
					return &Type{Kind: Custom, Name: p.text[start:p.at]}, nil
				}
			}
		}
		return nil, p.errorf("expected )")
	}
	return &Type{Kind: Custom, Name: p.text[start:p.at]}, nil
}

func (p *classParser) parameters(t *Type, depth int) error {
	if !p.take('(') {
		return p.errorf("expected ( with the parameters of a %s", classNames[t.Kind])
	}
	if t.Kind == UDT {
		if err := p.userName(t); err != nil {
			return err
		}
	}
	for first := t.Kind != UDT; !p.take(')'); first = false {
		if !first && !p.take(',') {
			return p.errorf("expected , or )")
		}
		if err := p.parameter(t, depth); err != nil {
			return err
		}
	}
	want := map[Kind]int{List: 1, Set: 1, Map: 2, Vector: 1}[t.Kind]
	if want > 0 && len(t.Elems) != want {
		return p.errorf("a %s has %d types as parameters, not %d", classNames[t.Kind], want, len(t.Elems))
	}
	if t.Kind == Vector {
		return t.checkVector()
	}
	return nil
}

func (p *classParser) parameter(t *Type, depth int) error {
	if len(t.Elems) >= MaxFields {
		return p.errorf("over %d fields", MaxFields)
	}
	if t.Kind == Vector && len(t.Elems) == 1 {
		n, err := strconv.ParseUint(p.word(), 10, 31)
		if err != nil {
			return p.errorf("expected the dimension of a vector")
		}
		t.Dim = int(n)
		return nil
	}
	if t.Kind == UDT {
		field, err := hex.DecodeString(p.word())
		if err != nil || !p.take(':') {
			return p.errorf("expected a field of a user type, its name in hexadecimal and a colon")
		}
		t.Fields = append(t.Fields, string(field))
	}
	e, err := p.class(depth + 1)
	if err != nil {
		return err
	}
	t.Elems = append(t.Elems, e)
	return nil
}

// userName reads keyspace and name of a user type.
func (p *classParser) userName(t *Type) error {
	t.Keyspace = p.word()
	if !p.take(',') {
		return p.errorf("expected , after the keyspace of a user type")
	}
	name, err := hex.DecodeString(p.word())
	if err != nil {
		return p.errorf("the name of a user type is not hexadecimal")
	}
	t.Name = string(name)
	return nil
}
