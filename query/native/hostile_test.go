package native

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"nodedb/query"
	"nodedb/query/wire"
)

var preparedFlag = flag.Int("prepared", 20_000, "how many different statements TestManyPreparedStatements prepares; issue 6 asks for 1,000,000")

// hostileTable is a keyspace with one table of many types.
func hostileTable(t *testing.T, address string) (addr string, c *wire.Client) {
	t.Helper()
	_, addr = startReal(t, address)
	c = dial(t, addr, wire.ClientOptions{})
	for _, s := range []string{
		"CREATE KEYSPACE h WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
		"CREATE TYPE h.u (a int, b text)",
		"CREATE TABLE h.t (k int, c text, i int, b boolean, id uuid, vi varint, de decimal, ip inet, ti time, du duration, l list<int>, s set<text>, m map<text, int>, " +
			"tu tuple<int, text>, u frozen<u>, ve vector<float, 3>, PRIMARY KEY (k, c))",
	} {
		if _, err := c.Query(t.Context(), s, nil); err != nil {
			t.Fatal(err)
		}
	}
	return addr, c
}

// refused holds that a request was answered by an error of a code, which contains text, and that the connection goes on.
func refused(t *testing.T, c *wire.Client, err error, code wire.ErrorCode, text string) {
	t.Helper()
	var e *wire.Error
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Message, text) {
		t.Errorf("got %.300v, want a %s with %q", err, code, text)
	}
	if _, err := c.Query(t.Context(), "SELECT key FROM system.local", nil); err != nil {
		t.Fatalf("afterwards: %v", err)
	}
}

// TestHostileStatements: nested deeply, megabytes long, or no text at all, a statement is a syntax error that says why.
func TestHostileStatements(t *testing.T) {
	_, c := hostileTable(t, "127.3.9.8")
	nest := func(open, middle, end string) string {
		return strings.Repeat(open, 100_000) + middle + strings.Repeat(end, 100_000)
	}
	for name, tc := range map[string]struct {
		cql  string
		code wire.ErrorCode
		text string
	}{
		"lists":      {"INSERT INTO h.t (k, c, l) VALUES (1, 'c', " + nest("[", "1", "]") + ")", wire.CodeSyntax, "nested deeper than the limit of 100"},
		"tuples":     {"INSERT INTO h.t (k, c, tu) VALUES (1, 'c', " + nest("(", "1", ")") + ")", wire.CodeSyntax, "nested deeper"},
		"calls":      {"SELECT " + nest("f(", "k", ")") + " FROM h.t", wire.CodeSyntax, "nested deeper"},
		"sums":       {"SELECT " + nest("1+", "k", "") + " FROM h.t", wire.CodeSyntax, "more than 100 operators"},
		"types":      {"CREATE TABLE h.d (k int PRIMARY KEY, v " + nest("list<", "int", ">") + ")", wire.CodeSyntax, "nested deeper"},
		"some types": {"CREATE TABLE h.d (k int PRIMARY KEY, v " + strings.Repeat("frozen<list<", 40) + "int" + strings.Repeat(">", 80) + ")", wire.CodeInvalid, "deeper than the limit of 32"},
		"megabytes":  {"SELECT * FROM h.t WHERE k IN (" + strings.Repeat("1, ", 1<<20) + "1)", wire.CodeSyntax, "longer than the limit of 1048576"},
		"a comment":  {"SELECT * FROM h.t /* " + strings.Repeat("x", 2<<20) + " */", wire.CodeSyntax, "longer than the limit"},
		"keys":       {"SELECT * FROM h.t WHERE k IN (" + strings.Repeat("1,", 20_000) + "1) AND c IN ('a', 'b')", wire.CodeInvalid, "10000"},
		"no UTF-8":   {"SELECT \xff\xfe FROM h.t", wire.CodeSyntax, "line 1:7"},
		"in a text":  {"INSERT INTO h.t (k, c) VALUES (1, '\xff')", wire.CodeInvalid, "UTF-8"},
		"a zero":     {"SELECT k FROM h.t\x00", wire.CodeSyntax, "line 1:17"},
		"nothing":    {"", wire.CodeSyntax, ""},
		"unclosed":   {"SELECT 'a", wire.CodeSyntax, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.Query(t.Context(), tc.cql, nil)
			refused(t, c, err, tc.code, tc.text)
			_, err = c.Prepare(t.Context(), tc.cql)
			if tc.code == wire.CodeSyntax || name == "in a text" { // the others are refused when they run
				refused(t, c, err, tc.code, tc.text)
			}
			_, err = c.Batch(t.Context(), &wire.Batch{Statements: []wire.BatchStatement{{CQL: tc.cql}}, Params: wire.Params{Consistency: 1}})
			refused(t, c, err, tc.code, "")
		})
	}
}

