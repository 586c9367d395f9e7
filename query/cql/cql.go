// Package cql is the lexer, AST and recursive-descent parser of CQL 3.4.7. It knows the grammar and nothing else: no schema, no types, no meaning.
// It imports nothing of nodedb. Start reading at Parse, then Statement and Expr.
package cql

import "fmt"

// Limits of a statement. A hostile one gets an error that names the limit; it never overflows the stack or memory.
type Limits struct {
	Bytes   int // length of the statement; default 1 MiB
	Depth   int // nesting of literals, expressions and types; default 100
	Markers int // bind markers; default 65535, which is what the binary protocol can count
}

// DefaultLimits are what Parse uses.
var DefaultLimits = Limits{Bytes: 1 << 20, Depth: 100, Markers: 65535}

// Error is a syntax error, semantic-free. It prints as one line: `line 1:7 …`.
type Error struct {
	Line     int    // from 1
	Column   int    // from 0, in characters
	Offset   int    // in bytes
	Near     string // the offending text, cut to a readable length; "" at the end of the statement
	Expected string // what would have been right; "" when Msg says it
	Msg      string // what is wrong, when that is more than an unexpected token
}

// Error is the whole line.
func (e *Error) Error() string {
	s := fmt.Sprintf("line %d:%d ", e.Line, e.Column)
	switch {
	case e.Msg != "" && e.Near != "":
		s += fmt.Sprintf("%s, near %q", e.Msg, e.Near)
	case e.Msg != "":
		s += e.Msg
	case e.Near != "":
		s += fmt.Sprintf("unexpected %q", e.Near)
	default:
		s += "unexpected end of statement"
	}
	if e.Expected != "" {
		s += ", expected " + e.Expected
	}
	return s
}

// Parse reads one statement, with or without a semicolon at its end, under DefaultLimits. Errors are *Error.
func Parse(text string) (*Parsed, error) { return ParseLimited(text, DefaultLimits) }

// ParseLimited is Parse under other limits; a zero limit is the default one. Errors are *Error.
func ParseLimited(text string, l Limits) (*Parsed, error) { panic("contract") }

// ColumnName is the name a selected expression has in a result when it has no alias, as Cassandra prints it: v, count, system.min(v), writetime(v),
// cast(v as double).
func ColumnName(e Expr) string { panic("contract") }

// QuoteName writes a name so that it parses back to itself: plain where that is enough, else "quoted".
func QuoteName(name string) string { panic("contract") }

// QuoteString writes a string constant: in single quotes, those within it doubled.
func QuoteString(s string) string { panic("contract") }
