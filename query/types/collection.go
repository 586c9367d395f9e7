package types

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// Bytes of values that contain values (CQL spec v4, section 6; lengths are signed and big-endian, -1 for null):
//
//	list, set    | n int32 | n × ( length int32 | element ) |
//	map          | n int32 | n × ( length int32 | key | length int32 | value ) |
//	tuple, UDT   | at most as many fields as the type has × ( length int32 | field ) |
//	vector       | dim × element |                             of a type with inline elements
//	vector       | dim × ( length unsigned vint | element ) |  of any other

// AppendCount appends the count that begins a list, set or map (of a map: of its pairs).
func AppendCount(dst []byte, n int) []byte { return AppendInt32(dst, int32(n)) }

// AppendElement appends an element, key, value or field with its length; nil is null.
func AppendElement(dst, value []byte) []byte {
	if value == nil {
		return AppendInt32(dst, -1)
	}
	return append(AppendInt32(dst, int32(len(value))), value...)
}

// BeginElement makes room for the length of an element that the caller appends next; EndElement, with the mark, then fills it in.
func BeginElement(dst []byte) (out []byte, mark int) { return AppendInt32(dst, 0), len(dst) }

// EndElement ends what BeginElement began.
func EndElement(dst []byte, mark int) {
	binary.BigEndian.PutUint32(dst[mark:], uint32(len(dst)-mark-4))
}

// Count is how many elements (of a map: pairs) a list, set or map has.
func Count(b []byte) int { return max(0, int(Int32(b))) }

// Elements walks the values inside a value without allocating. Elements alias it.
//
//	it := t.Elements(value)
//	for it.Next() {
//		use(it.Type(), it.Value()) // of a map: key, value, key, value…
//	}
//	err := it.Err()
type Elements struct {
	t      *Type
	value  []byte
	left   []byte
	index  int // of the current value
	total  int // values to come at most; a tuple may end early
	failed string
}

// Elements begins a walk. Null and empty have no elements.
func (t *Type) Elements(b []byte) Elements {
	it := Elements{t: t, left: b, index: -1}
	switch t.Kind {
	case List, Set, Map:
		if len(b) < 4 {
			if b != nil {
				it.failed = "it ends before the count of its elements"
			}
			return it
		}
		n := int(Int32(b))
		it.left = b[4:]
		if t.Kind == Map {
			n *= 2
		}
		// Each element takes at least the four bytes of its length.
		if n < 0 || n > len(it.left)/4 {
			it.failed = "it is too short for the count of its elements"
			return it
		}
		it.total = n
	case Tuple, UDT:
		it.total = len(t.Elems)
	case Vector:
		if b != nil {
			it.total = t.Dim
		}
	}
	return it
}

// Next moves to the next value; false at the end or when the bytes are damaged (see Err).
func (it *Elements) Next() bool {
	if it.failed != "" {
		return false
	}
	it.index++
	if it.index >= it.total {
		if len(it.left) > 0 {
			it.failed = "bytes follow its last element"
		}
		return false
	}
	switch it.t.Kind {
	case Vector:
		return it.nextVector()
	case Tuple, UDT:
		if len(it.left) == 0 {
			it.index = it.total
			return false
		}
	}
	return it.nextSized()
}

func (it *Elements) nextSized() bool {
	if len(it.left) < 4 {
		it.failed = "it ends inside the length of an element"
		return false
	}
	n := int(Int32(it.left))
	it.left = it.left[4:]
	if n < 0 {
		it.value = nil
		return true
	}
	return it.take(n)
}

func (it *Elements) nextVector() bool {
	n := it.t.Elems[0].fixedLength()
	if n == 0 {
		length, size := Uvint(it.left)
		if size == 0 || length > uint64(len(it.left)-size) {
			it.failed = "it ends before its last element does"
			return false
		}
		it.left = it.left[size:]
		n = int(length)
	}
	return it.take(n)
}

func (it *Elements) take(n int) bool {
	if n > len(it.left) {
		it.failed = "it ends before its last element does"
		return false
	}
	it.value, it.left = it.left[:n:n], it.left[n:]
	return true
}

// Value is the current value; nil is null. It aliases the whole.
func (it *Elements) Value() []byte { return it.value }

// Index counts values from 0; of a map keys are even and values odd.
func (it *Elements) Index() int { return it.index }

// Type is the current value's.
func (it *Elements) Type() *Type {
	switch it.t.Kind {
	case Map:
		return it.t.Elems[it.index&1]
	case Tuple, UDT:
		return it.t.Elems[it.index]
	}
	return it.t.Elems[0]
}

// Err says why a walk ended early; it wraps ErrValue.
func (it *Elements) Err() error {
	if it.failed == "" {
		return nil
	}
	return it.t.valueError("%s", it.failed)
}

// Canonical gives the one form of a valid value that equal values share: sets sorted and without repetition, maps sorted by key with the
// last value of a repeated one, tuples and user types with all their fields, at every depth. It gives b itself when nothing is to be done.
// What clients send for frozen columns passes through it, since values are compared as bytes.
func (t *Type) Canonical(b []byte) []byte {
	if b == nil || t.Kind.scalar() != nil || t.Kind == Custom {
		return b
	}
	if t.Kind == Vector && t.Elems[0].fixedLength() > 0 {
		return b
	}
	var values [][]byte
	for it := t.Elements(b); it.Next(); {
		values = append(values, it.Type().Canonical(it.Value()))
	}
	switch t.Kind {
	case Set:
		slices.SortFunc(values, t.Elems[0].Compare)
		values = slices.CompactFunc(values, func(a, b []byte) bool { return t.Elems[0].Compare(a, b) == 0 })
	case Map:
		values = t.sortPairs(values)
	case Tuple, UDT:
		if len(b) == 0 {
			return b
		}
	}
	if out := t.build(values); !bytes.Equal(out, b) {
		return out
	}
	return b
}

// sortPairs sorts key, value, key, value… by key and keeps the last of a repeated one.
func (t *Type) sortPairs(flat [][]byte) [][]byte {
	pairs := make([][2][]byte, 0, len(flat)/2)
	for i := 0; i+1 < len(flat); i += 2 {
		pairs = append(pairs, [2][]byte{flat[i], flat[i+1]})
	}
	slices.SortStableFunc(pairs, func(a, b [2][]byte) int { return t.Elems[0].Compare(a[0], b[0]) })
	out := flat[:0]
	for i, p := range pairs {
		if i+1 == len(pairs) || t.Elems[0].Compare(p[0], pairs[i+1][0]) != 0 {
			out = append(out, p[0], p[1])
		}
	}
	return out
}

// build makes a value of its elements (of a map: key, value…), in the order given. Missing fields are null.
func (t *Type) build(values [][]byte) []byte {
	size := 4
	for _, v := range values {
		size += len(v) + 5
	}
	dst := make([]byte, 0, size+4*len(t.Elems))
	switch t.Kind {
	case List, Set:
		dst = AppendCount(dst, len(values))
	case Map:
		dst = AppendCount(dst, len(values)/2)
	case Vector:
		inline := t.Elems[0].fixedLength() > 0
		for _, v := range values {
			if !inline {
				dst = AppendUvint(dst, uint64(len(v)))
			}
			dst = append(dst, v...)
		}
		return dst
	}
	for _, v := range values {
		dst = AppendElement(dst, v)
	}
	for i := len(values); i < len(t.Elems) && (t.Kind == Tuple || t.Kind == UDT); i++ {
		dst = AppendElement(dst, nil)
	}
	return dst
}