// TestHostileValues: bytes that are no value of their type, in a QUERY and to a prepared statement alike, are an invalid request that names the column.
func TestHostileValues(t *testing.T) {
	_, c := hostileTable(t, "127.3.9.9")
	count := func(n int32, rest ...byte) []byte {
		return append(binary.BigEndian.AppendUint32(nil, uint32(n)), rest...)
	}
	for column, values := range map[string][][]byte{
		"i":  {{1, 2, 3}, {1, 2, 3, 4, 5}},
		"b":  {{1, 1}},
		"id": {make([]byte, 15), make([]byte, 17)},
		"de": {{0, 0, 0}},
		"ip": {{1}, make([]byte, 5), make([]byte, 17)},
		"ti": {bytes.Repeat([]byte{0xFF}, 8), {1}},
		"du": {{0xFF}, {1, 2}, bytes.Repeat([]byte{0xFF}, 30)},
		"l":  {{0}, count(1), count(1<<31 - 1), count(-1), count(1, 0, 0, 0, 2, 1, 1), count(1, 0x7F, 0xFF, 0xFF, 0xFF, 1), count(0, 1)},
		"s":  {count(1, 0, 0, 0, 1, 0xFF), count(2, 0, 0, 0, 1, 'a')},
		"m":  {count(1, 0, 0, 0, 1, 'a'), count(1<<30, 0, 0, 0, 1, 'a', 0, 0, 0, 4, 0, 0, 0, 1)},
		"tu": {count(4, 0, 0, 0, 1, 0, 0, 0, 1, 0xFF), count(3, 1)},
		"u":  {count(9), count(4, 0, 0, 0, 1, 0, 0, 0, 1, 0xFE)},
		"ve": {make([]byte, 11), make([]byte, 13), {}},
		"c":  {{0xFF, 0xFE}},
	} {
		cql := "INSERT INTO h.t (k, c, " + column + ") VALUES (1, 'c', ?)"
		if column == "c" {
			cql = "INSERT INTO h.t (k, c) VALUES (1, ?)"
		}
		st, err := c.Prepare(t.Context(), cql)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range values {
			t.Run(fmt.Sprintf("%s %x", column, v), func(t *testing.T) {
				p := &wire.Params{Consistency: 1, Values: [][]byte{v}}
				_, err := c.Query(t.Context(), cql, p)
				refused(t, c, err, wire.CodeInvalid, column)
				_, err = c.Execute(t.Context(), st, p)
				refused(t, c, err, wire.CodeInvalid, column)
			})
		}
	}
	for name, values := range map[string][][]byte{"too few": {}, "too many": {{0, 0, 0, 1}, {0, 0, 0, 1}}} {
		_, err := c.Query(t.Context(), "SELECT k FROM h.t WHERE k = ?", &wire.Params{Consistency: 1, Values: values})
		if err == nil {
			t.Errorf("%s values are taken", name)
		}
		refused(t, c, err, wire.CodeInvalid, "")
	}
	for _, state := range [][]byte{{1}, bytes.Repeat([]byte{0xFF}, 1000), []byte("nodedb")} {
		_, err := c.Query(t.Context(), "SELECT k FROM h.t", &wire.Params{Consistency: 1, PageSize: 10, PageState: state})
		if err == nil {
			t.Errorf("the paging state %x is taken", state)
		}
		refused(t, c, err, wire.CodeInvalid, "paging state")
	}
}

