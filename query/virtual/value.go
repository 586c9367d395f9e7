package virtual

import (
	"encoding/binary"
	"math"
	"net/netip"
	"sort"
)

// Values of the system tables' types, as CQL binary-protocol bytes.

func text(s string) []byte { return append([]byte{}, s...) }

func integer(v int32) []byte { return binary.BigEndian.AppendUint32(nil, uint32(v)) }

func bigint(v int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(v)) }

func double(v float64) []byte { return binary.BigEndian.AppendUint64(nil, math.Float64bits(v)) }

func boolean(v bool) []byte {
	if v {
		return []byte{1}
	}
	return []byte{0}
}

func uuid(id [16]byte) []byte { return append([]byte{}, id[:]...) }

// inet gives null for what is no IP address.
func inet(s string) []byte {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return nil
	}
	return a.Unmap().AsSlice()
}

func textList(list []string) []byte {
	out := integer(int32(len(list)))
	for _, s := range list {
		out = appendElement(out, []byte(s))
	}
	return out
}

// textSet sorts, as sets are on the wire.
func textSet(list []string) []byte {
	list = append([]string(nil), list...)
	sort.Strings(list)
	return textList(list)
}

func textMap(m map[string]string) []byte {
	out := integer(int32(len(m)))
	for _, k := range sortedKeys(m) {
		out = appendElement(appendElement(out, []byte(k)), []byte(m[k]))
	}
	return out
}

func appendElement(dst, b []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(b)))
	return append(dst, b...)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
