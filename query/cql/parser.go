package cql

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// parser is a recursive-descent parser with one token of lookahead; where the grammar needs more it saves and restores its place.
//
// Errors travel as a bailout panic, which ParseLimited turns into the returned *Error: a grammar of sixty productions stays readable, and there is one
// place that builds messages. What would have been right is not written by hand: every question "is the next token X" that is answered with no is
// remembered until the parser moves on, and the error lists those questions.
type parser struct {
	lex    lexer
	tok    token
	limits Limits

	markers []*Marker
	depth   int

	wanted  [maxWanted]string // what was asked for at tok, in vain
	nWanted int
}

// maxWanted bounds the alternatives that an error lists.
const maxWanted = 12

// bailout carries a syntax error up to ParseLimited.
type bailout struct{ err *Error }

// place is a parser's place in the text.
type place struct {
	lex     lexer
	tok     token
	markers int
}

func (p *parser) save() place { return place{p.lex, p.tok, len(p.markers)} }

func (p *parser) restore(s place) {
	p.lex, p.tok, p.markers = s.lex, s.tok, p.markers[:s.markers]
	p.nWanted = 0
}

// next moves to the next token.
func (p *parser) next() {
	p.nWanted = 0
	p.tok = p.lex.next()
	if p.tok.kind == tokenBad {
		p.failAt(p.tok.pos, p.tok.text, p.lex.problem, "")
	}
}

// peek is the token after tok.
func (p *parser) peek() token {
	l := p.lex
	return l.next()
}

// expected remembers what would have been right here.
func (p *parser) expected(what string) {
	if p.nWanted < maxWanted && !slices.Contains(p.wanted[:p.nWanted], what) {
		p.wanted[p.nWanted] = what
		p.nWanted++
	}
}

// at asks whether the next token is a keyword or operator. Only words are remembered for the error: a list of all operators helps nobody.
func (p *parser) at(sym string) bool {
	if p.tok.sym == sym {
		return true
	}
	p.expected(sym)
	return false
}

// is is at, off the record.
func (p *parser) is(sym string) bool { return p.tok.sym == sym }

// accept moves over the keywords or operators if they all come next, in this order.
func (p *parser) accept(syms ...string) bool {
	if !p.at(syms[0]) {
		return false
	}
	if len(syms) == 1 {
		p.next()
		return true
	}
	start := p.save()
	for _, sym := range syms {
		if p.tok.sym != sym {
			p.restore(start)
			return false
		}
		p.next()
	}
	return true
}

// expect moves over a keyword or operator that must come next.
func (p *parser) expect(syms ...string) {
	for _, sym := range syms {
		if !p.accept(sym) {
			p.fail()
		}
	}
}

// fail ends the parsing at tok with what was expected here.
func (p *parser) fail() { p.failAt(p.tok.pos, p.tok.text, "", p.alternatives()) }

// failWant is fail with one more alternative.
func (p *parser) failWant(what string) {
	p.expected(what)
	p.fail()
}

// failMsg ends the parsing at tok with a message of its own.
func (p *parser) failMsg(format string, args ...any) {
	p.failAt(p.tok.pos, p.tok.text, fmt.Sprintf(format, args...), "")
}

func (p *parser) failAt(at Pos, near, msg, expected string) {
	panic(bailout{&Error{Line: at.Line, Column: at.Column, Offset: at.Offset, Near: near, Expected: expected, Msg: msg}})
}

// refuse ends the parsing at a place in a text that the grammar takes and that is no statement all the same.
func (p *parser) refuse(at Pos, near, format string, args ...any) {
	panic(bailout{&Error{Line: at.Line, Column: at.Column, Offset: at.Offset, Near: near, Msg: fmt.Sprintf(format, args...), Refused: true}})
}

// alternatives writes what was asked for in vain as `A, B or C`, and the keyword among them that the token looks like.
func (p *parser) alternatives() string {
	want := p.wanted[:p.nWanted]
	var s strings.Builder
	for i, w := range want {
		switch {
		case i == 0:
		case i == len(want)-1:
			s.WriteString(" or ")
		default:
			s.WriteString(", ")
		}
		if !isLetter(w[0]) {
			w = `"` + w + `"`
		}
		s.WriteString(w)
	}
	if p.tok.kind == tokenWord && len(want) > 1 {
		for _, w := range want {
			if alike(strings.ToUpper(p.tok.text), w) {
				s.WriteString(" (did you mean " + w + "?)")
				break
			}
		}
	}
	return s.String()
}

// alike says whether two words differ by one letter added, dropped, changed, or swapped with its neighbour.
func alike(a, b string) bool {
	if len(a) < 3 || len(b) < 3 || len(a)-len(b) > 1 || len(b)-len(a) > 1 {
		return false
	}
	i, ea, eb := 0, len(a), len(b)
	for i < ea && i < eb && a[i] == b[i] {
		i++
	}
	for ea > i && eb > i && a[ea-1] == b[eb-1] {
		ea--
		eb--
	}
	a, b = a[i:ea], b[i:eb]
	return len(a) <= 1 && len(b) <= 1 || len(a) == 2 && len(b) == 2 && a[0] == b[1] && a[1] == b[0]
}

// enter counts one level of nesting; leave it again with leave.
func (p *parser) enter() {
	p.depth++
	if p.depth > p.limits.Depth {
		p.failMsg("nested deeper than the limit of %d levels", p.limits.Depth)
	}
}

