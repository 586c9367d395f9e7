package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"nodedb/query/types"

	"pgregory.net/rapid"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the goldens in testdata/wire")

// message is anything that has bytes on the wire.
type message struct {
	name   string
	append func(dst []byte, v Version) []byte
}

func request(name string, r Request) message { return message{name, r.AppendBody} }

func plain(name string, f func(dst []byte) []byte) message {
	return message{name, func(dst []byte, _ Version) []byte { return f(dst) }}
}

var sampleColumns = []Column{
	{"nyc", "flights", "origin", types.VarcharType}, {"nyc", "flights", "dep_delay", types.IntType},
}

var sampleParams = Params{
	Consistency: 4, Serial: 8, Values: [][]byte{[]byte("JFK"), nil, nil}, Unset: []bool{false, false, true}, SkipMetadata: true,
	PageSize: 100, PageState: []byte{0xCA, 0xFE}, HasTimestamp: true, Timestamp: 1234567, Keyspace: "nyc", HasNow: true, NowInSeconds: 99,
}

func sampleError(code ErrorCode) *Error {
	return &Error{
		Code: code, Message: "m", Consistency: 4, Required: 2, Alive: 1, Received: 1, BlockFor: 2, Failures: 1, DataPresent: true,
		Reasons: []FailureReason{{netip.MustParseAddr("127.9.0.1"), 1}}, Contentions: 3, WriteType: "CAS", Keyspace: "k", Table: "t",
		Function: "f", ArgTypes: []string{"int"}, ID: [16]byte{1, 2, 3},
	}
}

func sampleMessages() []message {
	meta := EncodeMetadata(sampleColumns)
	mixed := EncodeMetadata([]Column{sampleColumns[0], {"k", "t", "c", types.BigintType}})
	rows := AppendBytes(AppendBytes(nil, []byte("JFK")), nil)
	list := []message{
		request("STARTUP", &Startup{Options: map[string]string{"CQL_VERSION": "3.0.0", "COMPRESSION": "lz4"}}),
		request("OPTIONS", &Options{}),
		request("AUTH_RESPONSE", &AuthResponse{Token: []byte("\x00u\x00p")}),
		request("REGISTER", &Register{Events: []string{EventTopology, EventSchema}}),
		request("QUERY bare", &Query{CQL: "SELECT 1", Params: Params{Consistency: 1}}),
		request("QUERY full", &Query{CQL: "SELECT 1", Params: sampleParams}),
		request("QUERY named", &Query{CQL: "x", Params: Params{Consistency: 1, Values: [][]byte{{7}}, Names: []string{"a"}}}),
		request("PREPARE", &Prepare{CQL: "SELECT ?", Keyspace: "nyc"}),
		request("EXECUTE", &Execute{ID: []byte("0123456789abcdef"), ResultID: []byte("r"), Params: sampleParams}),
		request("BATCH", &Batch{Kind: BatchUnlogged, Params: sampleParams, Statements: []BatchStatement{
			{CQL: "INSERT"}, {ID: []byte("0123456789abcdef"), Values: [][]byte{{1}, nil}, Unset: []bool{false, true}}}}),
		plain("SUPPORTED", func(dst []byte) []byte {
			return AppendSupported(dst, map[string][]string{"CQL_VERSION": {"3.4.7"}, "COMPRESSION": {"lz4", "snappy"}})
		}),
		plain("RESULT void", func(dst []byte) []byte { return AppendResultKind(dst, KindVoid) }),
		plain("RESULT keyspace", func(dst []byte) []byte { return AppendSetKeyspace(dst, "nyc") }),
		plain("RESULT rows", func(dst []byte) []byte { return meta.AppendRows(dst, RowsOptions{}, 1, rows) }),
		plain("RESULT rows mixed", func(dst []byte) []byte { return mixed.AppendRows(dst, RowsOptions{PageState: []byte{1}}, 1, rows) }),
		plain("RESULT rows skipped", func(dst []byte) []byte { return meta.AppendRows(dst, RowsOptions{Skip: true}, 1, rows) }),
		plain("RESULT rows changed", func(dst []byte) []byte { return meta.AppendRows(dst, RowsOptions{NewID: []byte("id")}, 1, rows) }),
		{"RESULT prepared", (&Prepared{ID: []byte("id"), ResultID: []byte("r"), Markers: sampleColumns, PartitionKey: []uint16{0},
			Columns: sampleColumns}).Append},
		{"RESULT prepared insert", (&Prepared{ID: []byte("id"), ResultID: []byte("r"), Markers: sampleColumns}).Append},
		plain("RESULT schema change", func(dst []byte) []byte {
			return (&Change{Kind: "CREATED", Object: "FUNCTION", Keyspace: "k", Name: "f", Args: []string{"int"}}).Append(AppendResultKind(dst, KindSchemaChange))
		}),
		plain("EVENT status", func(dst []byte) []byte {
			return (&Event{Type: EventStatus, Change: "UP", Address: netip.MustParseAddrPort("127.9.0.1:9042")}).Append(dst)
		}),
		plain("EVENT topology v6", func(dst []byte) []byte {
			return (&Event{Type: EventTopology, Change: "NEW_NODE", Address: netip.MustParseAddrPort("[2001:db8::1]:9042")}).Append(dst)
		}),
		plain("EVENT schema", func(dst []byte) []byte {
			return (&Event{Type: EventSchema, Schema: Change{Kind: "DROPPED", Object: "KEYSPACE", Keyspace: "k"}}).Append(dst)
		}),
	}
	for code := range codeNames {
		list = append(list, message{fmt.Sprintf("ERROR %04x", int32(code)), sampleError(code).Append})
	}
	return list
}

