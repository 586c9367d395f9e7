package schema

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
)

// Numbers are uvarints; a string is its length and its bytes; a map its length and its entries in key order, so that
// equal content has equal bytes.

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendMap(dst []byte, m map[string]string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(m)))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		dst = appendString(appendString(dst, k), m[k])
	}
	return dst
}

// reader takes values off the front of b. The first mistake stays in err, and everything after it reads as zero.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: bad %s", ErrFormat, what)
	}
	r.b = nil
}

func (r *reader) byte(what string) byte {
	if len(r.b) == 0 {
		r.fail(what)
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

// number reads a uvarint that may be at most max. Overlong encodings are refused: bytes are canonical.
func (r *reader) number(what string, max uint64) uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > max || (n > 1 && r.b[n-1] == 0) {
		r.fail(what)
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads how many of something follow; each takes a byte at least, which bounds what hostile bytes can make us
// allocate.
func (r *reader) count(what string) int { return int(r.number(what, uint64(len(r.b)))) }

func (r *reader) string(what string) string {
	n := r.count(what)
	if r.err != nil || n > len(r.b) {
		r.fail(what)
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *reader) id(what string) (id [16]byte) {
	if len(r.b) < len(id) {
		r.fail(what)
		return id
	}
	copy(id[:], r.b)
	r.b = r.b[len(id):]
	return id
}

func (r *reader) bool(what string) bool {
	v := r.byte(what)
	if v > 1 {
		r.fail(what)
	}
	return v == 1
}

// stringMap reads a map; keys have to ascend. An empty one is nil.
func (r *reader) stringMap(what string) map[string]string {
	n := r.count(what)
	if n == 0 {
		return nil
	}
	m := make(map[string]string, n)
	last := ""
	for i := range n {
		k := r.string(what)
		if i > 0 && k <= last {
			r.fail(what + " (keys out of order)")
		}
		m[k] = r.string(what)
		last = k
		if r.err != nil {
			return nil
		}
	}
	return m
}

func (r *reader) version(what string, newest byte) {
	if v := r.byte(what); r.err == nil && (v == 0 || v > newest) {
		r.err = fmt.Errorf("%w: %s has version %d, this nodedb reads up to %d", ErrFormat, what, v, newest)
		r.b = nil
	}
}

func (r *reader) end(what string) error {
	if r.err == nil && len(r.b) > 0 {
		r.fail(fmt.Sprintf("%s: %d bytes too many", what, len(r.b)))
	}
	return r.err
}
