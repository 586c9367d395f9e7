package cql

import (
	"strings"
	"unicode/utf8"
)

// tokenKind is the class of a token.
type tokenKind uint8

const (
	tokenEnd tokenKind = iota
	tokenWord
	tokenQuoted
	tokenString
	tokenInteger
	tokenFloat
	tokenUUID
	tokenBlob
	tokenDuration
	tokenOperator
	tokenBad // see lexer.problem
)

// token is one token of a statement.
type token struct {
	kind     tokenKind
	reserved bool
	sym      string // a keyword in capitals, or an operator: what the grammar compares with
	text     string // as written
	pos      Pos
}

// lexer cuts text into tokens, on demand and without allocating. It is a small value: copying it saves the place.
type lexer struct {
	src       string
	pos       Pos
	problem   string // of the last tokenBad
	truncated bool   // the problem is that the text ends too early: in a string, quoted name or comment
}

func newLexer(src string) lexer { return lexer{src: src, pos: Pos{Line: 1}} }

// advance moves over n bytes, counting lines and characters.
func (l *lexer) advance(n int) {
	for _, r := range l.src[l.pos.Offset : l.pos.Offset+n] {
		if r == '\n' {
			l.pos.Line++
			l.pos.Column = 0
		} else {
			l.pos.Column++
		}
	}
	l.pos.Offset += n
}

// next gives the next token; tokenEnd again and again at the end.
func (l *lexer) next() token {
	if bad, ok := l.skipBlank(); !ok {
		return bad
	}
	rest := l.src[l.pos.Offset:]
	if rest == "" {
		return token{kind: tokenEnd, pos: l.pos}
	}
	c := rest[0]
	switch {
	case c == '\'':
		return l.delimited(tokenString, rest, '\'', "string")
	case c == '"':
		return l.delimited(tokenQuoted, rest, '"', "quoted name")
	case strings.HasPrefix(rest, "$$"):
		end := strings.Index(rest[2:], "$$")
		if end < 0 {
			return l.unterminated("string ($$)", len(rest))
		}
		return l.take(tokenString, end+4)
	case isLetter(c) || isDigit(c):
		return l.wordOrNumber(rest)
	}
	return l.operator(rest)
}

// take makes a token of the next n bytes.
func (l *lexer) take(kind tokenKind, n int) token {
	t := token{kind: kind, text: l.src[l.pos.Offset : l.pos.Offset+n], pos: l.pos}
	l.advance(n)
	return t
}

// bad makes a token of the next n bytes that no grammar wants.
func (l *lexer) bad(problem string, n int) token {
	l.problem = problem
	return l.take(tokenBad, n)
}

// unterminated is bad for what should have been closed.
func (l *lexer) unterminated(what string, n int) token {
	l.truncated = true
	return l.bad("unterminated "+what, n)
}

// skipBlank skips blanks and comments; it fails on a comment without end.
func (l *lexer) skipBlank() (token, bool) {
	for {
		rest := l.src[l.pos.Offset:]
		trimmed := strings.TrimLeft(rest, " \t\r\n\f\u00a0\ufeff")
		l.advance(len(rest) - len(trimmed))
		switch {
		case strings.HasPrefix(trimmed, "--"), strings.HasPrefix(trimmed, "//"):
			n := strings.IndexByte(trimmed, '\n')
			if n < 0 {
				n = len(trimmed)
			}
			l.advance(n)
		case strings.HasPrefix(trimmed, "/*"):
			end := strings.Index(trimmed[2:], "*/")
			if end < 0 {
				return l.unterminated("comment", len(trimmed)), false
			}
			l.advance(end + 4)
		default:
			return token{}, true
		}
	}
}

// delimited reads what stands between two quotes, in which the quote itself is doubled.
func (l *lexer) delimited(kind tokenKind, rest string, quote byte, what string) token {
	for i := 1; i < len(rest); i++ {
		if rest[i] != quote {
			continue
		}
		if i+1 < len(rest) && rest[i+1] == quote {
			i++
			continue
		}
		if kind == tokenQuoted && i == 1 {
			return l.bad("empty quoted name", 2)
		}
		return l.take(kind, i+1)
	}
	return l.unterminated(what, len(rest))
}

// wordOrNumber reads what begins with a letter or digit: word, number, uuid, blob or duration.
func (l *lexer) wordOrNumber(rest string) token {
	if n := uuidLength(rest); n > 0 {
		return l.take(tokenUUID, n)
	}
	n := wordLength(rest)
	word := rest[:n]
	if !isDigit(word[0]) {
		if word[0] == 'P' {
			if d := isoDurationLength(rest); d >= n {
				return l.take(tokenDuration, d)
			}
		}
		t := l.take(tokenWord, n)
		if k, ok := lookupKeyword(word); ok {
			t.sym, t.reserved = k.word, k.reserved
		}
		return t
	}
	if isBlob(word) {
		return l.take(tokenBlob, n)
	}
	if isDuration(word) {
		return l.take(tokenDuration, n)
	}
	// A unit may be µs, which is no word in ASCII.
	if d := microDurationLength(rest); d > 0 {
		return l.take(tokenDuration, d)
	}
	return l.number(rest)
}

