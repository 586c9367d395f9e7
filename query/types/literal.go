package types

import (
	"fmt"
	"strings"
)

// literalParser reads what appendNested writes, and what a person would: elements in quotes or bare up to the next delimiter.
// Its recursion follows the type.
type literalParser struct {
	text string
	at   int
}

func (p *literalParser) errorf(t *Type, format string, args ...any) error {
	return t.valueError("at byte %d of %q: %s", p.at, clip(p.text), fmt.Sprintf(format, args...))
}

func (p *literalParser) blank() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
}

// take skips blanks and then c, if it is next.
func (p *literalParser) take(c byte) bool {
	p.blank()
	if p.at < len(p.text) && p.text[p.at] == c {
		p.at++
		return true
	}
	return false
}

// value reads one value inside another; nil is null.
func (p *literalParser) value(t *Type) ([]byte, error) {
	p.blank()
	if p.null() {
		return nil, nil
	}
	if t.Kind.scalar() == nil && t.Kind != Custom {
		return p.nested(t)
	}
	if p.at < len(p.text) && p.text[p.at] == '\'' {
		s, err := p.quoted(t, '\'')
		if err != nil {
			return nil, err
		}
		return t.parseScalar(s)
	}
	start := p.at
	for p.at < len(p.text) && strings.IndexByte(",:]})", p.text[p.at]) < 0 {
		p.at++
	}
	s := strings.TrimRight(p.text[start:p.at], " \t\r\n")
	if s == "" {
		return nil, p.errorf(t, "expected a value")
	}
	return t.parseScalar(s)
}

// null skips the word null, if it is next.
func (p *literalParser) null() bool {
	const word = "null"
	rest := p.text[p.at:]
	if len(rest) < len(word) || !strings.EqualFold(rest[:len(word)], word) {
		return false
	}
	if after := rest[len(word):]; after != "" && strings.IndexByte(" \t\r\n,:]})", after[0]) < 0 {
		return false
	}
	p.at += len(word)
	return true
}

// quoted reads a text between quotes; a doubled quote stands for one.
func (p *literalParser) quoted(t *Type, q byte) (string, error) {
	rest := p.text[p.at+1:]
	doubled := false
	for i := 0; i < len(rest); i++ {
		if rest[i] != q {
			continue
		}
		if i+1 < len(rest) && rest[i+1] == q {
			doubled = true
			i++
			continue
		}
		p.at += i + 2
		if doubled {
			return strings.ReplaceAll(rest[:i], string([]byte{q, q}), string(q)), nil
		}
		return rest[:i], nil
	}
	return "", p.errorf(t, "the quote is never closed")
}

// nested reads a collection, tuple, user type or vector.
func (p *literalParser) nested(t *Type) ([]byte, error) {
	open, end := t.brackets()
	if !p.take(open) {
		return nil, p.errorf(t, "expected %q", open)
	}
	if t.Kind == UDT {
		return p.fields(t)
	}
	var values [][]byte
	for !p.take(end) {
		if len(values) > 0 && !p.take(',') {
			return nil, p.errorf(t, "expected %q or %q", ',', end)
		}
		v, err := p.value(t.elem(len(values)))
		if err != nil {
			return nil, err
		}
		values = append(values, v)
		if t.Kind == Map {
			if !p.take(':') {
				return nil, p.errorf(t, "expected %q between key and value", ':')
			}
			if v, err = p.value(t.Elems[1]); err != nil {
				return nil, err
			}
			values = append(values, v)
		}
	}
	return t.assemble(values)
}

// elem is the type of the i-th value inside one of the type. Too many fields of a tuple are read as the last one and refused by assemble.
func (t *Type) elem(i int) *Type {
	switch {
	case t.Kind == Map:
		return t.Elems[i&1]
	case t.Kind == Tuple && len(t.Elems) > 0:
		return t.Elems[min(i, len(t.Elems)-1)]
	case t.Kind == Tuple:
		return BlobType
	}
	return t.Elems[0]
}

// fields reads a user type after its opening brace.
func (p *literalParser) fields(t *Type) ([]byte, error) {
	values := make([][]byte, len(t.Elems))
	for first := true; !p.take('}'); first = false {
		if !first && !p.take(',') {
			return nil, p.errorf(t, "expected ',' or '}'")
		}
		name, err := p.identifier(t)
		if err != nil {
			return nil, err
		}
		i := t.field(name)
		if i < 0 {
			return nil, p.errorf(t, "it has no field %q", clip(name))
		}
		if !p.take(':') {
			return nil, p.errorf(t, "expected ':' after the field %q", name)
		}
		if values[i], err = p.value(t.Elems[i]); err != nil {
			return nil, err
		}
	}
	return t.assemble(values)
}

func (p *literalParser) identifier(t *Type) (string, error) {
	p.blank()
	if p.at < len(p.text) && p.text[p.at] == '"' {
		return p.quoted(t, '"')
	}
	start := p.at
	for p.at < len(p.text) && isWord(p.text[p.at]) {
		p.at++
	}
	if start == p.at {
		return "", p.errorf(t, "expected a field's name")
	}
	return strings.ToLower(p.text[start:p.at]), nil
}

// field finds a user type's field, -1 if there is none.
func (t *Type) field(name string) int {
	for i, f := range t.Fields {
		if f == name {
			return i
		}
	}
	return -1
}

// assemble makes the value of its parts, checked and canonical.
func (t *Type) assemble(values [][]byte) ([]byte, error) {
	switch {
	case t.Kind == Vector && len(values) != t.Dim:
		return nil, t.valueError("it has %d dimensions, these are %d values", t.Dim, len(values))
	case t.Kind == Tuple && len(values) > len(t.Elems):
		return nil, t.valueError("it has %d fields, these are %d values", len(t.Elems), len(values))
	}
	if t.Kind != Tuple && t.Kind != UDT {
		for i, v := range values {
			if v == nil {
				return nil, t.valueError("element %d is null, which only tuples and user types may contain", i)
			}
			if n := t.Elems[0].fixedLength(); t.Kind == Vector && n > 0 && len(v) != n {
				return nil, t.valueError("element %d is empty, which a vector cannot hold", i)
			}
		}
	}
	return t.Canonical(t.build(values)), nil
}