func (p *parser) leave() { p.depth-- }

// marker reads a bind marker that stands at tok.
func (p *parser) marker() *Marker {
	m := &Marker{Pos: p.tok.pos, Index: len(p.markers)}
	if m.Index >= p.limits.Markers {
		p.failMsg("more than %d bind markers", p.limits.Markers)
	}
	if p.accept("?") {
		p.markers = append(p.markers, m)
		return m
	}
	p.expect(":")
	m.Name = p.name("a name for the bind marker").Name
	p.markers = append(p.markers, m)
	return m
}

// atMarker asks for a bind marker.
func (p *parser) atMarker() bool { return p.is("?") || p.is(":") }

// isName says whether a token can be a name.
func isName(t token) bool { return t.kind == tokenQuoted || t.kind == tokenWord && !t.reserved }

// name reads a name; what names it in errors, with its article.
func (p *parser) name(what string) Ident {
	if !isName(p.tok) {
		switch {
		case p.tok.reserved:
			p.expected(what)
			note := fmt.Sprintf(` (as a name, the reserved word %s is quoted: "%s")`, p.tok.sym, strings.ToLower(p.tok.text))
			p.failAt(p.tok.pos, p.tok.text, "", p.alternatives()+note)
		case p.is("?") || p.is(":"):
			p.failMsg("%s can't be a bind marker", what)
		case p.tok.kind == tokenString:
			p.failMsg(`%s stands in "double quotes" or none, not in 'single' ones`, what)
		}
		p.failWant(what)
	}
	id := Ident{Pos: p.tok.pos, Name: nameValue(p.tok)}
	p.next()
	return id
}

// qualified reads [keyspace.]name.
func (p *parser) qualified(what string) Name {
	first := p.name(what)
	n := Name{Pos: first.Pos, Name: first.Name}
	if p.is(".") {
		p.next()
		n.Keyspace, n.Name = n.Name, p.name(what).Name
	}
	return n
}

// list reads one or more items with commas between them.
func (p *parser) list(item func()) {
	item()
	for p.accept(",") {
		item()
	}
}

// looseList reads one or more items with commas between them, after the last one too: declarations of columns and fields.
func (p *parser) looseList(item func()) {
	item()
	for p.accept(",") {
		if !p.is(",") && !p.is(")") {
			item()
		}
	}
}

// names reads (a, b, …).
func (p *parser) names(what string) []Ident {
	var ids []Ident
	p.expect("(")
	p.list(func() { ids = append(ids, p.name(what)) })
	p.expect(")")
	return ids
}

// ifNotExists and ifExists read their words, if they come.
func (p *parser) ifNotExists() bool {
	if !p.accept("IF") {
		return false
	}
	p.expect("NOT", "EXISTS")
	return true
}

func (p *parser) ifExists() bool {
	if !p.accept("IF") {
		return false
	}
	p.expect("EXISTS")
	return true
}

// typeName reads a type.
func (p *parser) typeName() *TypeName {
	p.enter()
	defer p.leave()
	t := &TypeName{Pos: p.tok.pos}
	if p.tok.kind == tokenString {
		t.Custom, t.Name = true, stringValue(p.tok.text)
		p.next()
		return t
	}
	sym := p.tok.sym
	if sym == "SET" && p.peek().sym == "<" { // a reserved word, and the only one that is a type
		t.Name = "set"
		p.next()
	} else {
		n := p.qualified("a type")
		t.Keyspace, t.Name = n.Keyspace, n.Name
	}
	if !p.is("<") || t.Keyspace != "" {
		return t
	}
	want, ok := map[string]int{"LIST": 1, "SET": 1, "FROZEN": 1, "VECTOR": 1, "MAP": 2, "TUPLE": 0}[sym]
	if !ok {
		p.failMsg("only list, set, map, tuple, frozen and vector take types in <>, not %s", t.Name)
	}
	p.typeArgs(t, want)
	return t
}

// typeArgs reads <t, …>, as many as wanted (0: any number).
func (p *parser) typeArgs(t *TypeName, want int) {
	p.expect("<")
	t.Args = append(t.Args, p.typeName())
	for (want == 0 || len(t.Args) < want) && (want != 0 || p.is(",")) {
		p.expect(",")
		t.Args = append(t.Args, p.typeName())
	}
	if a := t.Args[0]; t.Name == "frozen" && isNativeType[strings.ToUpper(a.Name)] && !a.Custom && a.Keyspace == "" {
		p.failAt(a.Pos, a.Name, "frozen<> is only allowed on collections, tuples, and user-defined types (got "+a.Name+")", "")
	}
	if t.Name == "vector" {
		p.expect(",")
		t.Dim = p.dimension()
	}
	p.expect(">")
}

// dimension reads how many elements a vector has: a plain positive integer that fits 31 bits.
func (p *parser) dimension() int {
	if p.tok.kind != tokenInteger {
		p.failWant("the vector's dimension")
	}
	n, err := strconv.ParseInt(p.tok.text, 10, 32)
	switch {
	case err != nil:
		p.failMsg("the vector's dimension must be between 1 and %d", math.MaxInt32)
	case n < 1:
		p.refuse(p.tok.pos, p.tok.text, "vectors may only have positive dimensions; given %d", n)
	}
	p.next()
	return int(n)
}
