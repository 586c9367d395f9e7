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
	l := newLexer(script)
	var first, last token // of the statement at hand; first.kind is tokenEnd when there is none yet
	var before string     // the token before, to see APPLY BATCH
	batch := false
	for {
		t := l.next()
		if t.kind == tokenEnd || l.truncated {
			s.finish(script, first, last, t, batch)
			return s
		}
		if first.kind == tokenEnd {
			if t.sym == ";" {
				continue
			}
			first, batch = t, t.sym == "BEGIN"
		}
		if t.sym == ";" && !batch {
			s.Statements = append(s.Statements, piece(script, first, last))
			first = token{}
			continue
		}
		batch = batch && (before != "APPLY" || t.sym != "BATCH")
		before, last = t.sym, t
	}
}

func piece(script string, first, last token) Piece {
	return Piece{Text: script[first.pos.Offset : last.pos.Offset+len(last.text)], Pos: first.pos}
}

// finish fills in Rest and Open; t is the end, or what has no end.
func (s *Script) finish(script string, first, last, t token, batch bool) {
	if t.kind == tokenBad {
		s.Open = openKind(t.text)
		if first.kind == tokenEnd {
			first = t
		}
		last = t
	}
	switch {
	case first.kind == tokenEnd:
		return
	case s.Open != "":
	case batch:
		s.Open = "batch"
	default:
		s.Open = "statement"
	}
	s.Rest = piece(script, first, last)
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