// TestGolden holds the bytes of every message in both versions.
func TestGolden(t *testing.T) {
	path := filepath.Join("..", "..", "testdata", "wire", "messages.txt")
	lines := make([]string, 0, 64)
	for _, m := range sampleMessages() {
		for _, v := range []Version{V4, V5} {
			lines = append(lines, fmt.Sprintf("v%d %s: %s\n", v, m.name, hex.EncodeToString(m.append(nil, v))))
		}
	}
	tail := lines[len(lines)-2*len(codeNames):] // errors come in map order
	sortStrings(tail)
	got := strings.Join(lines, "")
	if *rewrite {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Fatalf("bytes differ from %s; got:\n%s", path, got)
	}
}

func sortStrings(s []string) {
	for i := range s {
		for j := i; j > 0 && s[j] < s[j-1]; j-- {
			s[j], s[j-1] = s[j-1], s[j]
		}
	}
}

func genParams(t *rapid.T, v Version, batch bool) Params {
	p := Params{Consistency: rapid.Uint16().Draw(t, "cl"), Serial: rapid.SampledFrom([]uint16{0, 8, 9}).Draw(t, "serial")}
	if rapid.Bool().Draw(t, "timestamped") {
		p.HasTimestamp, p.Timestamp = true, rapid.Int64().Draw(t, "ts")
	}
	if v >= V5 {
		p.Keyspace = rapid.StringN(0, 9, 9).Draw(t, "ks")
		if p.HasNow = rapid.Bool().Draw(t, "hasnow"); p.HasNow {
			p.NowInSeconds = rapid.Int32().Draw(t, "now")
		}
	}
	if batch {
		return p
	}
	p.SkipMetadata = rapid.Bool().Draw(t, "skip")
	p.PageSize = rapid.Int32Range(0, 1<<31-1).Draw(t, "page")
	if rapid.Bool().Draw(t, "paged") {
		p.PageState = rapid.SliceOf(rapid.Byte()).Draw(t, "state")
	}
	p.Values, p.Unset = genValues(t)
	if len(p.Values) > 0 && rapid.Bool().Draw(t, "named") {
		p.Names = make([]string, len(p.Values))
		for i := range p.Names {
			p.Names[i] = rapid.StringN(0, 9, 9).Draw(t, "name")
		}
	}
	return p
}

func genValues(t *rapid.T) (values [][]byte, unset []bool) {
	for i := range rapid.IntRange(0, 5).Draw(t, "n") {
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			values = append(values, nil)
		case 1:
			values = append(values, nil)
			for len(unset) < i {
				unset = append(unset, false)
			}
			unset = append(unset, true)
		default:
			values = append(values, rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "value"))
		}
	}
	for unset != nil && len(unset) < len(values) {
		unset = append(unset, false)
	}
	return values, unset
}

// same compares after making empty slices nil, which is all that a round trip may change where there are no values.
func same(t *rapid.T, got, want any) {
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v\nwant %+v", got, want)
	}
}