// TestHostileCompression: bombs, cut blocks, and what claims another length than it has end the connection with a protocol error; a claim over the limit on
// frames is refused alone. Another connection doesn't notice.
func TestHostileCompression(t *testing.T) {
	addr, other := hostileTable(t, "127.3.9.10")
	lz4Of := func(claim uint32, block ...byte) []byte {
		return append(binary.BigEndian.AppendUint32(nil, claim), block...)
	}
	snappyOf := func(claim uint64, block ...byte) []byte { return append(binary.AppendUvarint(nil, claim), block...) }
	for _, tc := range []struct {
		name        string
		compression string
		body        []byte
		code        wire.ErrorCode
		ends        bool
	}{
		{"lz4 bomb", "lz4", lz4Of(10<<20, bytes.Repeat([]byte{0xFF}, 1000)...), wire.CodeProtocol, true},
		{"lz4 over the limit", "lz4", lz4Of(1<<31, bytes.Repeat([]byte{0xFF}, 1000)...), wire.CodeInvalid, false},
		{"lz4 of nothing", "lz4", []byte{1, 2}, wire.CodeProtocol, true},
		{"lz4 that lies", "lz4", lz4Of(100, 0x10, 'x'), wire.CodeProtocol, true},
		{"snappy bomb", "snappy", snappyOf(10<<20, bytes.Repeat([]byte{0xFE}, 1000)...), wire.CodeProtocol, true},
		{"snappy over the limit", "snappy", snappyOf(1<<31, 0xFE, 0xFE), wire.CodeInvalid, false},
		{"snappy without length", "snappy", bytes.Repeat([]byte{0xFF}, 20), wire.CodeProtocol, true},
		{"snappy that lies", "snappy", snappyOf(20, 0, 'x'), wire.CodeProtocol, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := dialRaw(t, addr)
			r.send(wire.Header{Version: 4, Op: wire.OpStartup}, (&wire.Startup{Options: map[string]string{"CQL_VERSION": "3.0.0", "COMPRESSION": tc.compression}}).AppendBody(nil, 4))
			r.expect(wire.OpReady, 0, "")
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			r.send(wire.Header{Version: 4, Flags: wire.FlagCompressed, Stream: 3, Op: wire.OpQuery}, tc.body)
			h, body, err := r.reader.Next()
			runtime.ReadMemStats(&after)
			if err != nil || h.Op != wire.OpError {
				t.Fatalf("%+v, %v", h, err)
			}
			if e, err := wire.DecodeError(body, h.Version); err != nil || e.Code != tc.code {
				t.Errorf("%+v, %v", e, err)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
				t.Errorf("%d bytes were allocated", n)
			}
			if tc.ends {
				r.expectEnd()
			}
			if _, err := other.Query(t.Context(), "SELECT key FROM system.local", nil); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestHostileSegments: a v5 segment whose checksums or lengths are wrong ends the connection: nothing behind it can be trusted.
func TestHostileSegments(t *testing.T) {
	addr, other := hostileTable(t, "127.3.9.11")
	for name, segment := range map[string][]byte{
		"header checksum":  {9, 0, 2, 0, 0, 0, 5, 0, 0, 1, 5, 0, 0, 0, 0, 1, 2, 3, 4},
		"all ones":         bytes.Repeat([]byte{0xFF}, 1000),
		"zeros":            make([]byte, 1000),
		"a frame unframed": wire.Header{Version: 5, Op: wire.OpOptions}.Append(nil),
	} {
		t.Run(name, func(t *testing.T) {
			r := dialRaw(t, addr)
			r.send(wire.Header{Version: 5, Op: wire.OpStartup}, (&wire.Startup{Options: map[string]string{"CQL_VERSION": "3.0.0"}}).AppendBody(nil, 5))
			r.expect(wire.OpReady, 0, "")
			r.reader.Segmented()
			if _, err := r.Write(segment); err != nil {
				t.Fatal(err)
			}
			if h, _, err := r.reader.Next(); err == nil && h.Op != wire.OpError {
				t.Errorf("answered by %+v", h)
			} else if err == nil {
				r.expectEnd()
			}
			if _, err := other.Query(t.Context(), "SELECT key FROM system.local", nil); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestManyPreparedStatements: however many different statements clients prepare, memory stays flat; one that is in use stays.
func TestManyPreparedStatements(t *testing.T) {
	_, c := hostileTable(t, "127.3.9.12")
	used, err := c.Prepare(t.Context(), "SELECT c FROM h.t WHERE k = ?")
	if err != nil {
		t.Fatal(err)
	}
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	var full, most int64 // with as many as are kept; the most afterwards
	for i := range *preparedFlag {
		if _, err := c.Prepare(t.Context(), fmt.Sprintf("SELECT c AS c%d, i FROM h.t WHERE k = ? AND c > 'text %d'", i, i)); err != nil {
			t.Fatal(err)
		}
		if i%1000 == 0 { // far more often than what is kept goes
			if _, err := c.Execute(t.Context(), used, &wire.Params{Consistency: 1, Values: [][]byte{{0, 0, 0, 1}}}); err != nil {
				t.Fatalf("after %d others the one in use: %v", i, err)
			}
		}
		if i == query.DefaultMaxPrepared+query.DefaultMaxPrepared/10 {
			full = heap()
		} else if full > 0 && i%10_000 == 0 {
			most = max(most, heap())
		}
	}
	most = max(most, heap())
	t.Logf("%d statements prepared; heap %d KiB when %d were kept, at most %d KiB later", *preparedFlag, full>>10, query.DefaultMaxPrepared, most>>10)
	if most > full+full/4+4<<20 {
		t.Errorf("memory grew from %d to %d bytes", full, most)
	}
}