// number reads an integer or float.
func (l *lexer) number(rest string) token {
	n := digits(rest)
	kind := tokenInteger
	// 1..2 is a range of two integers.
	if n < len(rest) && rest[n] == '.' && !strings.HasPrefix(rest[n:], "..") {
		kind = tokenFloat
		n++
		n += digits(rest[n:])
	}
	if n < len(rest) && (rest[n] == 'e' || rest[n] == 'E') {
		m := n + 1
		if m < len(rest) && (rest[m] == '+' || rest[m] == '-') {
			m++
		}
		if d := digits(rest[m:]); d > 0 {
			kind = tokenFloat
			n = m + d
		}
	}
	if w := wordLength(rest[n:]); w > 0 {
		return l.bad("malformed number", n+w)
	}
	return l.take(kind, n)
}

// operators, longer ones first.
var operators = [...]string{"..", "!=", "<=", ">=", "+=", "-=", "(", ")", "[", "]", "{", "}", ",", ";", ".", ":", "?", "=", "<", ">", "+", "-", "*", "/", "%"}

func (l *lexer) operator(rest string) token {
	for _, op := range &operators {
		if strings.HasPrefix(rest, op) {
			t := l.take(tokenOperator, len(op))
			t.sym = op
			return t
		}
	}
	_, n := utf8.DecodeRuneInString(rest)
	return l.bad("unknown character", n)
}

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isHex(c byte) bool    { return isDigit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F' }

func digits(s string) int {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return n
}

// wordLength is the length of the letters, digits and underscores at the start of s.
func wordLength(s string) int {
	n := 0
	for n < len(s) && (isLetter(s[n]) || isDigit(s[n]) || s[n] == '_') {
		n++
	}
	return n
}

const uuidText = 36

// uuidLength is 36 if s starts with a UUID, else 0.
func uuidLength(s string) int {
	if len(s) < uuidText {
		return 0
	}
	for i := range uuidText {
		switch i {
		case 8, 13, 18, 23:
			if s[i] != '-' {
				return 0
			}
		default:
			if !isHex(s[i]) {
				return 0
			}
		}
	}
	if wordLength(s[uuidText:]) > 0 {
		return 0
	}
	return uuidText
}

func isBlob(word string) bool {
	if len(word) < 2 || word[0] != '0' || word[1]|0x20 != 'x' {
		return false
	}
	for i := 2; i < len(word); i++ {
		if !isHex(word[i]) {
			return false
		}
	}
	return true
}

// durationUnits in any case, longer ones first.
var durationUnits = [...]string{"mo", "ms", "us", "µs", "μs", "ns", "y", "w", "d", "h", "m", "s"}

// durationPart is the length of digits and a unit at the start of s, or 0.
func durationPart(s string) int {
	n := digits(s)
	if n == 0 {
		return 0
	}
	for _, u := range &durationUnits {
		if len(s) >= n+len(u) && strings.EqualFold(s[n:n+len(u)], u) {
			return n + len(u)
		}
	}
	return 0
}

// durationPrefix is the length of the parts 1y2mo3d… at the start of s.
func durationPrefix(s string) int {
	n := 0
	for {
		part := durationPart(s[n:])
		if part == 0 {
			return n
		}
		n += part
	}
}

func isDuration(word string) bool { return durationPrefix(word) == len(word) }

// microDurationLength is the length of a duration that names µs, whose unit isn't ASCII, or 0.
func microDurationLength(s string) int {
	n := durationPrefix(s)
	if n == 0 || wordLength(s[n:]) > 0 {
		return 0
	}
	return n
}

// isoDurationLength is the length of an ISO 8601 duration at the start of s, which starts with P; 0 when it is none. Forms: P1Y2M3DT4H5M6S, P3W,
// P0001-02-03T04:05:06.
func isoDurationLength(s string) int {
	if n := matchShape(s, "P####-##-##T##:##:##"); n > 0 {
		return n
	}
	if d := digits(s[1:]); d > 0 && len(s) > d+1 && s[d+1] == 'W' && wordLength(s[d+2:]) == 0 {
		return d + 2
	}
	n, parts := isoParts(s, 1, "YMD")
	if n < len(s) && s[n] == 'T' {
		m, timeParts := isoParts(s, n+1, "HMS")
		if timeParts == 0 {
			return 0
		}
		n, parts = m, parts+timeParts
	}
	if parts == 0 || wordLength(s[n:]) > 0 {
		return 0
	}
	return n
}

// isoParts reads digits and a unit again and again, units in their order.
func isoParts(s string, n int, units string) (end, parts int) {
	for units != "" {
		d := digits(s[n:])
		if d == 0 || n+d >= len(s) {
			break
		}
		i := strings.IndexByte(units, s[n+d])
		if i < 0 {
			break
		}
		units = units[i+1:]
		n += d + 1
		parts++
	}
	return n, parts
}

// matchShape is the length of shape if s starts with it, # standing for a digit, and no word goes on there; else 0.
func matchShape(s, shape string) int {
	if len(s) < len(shape) {
		return 0
	}
	for i := range len(shape) {
		if shape[i] == '#' && isDigit(s[i]) || shape[i] != '#' && shape[i] == s[i] {
			continue
		}
		return 0
	}
	if wordLength(s[len(shape):]) > 0 {
		return 0
	}
	return len(shape)
}

// stringValue is what a tokenString stands for.
func stringValue(text string) string {
	if strings.HasPrefix(text, "$$") {
		return text[2 : len(text)-2]
	}
	return strings.ReplaceAll(text[1:len(text)-1], "''", "'")
}

// nameValue is the name that a tokenWord or tokenQuoted stands for.
func nameValue(t token) string {
	if t.kind == tokenQuoted {
		return strings.ReplaceAll(t.text[1:len(t.text)-1], `""`, `"`)
	}
	return strings.ToLower(t.text)
}