// TestRequestRoundTrip: what is appended decodes to what it was, also into a message that held another before.
func TestRequestRoundTrip(t *testing.T) {
	var q Query
	var e Execute
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.SampledFrom([]Version{V4, V5}).Draw(t, "version")
		wantQuery := Query{CQL: rapid.String().Draw(t, "cql"), Params: genParams(t, v, false)}
		if err := q.Decode(wantQuery.AppendBody(nil, v), v); err != nil {
			t.Fatal(err)
		}
		gotQuery := q
		if len(gotQuery.Values) == 0 {
			gotQuery.Values = nil
		}
		same(t, gotQuery, wantQuery)

		wantExecute := Execute{ID: []byte("0123456789abcdef"), Params: genParams(t, v, false)}
		if v >= V5 {
			wantExecute.ResultID = []byte("r")
		}
		if err := e.Decode(wantExecute.AppendBody(nil, v), v); err != nil {
			t.Fatal(err)
		}
		gotExecute := e
		if len(gotExecute.Values) == 0 {
			gotExecute.Values = nil
		}
		same(t, gotExecute, wantExecute)

		wantBatch := Batch{Kind: BatchKind(rapid.IntRange(0, 2).Draw(t, "kind")), Params: genParams(t, v, true), Statements: []BatchStatement{}}
		for range rapid.IntRange(0, 4).Draw(t, "statements") {
			s := BatchStatement{CQL: rapid.String().Draw(t, "cql")}
			if rapid.Bool().Draw(t, "prepared") {
				s = BatchStatement{ID: []byte("id")}
			}
			s.Values, s.Unset = genValues(t)
			wantBatch.Statements = append(wantBatch.Statements, s)
		}
		gotBatch := Batch{Statements: []BatchStatement{}}
		if err := gotBatch.Decode(wantBatch.AppendBody(nil, v), v); err != nil {
			t.Fatal(err)
		}
		same(t, gotBatch, wantBatch)
	})
}

func TestSmallRequests(t *testing.T) {
	var s Startup
	if err := s.Decode((&Startup{Options: map[string]string{"a": "b"}}).AppendBody(nil, V4)); err != nil || s.Options["a"] != "b" {
		t.Fatal(s, err)
	}
	var r Register
	if err := r.Decode((&Register{Events: []string{"a", "b"}}).AppendBody(nil, V4)); err != nil || len(r.Events) != 2 {
		t.Fatal(r, err)
	}
	var a AuthResponse
	if err := a.Decode((&AuthResponse{Token: []byte("x")}).AppendBody(nil, V4)); err != nil || string(a.Token) != "x" {
		t.Fatal(a, err)
	}
	for _, v := range []Version{V4, V5} {
		var p Prepare
		want := Prepare{CQL: "SELECT", Keyspace: map[Version]string{V5: "ks"}[v]}
		if err := p.Decode((&Prepare{CQL: "SELECT", Keyspace: "ks"}).AppendBody(nil, v), v); err != nil || p != want {
			t.Fatal(p, err)
		}
	}
}

// TestErrorRoundTrip: every code keeps the fields that it has in its version, and only these.
func TestErrorRoundTrip(t *testing.T) {
	for code, name := range codeNames {
		for _, v := range []Version{V4, V5} {
			body := sampleError(code).Append(nil, v)
			got, err := DecodeError(body, v)
			if err != nil {
				t.Fatal(name, v, err)
			}
			if again := got.Append(nil, v); !bytes.Equal(again, body) {
				t.Errorf("%s v%d: %x became %x", name, v, body, again)
			}
			for n := range body {
				if _, err := DecodeError(body[:n], v); !errors.Is(err, ErrMalformed) {
					t.Errorf("%s v%d cut at %d of %d: %v", name, v, n, len(body), err)
				}
			}
		}
	}
}

// TestTruncatedRequests: a request that is cut anywhere is an error, never a panic and never another request.
func TestTruncatedRequests(t *testing.T) {
	for _, v := range []Version{V4, V5} {
		full := map[string]func([]byte) error{}
		var q Query
		body := (&Query{CQL: "SELECT 1", Params: sampleParams}).AppendBody(nil, v)
		full[string(body)] = func(b []byte) error { return q.Decode(b, v) }
		var e Execute
		full[string((&Execute{ID: []byte("id"), Params: sampleParams}).AppendBody(nil, v))] = func(b []byte) error { return e.Decode(b, v) }
		var bt Batch
		full[string((&Batch{Statements: []BatchStatement{{CQL: "I", Values: [][]byte{{1}}}}, Params: sampleParams}).AppendBody(nil, v))] =
			func(b []byte) error { return bt.Decode(b, v) }
		for body, decode := range full {
			if err := decode([]byte(body)); err != nil {
				t.Fatal(err)
			}
			for n := range len(body) {
				if err := decode([]byte(body[:n])); !errors.Is(err, ErrMalformed) {
					t.Errorf("v%d cut at %d of %d: %v", v, n, len(body), err)
				}
			}
		}
	}
}

