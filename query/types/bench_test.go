package types

import "testing"

// BenchmarkKey encodes and decodes a clustering key as flights have it: time, carrier, number.
func BenchmarkKey(b *testing.B) {
	typs := []*Type{TimestampType, VarcharType, IntType}
	values := [][]byte{AppendInt64(nil, 1357034400000), []byte("UA"), AppendInt32(nil, 1545)}
	var key, arena []byte
	b.ReportAllocs()
	for b.Loop() {
		key, arena = key[:0], arena[:0]
		for i, t := range typs {
			key, _ = t.AppendKey(key, values[i], i == 0)
		}
		rest := key
		for i, t := range typs {
			_, arena, rest, _ = t.DecodeKeyInto(arena, rest, i == 0)
		}
	}
}

// BenchmarkParseText reads fields as a CSV has them.
func BenchmarkParseText(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _ = IntType.ParseText("1545")
		_, _ = TimestampType.ParseText("2013-01-01T10:00:00Z")
		_, _ = VarcharType.ParseText("EWR")
		_, _ = DoubleType.ParseText("12.75")
	}
}

// BenchmarkJSON writes the same fields.
func BenchmarkJSON(b *testing.B) {
	values := [][]byte{AppendInt32(nil, 1545), AppendInt64(nil, 1357034400000), []byte("EWR"), AppendDouble(nil, 12.75)}
	typs := []*Type{IntType, TimestampType, VarcharType, DoubleType}
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		out = out[:0]
		for i, t := range typs {
			out = t.AppendJSON(out, values[i])
		}
	}
}
