package cql

import "strings"

// Piece is one statement cut out of a script: from its first token to its last, without the semicolon, comments within it included.
type Piece struct {
	Text string
	Pos  Pos // in the script
}

// Script is what Split makes of a text.
type Script struct {
	Statements []Piece
	// Rest is what follows the last semicolon, if it is more than blanks and comments. Rest.Text is "" where there is none.
	Rest Piece
	// Open says what is unfinished at the end, for the shell's prompt and for errors: "" (nothing), "statement" (only the semicolon is missing),
	// "string", "quoted name", "comment" or "batch".
	Open string
}

// Split cuts a script into statements at semicolons. Those in strings, names, comments and between BEGIN and APPLY BATCH don't count. It never fails:
// text that is no CQL ends up in some statement, for Parse to complain about.
func Split(script string) Script {
	var s Script
	sp := NewSplitter(script)
	for {
		p, open := sp.Statement()
		if p.Text == "" || open != "" {
			s.Rest, s.Open = p, open
			return s
		}
		s.Statements = append(s.Statements, p)
	}
}

// Splitter cuts a script piece by piece, for those who must look at what comes next.
type Splitter struct{ lex lexer }

// NewSplitter starts at the script's beginning.
func NewSplitter(script string) *Splitter { return &Splitter{newLexer(script)} }

// skip moves over blanks, comments and semicolons to a statement's first token; it gives that token without moving over it.
func (s *Splitter) skip() token {
	for {
		after := s.lex
		t := after.next()
		if t.sym != ";" {
			s.lex.truncated = false
			return t
		}
		s.lex = after
	}
}

// Word is the first word of the next statement, as written: for a shell that has commands of its own. "" at the end.
func (s *Splitter) Word() string {
	t := s.skip()
	if t.kind == tokenEnd {
		return ""
	}
	if t.text != `\` {
		return t.text
	}
	rest := s.lex.src[t.pos.Offset:]
	if n := strings.IndexAny(rest, " \t\r\n;"); n >= 0 {
		rest = rest[:n]
	}
	return rest
}

// Statement cuts the next statement off. A zero Piece is the end. open is "" if the statement ended with a semicolon, else as in Script.
func (s *Splitter) Statement() (p Piece, open string) {
	first := s.skip()
	last, before := first, ""
	batch := first.sym == "BEGIN"
	for {
		t := s.lex.next()
		switch {
		case s.lex.truncated:
			return s.piece(first, t), openKind(t.text)
		case t.kind == tokenEnd && first.kind == tokenEnd:
			return Piece{}, ""
		case t.kind == tokenEnd && batch:
			return s.piece(first, last), "batch"
		case t.kind == tokenEnd:
			return s.piece(first, last), "statement"
		case t.sym == ";" && !batch:
			return s.piece(first, last), ""
		}
		batch = batch && (before != "APPLY" || t.sym != "BATCH")
		before, last = t.sym, t
	}
}

// Line cuts off what is left of the next statement's first line, up to a semicolon: a command of the shell. Strings may go over several lines.
func (s *Splitter) Line() Piece {
	first := s.skip()
	if first.kind == tokenEnd {
		return Piece{}
	}
	last := s.lex.next() // first again, now behind us
	for !s.lex.truncated {
		after := s.lex
		t := after.next()
		if t.kind == tokenEnd || t.sym == ";" || t.pos.Line != last.pos.Line+strings.Count(last.text, "\n") {
			break
		}
		s.lex, last = after, t
	}
	return s.piece(first, last)
}

func (s *Splitter) piece(first, last token) Piece {
	return Piece{Text: s.lex.src[first.pos.Offset : last.pos.Offset+len(last.text)], Pos: first.pos}
}

// openKind says what an unterminated token is.
func openKind(text string) string {
	switch {
	case strings.HasPrefix(text, "/*"):
		return "comment"
	case strings.HasPrefix(text, `"`):
		return "quoted name"
	}
	return "string"
}
