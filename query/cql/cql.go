// Package cql is the lexer, AST and recursive-descent parser of CQL 3.4.7. It knows the grammar and nothing else: no schema, no types, no meaning.
// It imports nothing of nodedb. Start reading at Parse, then Statement and Expr.
package cql

import (
	"fmt"
	"strings"
	"unicode"
)

// Limits of a statement. A hostile one gets an error that names the limit; it never overflows the stack or memory.
type Limits struct {
	Bytes   int // length of the statement; default 1 MiB
	Depth   int // nesting of literals, expressions and types, and operators in one expression; default 100
	Markers int // bind markers; default 65535, which is what the binary protocol can count
}

// DefaultLimits are what Parse uses.
var DefaultLimits = Limits{Bytes: 1 << 20, Depth: 100, Markers: 65535}

func (l Limits) withDefaults() Limits {
	if l.Bytes == 0 {
		l.Bytes = DefaultLimits.Bytes
	}
	if l.Depth == 0 {
		l.Depth = DefaultLimits.Depth
	}
	if l.Markers == 0 {
		l.Markers = DefaultLimits.Markers
	}
	return l
}

// Error is a syntax error, semantic-free. It prints as one line: `line 1:7 …`.
type Error struct {
	// Refused says that CQL answers this as an invalid request rather than as a syntax error: its grammar takes the text.
	Refused  bool
	Line     int    // from 1
	Column   int    // from 0, in characters
	Offset   int    // in bytes
	Near     string // the offending text, as written; "" at the end of the statement
	Expected string // what would have been right; "" when Msg says it
	Msg      string // what is wrong, when that is more than an unexpected token
}

// Error is the whole line.
func (e *Error) Error() string {
	var s strings.Builder
	fmt.Fprintf(&s, "line %d:%d ", e.Line, e.Column)
	switch {
	case e.Msg != "" && e.Near != "":
		fmt.Fprintf(&s, `%s, at "%s"`, printable(e.Msg), oneLine(e.Near))
	case e.Msg != "":
		s.WriteString(printable(e.Msg))
	case e.Near != "":
		fmt.Fprintf(&s, `unexpected "%s"`, oneLine(e.Near))
	default:
		s.WriteString("unexpected end of statement")
	}
	if e.Expected != "" {
		s.WriteString(", expected " + e.Expected)
	}
	return s.String()
}

// maxNear is how many characters of the offending text an error shows.
const maxNear = 40

// oneLine makes text fit for an error message: printable, and cut short.
func oneLine(s string) string {
	n := 0
	for at := range s {
		if n++; n > maxNear {
			return printable(s[:at]) + "…"
		}
	}
	return printable(s)
}

// printable is text without line breaks and other control characters, and without bytes that are no UTF-8: names in double quotes may have all of them.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// Parse reads one statement, with or without semicolons at its end, under DefaultLimits. Errors are *Error.
func Parse(text string) (*Parsed, error) { return ParseLimited(text, DefaultLimits) }

// ParseLimited is Parse under other limits; a zero limit is the default one. Errors are *Error.
func ParseLimited(text string, l Limits) (p *Parsed, err error) {
	l = l.withDefaults()
	if len(text) > l.Bytes {
		msg := fmt.Sprintf("statement of %d bytes is longer than the limit of %d; split it, or bind large values", len(text), l.Bytes)
		return nil, &Error{Line: 1, Msg: msg}
	}
	defer func() {
		if r := recover(); r != nil {
			b, ok := r.(bailout)
			if !ok {
				panic(r)
			}
			p, err = nil, b.err
		}
	}()
	ps := parser{lex: newLexer(text), limits: l}
	ps.next()
	st := ps.parseStatement()
	semicolon := false
	for ps.accept(";") {
		semicolon = true
	}
	if semicolon && ps.tok.kind != tokenEnd {
		ps.failMsg("one statement at a time: there is text after the semicolon")
	}
	if ps.tok.kind != tokenEnd {
		ps.expected("end of statement")
		ps.fail()
	}
	return &Parsed{Statement: st, Markers: ps.markers}, nil
}