func TestRows(t *testing.T) {
	rows := AppendBytes(AppendBytes(nil, []byte("JFK")), nil)
	rows = AppendBytes(AppendBytes(rows, []byte("EWR")), []byte{0, 0, 0, 7})
	meta := EncodeMetadata(sampleColumns)
	for _, tc := range []struct {
		name    string
		options RowsOptions
		known   []Column
	}{
		{"full", RowsOptions{}, nil},
		{"paged", RowsOptions{PageState: []byte("s")}, nil},
		{"skipped", RowsOptions{Skip: true, PageState: []byte("s")}, sampleColumns},
		{"changed", RowsOptions{NewID: []byte("new")}, nil},
	} {
		r := Response{Header: Header{Version: V5, Op: OpResult, Flags: FlagWarning | FlagTracing | FlagCustomPayload}}
		r.Body = append([]byte("0123456789abcdef"), AppendStringList(nil, []string{"careful"})...)
		r.Body = AppendBytesMap(r.Body, map[string][]byte{"k": {1}})
		r.Body = meta.AppendRows(r.Body, tc.options, 2, rows)
		res, err := r.Result(tc.known)
		if err != nil {
			t.Fatal(tc.name, err)
		}
		if string(res.PageState) != string(tc.options.PageState) || string(res.NewID) != string(tc.options.NewID) {
			t.Errorf("%s: %+v", tc.name, res)
		}
		if string(res.TraceID[:]) != "0123456789abcdef" || res.Warnings[0] != "careful" || res.Payload["k"][0] != 1 {
			t.Errorf("%s: %+v", tc.name, res)
		}
		if len(res.Columns) != 2 || res.Columns[1].Name != "dep_delay" || res.Columns[1].Keyspace != "nyc" || !sameType(res.Columns[1].Type, types.IntType) {
			t.Errorf("%s: %+v", tc.name, res.Columns)
		}
		all, err := res.All()
		if err != nil || len(all) != 2 || string(all[0][0]) != "JFK" || all[0][1] != nil || all[1][1][3] != 7 {
			t.Errorf("%s: %v %v", tc.name, all, err)
		}
	}
}

func sameType(a, b *types.Type) bool {
	return bytes.Equal(a.AppendWireType(nil), b.AppendWireType(nil))
}

// TestRowsLie: a count of rows or columns that can't be there is found before anything is allocated for it.
func TestRowsLie(t *testing.T) {
	lie := func(flags, columns, rows int32) Response {
		b := AppendInt(AppendInt(AppendResultKind(nil, KindRows), flags), columns)
		return Response{Header: Header{Version: V4, Op: OpResult}, Body: AppendInt(b, rows)}
	}
	for _, r := range []Response{lie(0, 1<<30, 0), lie(1, 1<<30, 0), lie(4, 2, 1<<30), lie(4, 2, -1), lie(4, 0, 5), lie(0, -1, 0)} {
		if _, err := r.Result(sampleColumns); !errors.Is(err, ErrMalformed) {
			t.Errorf("%x: %v", r.Body, err)
		}
	}
}

func TestLongString(t *testing.T) {
	d := NewDecoder(AppendString(nil, strings.Repeat("é", 40000)))
	if s := d.String(); d.Done() != nil || len(s) > 65535 || len(s) < 65530 || strings.Trim(s, "é") != "" {
		t.Fatalf("%d bytes, %v", len(s), d.Err())
	}
}

func TestSupported(t *testing.T) {
	r := Response{Header: Header{Op: OpSupported}, Body: AppendSupported(nil, map[string][]string{"A": {"x", "y"}, "B": {}})}
	m, err := r.Supported()
	if err != nil || len(m) != 2 || len(m["A"]) != 2 {
		t.Fatal(m, err)
	}
}
