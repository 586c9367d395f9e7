package metalog

import (
	"encoding/binary"
	"fmt"

	"nodedb/vnodes"
)

func appendNumber(dst []byte, n uint64) []byte { return binary.AppendUvarint(dst, n) }

func appendText(dst []byte, s string) []byte { return append(appendNumber(dst, uint64(len(s))), s...) }

func appendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 1)
	}
	return append(dst, 0)
}

func appendTokens(dst []byte, tokens []vnodes.Token) []byte {
	dst = appendNumber(dst, uint64(len(tokens)))
	for _, t := range tokens {
		dst = binary.BigEndian.AppendUint64(dst, uint64(t))
	}
	return dst
}

func appendNode(dst []byte, n *vnodes.Node) []byte {
	dst = append(dst, n.ID[:]...)
	dst = appendText(appendText(appendText(dst, n.Address), n.DC), n.Rack)
	dst = append(appendNumber(dst, uint64(n.Weight)), byte(n.State))
	return appendTokens(dst, n.Tokens)
}

// reader takes values off the front of b. The first mistake stays in err; what is read after it is zero. Bytes are
// canonical: what reads without an error is written back as it was.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: bad %s", ErrCorrupt, what)
	}
	r.b = nil
}

func (r *reader) take(n int, what string) []byte {
	if len(r.b) < n {
		r.fail(what)
		return nil
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}

func (r *reader) byte() byte {
	if b := r.take(1, "byte"); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) bool() bool {
	v := r.byte()
	if v > 1 {
		r.fail("flag")
	}
	return v == 1
}

func (r *reader) id() (id [16]byte) {
	copy(id[:], r.take(len(id), "id"))
	return id
}

func (r *reader) number(highest uint64) uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > highest || n > 1 && r.b[n-1] == 0 {
		r.fail("number")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads how many follow; each takes a byte or more, which bounds what hostile bytes make us allocate.
func (r *reader) count() int { return int(r.number(uint64(len(r.b)))) }

func (r *reader) text() string { return string(r.take(r.count(), "text")) }

func (r *reader) state() vnodes.NodeState {
	s := vnodes.NodeState(r.byte())
	if s > vnodes.StateWaiting {
		r.fail("node state")
		return 0
	}
	return s
}

func (r *reader) tokens() []vnodes.Token {
	n := r.count()
	raw := r.take(n*8, "tokens")
	if n == 0 || raw == nil {
		return nil
	}
	tokens := make([]vnodes.Token, n)
	for i := range tokens {
		tokens[i] = vnodes.Token(binary.BigEndian.Uint64(raw[i*8:]))
	}
	return tokens
}

func (r *reader) node() vnodes.Node {
	n := vnodes.Node{ID: r.id(), Address: r.text(), DC: r.text(), Rack: r.text()}
	n.Weight, n.State = int(r.number(1<<31)), r.state()
	n.Tokens = r.tokens()
	return n
}

// end gives the first mistake; bytes left over are one.
func (r *reader) end(what string) error {
	if r.err == nil && len(r.b) > 0 {
		r.fail(fmt.Sprintf("%d bytes after the end", len(r.b)))
	}
	if r.err != nil {
		return fmt.Errorf("%s: %w", what, r.err)
	}
	return nil
}
