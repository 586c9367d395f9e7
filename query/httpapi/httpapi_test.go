package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"nodedb/coordinator/consistency"
	"nodedb/query"
	"nodedb/query/schema"
	"nodedb/query/types"
	"nodedb/query/wire"
)

func newServer(t testing.TB, f *fake, edit func(*Options)) *Server {
	t.Helper()
	o := Options{
		Engine: f, Logger: slog.New(slog.DiscardHandler), Catalog: schema.Empty,
		Ring: func(context.Context) (Ring, error) {
			return Ring{Cluster: "demo", Epoch: 7, Nodes: []RingNode{{HostID: "6f1a", Address: "127.0.0.1", DC: "dc", Rack: "r", State: "up", Tokens: 16}}}, nil
		},
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "nodedb_up 1\n") }),
	}
	if edit != nil {
		edit(&o)
	}
	return New(o)
}

// do sends a request to the handler. Headers are name, value pairs.
func do(s *Server, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

// problem checks that an answer is problem+json of a status and code.
func problem(t *testing.T, w *httptest.ResponseRecorder, status int, code wire.ErrorCode) Problem {
	t.Helper()
	var p Problem
	if w.Header().Get("Content-Type") != problemType {
		t.Fatalf("%d %s: %s, want %s", w.Code, w.Header().Get("Content-Type"), w.Body, problemType)
	}
	d := json.NewDecoder(w.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		t.Fatal(err)
	}
	if w.Code != status || p.Status != status || p.Code != int32(code) || p.Detail == "" || p.Title == "" || !strings.HasPrefix(p.Type, "urn:nodedb:problem:") {
		t.Fatalf("%d %+v, want %d and code 0x%04x", w.Code, p, status, int32(code))
	}
	return p
}

func TestQueryWithoutValues(t *testing.T) {
	f := &fake{}
	var seen query.Params
	var session query.Session
	columns := []query.ColumnSpec{column(t, "id", "int"), column(t, `we"ird`, "list<text>"), column(t, "id", "bigint")}
	f.run = map[string]func(*query.Session, *query.Params) (*query.Result, error){"SELECT": func(s *query.Session, p *query.Params) (*query.Result, error) {
		seen, session = *p, *s
		r := result(t, columns, []string{"1", `["a\n"]`, "9007199254740993"}, []string{"2", "null", "-1"})
		r.PageState, r.Warnings = []byte{0xff, 1, 2}, []string{"slow"}
		return r, nil
	}}
	s := newServer(t, f, nil)
	w := do(s, "POST", "/v1/query", `{"cql":"SELECT","params":[ ],"consistency":"quorum","keyspace":"ks","page_size":2,"page_state":"AQI"}`)
	want := `{"columns":[{"name":"id","type":"int"},{"name":"we\"ird","type":"list<text>"},{"name":"id_2","type":"bigint"}],` +
		`"rows":[{"id":1,"we\"ird":["a\n"],"id_2":9007199254740993},{"id":2,"we\"ird":null,"id_2":-1}],"page_state":"_wEC","warnings":["slow"]}` + "\n"
	if w.Code != 200 || w.Header().Get("Content-Type") != jsonType || w.Body.String() != want {
		t.Fatalf("%d %s\n%s\nwant\n%s", w.Code, w.Header(), w.Body, want)
	}
	if seen.Level != consistency.Quorum || seen.Serial != consistency.Serial || seen.PageSize != 2 || !bytes.Equal(seen.PageState, []byte{1, 2}) ||
		seen.Timestamp != query.NoTimestamp || session.Keyspace != "ks" || session.Client == "" {
		t.Fatalf("engine saw %+v, %+v", seen, session)
	}
	if w = do(s, "POST", "/v1/query", `{"cql":"SELECT"}`); w.Code != 200 || seen.Level != consistency.LocalQuorum || seen.PageSize != 5000 || seen.PageState != nil {
		t.Fatalf("%d, engine saw %+v", w.Code, seen)
	}
}

func TestVoidAndUse(t *testing.T) {
	f := &fake{run: map[string]func(*query.Session, *query.Params) (*query.Result, error){
		"INSERT": func(*query.Session, *query.Params) (*query.Result, error) {
			return &query.Result{Kind: query.ResultVoid}, nil
		},
		"USE": func(*query.Session, *query.Params) (*query.Result, error) {
			return &query.Result{Kind: query.ResultSetKeyspace, Keyspace: "ks"}, nil
		},
	}}
	s := newServer(t, f, nil)
	if w := do(s, "POST", "/v1/query", `{"cql":"INSERT"}`); w.Body.String() != `{"columns":[],"rows":[],"page_state":null,"warnings":[]}`+"\n" {
		t.Error(w.Body)
	}
	if w := do(s, "POST", "/v1/query", `{"cql":"USE"}`); !strings.Contains(w.Body.String(), `USE ends with its request`) || !json.Valid(w.Body.Bytes()) {
		t.Error(w.Body)
	}
	if w := do(s, "POST", "/v1/query", `{"cql":"INSERT"}`, "Accept", ndjsonType); w.Code != 200 || w.Body.Len() != 0 || w.Header().Get("Content-Type") != ndjsonType {
		t.Error(w.Code, w.Body)
	}
}

// Every type goes in as a parameter and comes out the same, exactly, as an array's value and by name.
func TestEveryTypeBothWays(t *testing.T) {
	for _, c := range []struct{ typ, in, out string }{
		{"ascii", `"a"`, ""}, {"bigint", "9223372036854775807", ""}, {"bigint", "9007199254740993", ""}, {"blob", `"0x00ff"`, ""}, {"boolean", "true", ""},
		{"counter", "-9007199254740993", ""}, {"decimal", `"123456789012345678901234567890.123456789"`, ""},
		{"decimal", "123456789012345678901234567890.10", `"123456789012345678901234567890.10"`}, {"decimal", "-1e-30", `"-1E-30"`}, {"decimal", "null", ""},
		{"list<decimal>", `[1.10, "2.20"]`, `["1.10", "2.20"]`}, {"map<decimal, frozen<set<decimal>>>", `{"1.10": [2.50]}`, `{"1.10": ["2.50"]}`},
		{"tuple<decimal, varint>", `[0.1, "9007199254740993"]`, `["0.1", 9007199254740993]`}, {"varint", `"9007199254740993"`, "9007199254740993"}, {"double", "0.1", ""}, {"double", `"NaN"`, ""},
		{"double", `"Infinity"`, ""}, {"double", `"-Infinity"`, ""}, {"float", "1.5", ""}, {"int", "-2147483648", ""},
		{"timestamp", `"2013-01-01T10:00:00.123Z"`, `"2013-01-01 10:00:00.123Z"`}, {"uuid", `"6f1a0e0e-3b5c-4f6d-8a2b-0123456789ab"`, ""},
		{"text", `"grüße \u2028 \"x\""`, ""}, {"varint", "123456789012345678901234567890123456789", ""},
		{"timeuuid", `"50554d6e-29bb-11e5-b345-feff819cdc9f"`, ""}, {"inet", `"127.0.0.1"`, ""}, {"inet", `"2001:db8::1"`, ""}, {"date", `"2013-12-31"`, ""},
		{"time", `"13:30:54.234000000"`, ""}, {"smallint", "-32768", ""}, {"tinyint", "127", ""}, {"duration", `"1mo2d3h"`, ""},
		{"list<int>", "[1, 2, 3]", ""}, {"set<text>", `["a", "b"]`, ""}, {"map<int, frozen<list<bigint>>>", `{"1": [9007199254740993]}`, ""},
		{"tuple<int, text, boolean>", `[1, null, true]`, ""}, {"frozen<point>", `{"x": 1, "y": "b"}`, ""}, {"vector<float, 2>", "[0.5, -1]", ""},
		{"int", "null", ""},
	} {
		columns := []query.ColumnSpec{column(t, "v", c.typ)}
		f := &fake{markers: map[string][]query.ColumnSpec{"ECHO": columns}}
		f.run = map[string]func(*query.Session, *query.Params) (*query.Result, error){"ECHO": func(_ *query.Session, p *query.Params) (*query.Result, error) {
			return &query.Result{Kind: query.ResultRows, Columns: columns, RowCount: 1, Rows: appendValue(nil, p.Values[0])}, nil
		}}
		s := newServer(t, f, nil)
		for _, params := range []string{"[" + c.in + "]", `{"v":` + c.in + "}"} {
			w := do(s, "POST", "/v1/query", `{"cql":"ECHO","params":`+params+`}`)
			var got struct{ Rows []map[string]json.RawMessage }
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 {
				t.Errorf("%s %s: %d %v %s", c.typ, c.in, w.Code, err, w.Body)
				continue
			}
			want := c.out
			if want == "" {
				want = c.in
			}
			if !equalJSON(t, got.Rows[0]["v"], want) {
				t.Errorf("%s: %s came back as %s, want %s", c.typ, c.in, got.Rows[0]["v"], want)
			}
		}
	}
}

// equalJSON compares with exact numbers.
func equalJSON(t *testing.T, a json.RawMessage, b string) bool {
	t.Helper()
	norm := func(raw string) any {
		d := json.NewDecoder(strings.NewReader(raw))
		d.UseNumber()
		var v any
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		return v
	}
	return reflect.DeepEqual(norm(string(a)), norm(b))
}

func TestWrongValues(t *testing.T) {
	cql := "SELECT ? :n"
	f := &fake{markers: map[string][]query.ColumnSpec{cql: {column(t, "id", "int"), column(t, "n", "text"), column(t, "n", "text")}}}
	s := newServer(t, f, nil)
	for params, want := range map[string]string{
		`[1]`:                        "params has 1 values, but the statement has 3 bind markers",
		`["x","y","z"]`:              `params[0], for "id" of type int`,
		`[2147483648,"y","z"]`:       `params[0], for "id" of type int`,
		`[1.5,"y","z"]`:              `params[0], for "id" of type int`,
		`[1,{},"z"]`:                 `params[1], for "n" of type text`,
		`{"id":1}`:                   `no value for the bind marker "n"`,
		`{"id":1,"n":"a","m":[]}`:    "params has m, but",
		`{"id":[1],"n":"a"}`:         `params.id, for "id" of type int`,
		`"id"`:                       "want an array of values, or an object",
		`7`:                          "want an array of values, or an object",
		`{"id":1,"n":"\ud800-half"}`: "surrogate",
	} {
		w := do(s, "POST", "/v1/query", `{"cql":"`+cql+`","params":`+params+`}`)
		if p := problem(t, w, 400, wire.CodeInvalid); !strings.Contains(p.Detail, want) {
			t.Errorf("%s: %q, want %q", params, p.Detail, want)
		}
	}
	if w := do(s, "POST", "/v1/query", `{"cql":"UNKNOWN ?","params":[1]}`); problem(t, w, 400, wire.CodeSyntax).Title != "Syntax error" {
		t.Error("title")
	}
}

func TestEvictedStatementIsPreparedAgain(t *testing.T) {
	columns := []query.ColumnSpec{column(t, "v", "int")}
	f := &fake{evicted: true, markers: map[string][]query.ColumnSpec{"S": columns}}
	f.run = map[string]func(*query.Session, *query.Params) (*query.Result, error){"S": func(*query.Session, *query.Params) (*query.Result, error) {
		return result(t, columns, []string{"1"}), nil
	}}
	if w := do(newServer(t, f, nil), "POST", "/v1/query", `{"cql":"S","params":[1]}`); w.Code != 200 || f.prepare != 2 {
		t.Fatalf("%d %s after %d prepares", w.Code, w.Body, f.prepare)
	}
}

func TestBadRequests(t *testing.T) {
	s := newServer(t, &fake{}, func(o *Options) { o.MaxBody = 1000 })
	for _, c := range []struct {
		name, body string
		line, col  int
		want       string
	}{
		{"nothing", " \n", 1, 1, "empty"},
		{"not JSON", "{\n  \"cql\": SELECT\n}", 2, 10, "not JSON: invalid character 'S'"},
		{"cut", `{"cql":"SEL`, 1, 12, "ends too early"},
		{"unknown member", "{\"cql\":\"S\",\n \"parms\":[]}", 2, 2, `no member "parms"`},
		{"wrong type", "{\"cql\":\n7}", 2, 1, `"cql" can't be a number; want a string`},
		{"page_size is text", `{"cql":"S","page_size":"5"}`, 1, 26, `"page_size" can't be a string; want a whole number`},
		{"wrong kind", `{"cql":["S"]}`, 1, 8, `"cql" can't be an array; want a string`},
		{"truth", `{"cql":true}`, 1, 11, `"cql" can't be true or false; want a string`},
		{"array", `["S"]`, 1, 1, "want a JSON object, got an array"},
		{"number", `7`, 1, 1, "want a JSON object, got a number"},
		{"repeated", "{\"cql\":\"S\",\n \"cql\":\"S\"}", 2, 2, `the member "cql" is given twice`},
		{"repeated in another case", `{"cql":"S", "CQL":"S"}`, 1, 13, `the member "cql" is given twice`},
		{"repeated with escapes", `{"cql":"S", "c\u0071l":"S"}`, 1, 13, `the member "cql" is given twice`},
		{"repeated params", `{"cql":"S","params":[],"params":[]}`, 1, 24, `the member "params" is given twice`},
		{"repeated name", `{"cql":"S","params":{"a":1,"b":2, "a":1}}`, 1, 35, `the member "a" is given twice`},
		{"repeated key of a map", `{"cql":"S","params":[1, {"x":{"1":2,"1":2}}]}`, 1, 37, `the member "1" is given twice`},
		{"two values", `{"cql":"S"} {"cql":"T"}`, 1, 13, "something follows"},
		{"bad UTF-8", "{\"cql\":\"\xff\"}", 1, 9, "not UTF-8"},
	} {
		p := problem(t, do(s, "POST", "/v1/query", c.body), 400, wire.CodeProtocol)
		if !strings.Contains(p.Detail, c.want) || p.Line != c.line || p.Column != c.col {
			t.Errorf("%s: %d:%d %q, want %d:%d %q", c.name, p.Line, p.Column, p.Detail, c.line, c.col, c.want)
		}
	}
	for body, want := range map[string]string{
		`{}`: `"cql" is missing`, `{"cql":"S","consistency":"MOST"}`: `unknown consistency level "MOST"`, `{"cql":"S","page_size":-1}`: "want 1 to 10000",
		`{"cql":"S","page_size":10001}`: "want 1 to 10000", `{"cql":"S","page_state":"not base64!"}`: "page_state", `{"cql":"S","page_state":""}`: "page_state",
		`{"cql":"S","serial_consistency":"ONE"}`: "want SERIAL or LOCAL_SERIAL",
	} {
		if p := problem(t, do(s, "POST", "/v1/query", body), 400, wire.CodeInvalid); !strings.Contains(p.Detail, want) {
			t.Errorf("%s: %q, want %q", body, p.Detail, want)
		}
	}
	big := `{"cql":"` + strings.Repeat("x", 1000) + `"}`
	problem(t, do(s, "POST", "/v1/query", big), 413, wire.CodeInvalid)
	problem(t, do(s, "POST", "/v1/query", "{}", "Content-Type", "text/csv"), 415, wire.CodeProtocol)
	problem(t, do(s, "POST", "/v1/query", "{}", "Content-Encoding", "gzip"), 415, wire.CodeProtocol)
	problem(t, do(s, "POST", "/v1/query", "{}", "Accept", "text/csv"), 406, wire.CodeProtocol)
	problem(t, do(s, "POST", "/v1/query", "{}", "Sec-Fetch-Site", "cross-site"), 403, wire.CodeUnauthorized)
	problem(t, do(s, "GET", "/nothing/here", ""), 404, wire.CodeProtocol)
	if w := do(s, "GET", "/v1/query", ""); w.Header().Get("Allow") != "POST" {
		t.Error(w.Header())
	} else {
		problem(t, w, 405, wire.CodeProtocol)
	}
	problem(t, do(s, "DELETE", "/v1/schema", ""), 405, wire.CodeProtocol)
}

// curl -d says that its body is a form.
func TestCurlsDefaultsWork(t *testing.T) {
	f := &fake{run: map[string]func(*query.Session, *query.Params) (*query.Result, error){
		"S": func(*query.Session, *query.Params) (*query.Result, error) {
			return &query.Result{Kind: query.ResultVoid}, nil
		},
	}}
	w := do(newServer(t, f, nil), "POST", "/v1/query", `{"cql":"S"}`, "Content-Type", "application/x-www-form-urlencoded", "Accept", "*/*")
	if w.Code != 200 {
		t.Fatal(w.Code, w.Body)
	}
}

func TestErrorsOfTheEngine(t *testing.T) {
	unavailable := wire.Errorf(wire.CodeUnavailable, "Cannot achieve consistency level QUORUM")
	unavailable.Consistency, unavailable.Required = uint16(consistency.Quorum), 2
	timeout := wire.Errorf(wire.CodeWriteTimeout, "timed out")
	timeout.Consistency, timeout.Received, timeout.BlockFor, timeout.WriteType = uint16(consistency.Quorum), 1, 2, "SIMPLE"
	exists := wire.Errorf(wire.CodeAlreadyExists, "there is one")
	exists.Keyspace, exists.Table = "ks", "t"
	for _, c := range []struct {
		err    error
		status int
		code   wire.ErrorCode
		want   string // in the JSON
	}{
		{unavailable, 503, wire.CodeUnavailable, `"consistency":"QUORUM","required":2,"alive":0`},
		{timeout, 504, wire.CodeWriteTimeout, `"received":1,"block_for":2,"write_type":"SIMPLE"`},
		{exists, 409, wire.CodeAlreadyExists, `"keyspace":"ks","table":"t"`},
		{wire.Errorf(wire.CodeOverloaded, "later"), 503, wire.CodeOverloaded, `"detail":"later"`},
		{wire.Errorf(wire.CodeSyntax, "line 1:5"), 400, wire.CodeSyntax, "line 1:5"},
		{wire.Errorf(wire.CodeReadFailure, "broken"), 500, wire.CodeReadFailure, `"failures":0`},
		{wire.Errorf(wire.CodeUnauthorized, "no"), 403, wire.CodeUnauthorized, "no"},
		{fmt.Errorf("odd"), 500, wire.CodeServer, "odd"},
		{context.DeadlineExceeded, 504, wire.CodeServer, "out of time"},
	} {
		f := &fake{run: map[string]func(*query.Session, *query.Params) (*query.Result, error){
			"S": func(*query.Session, *query.Params) (*query.Result, error) { return nil, c.err },
		}}
		w := do(newServer(t, f, nil), "POST", "/v1/query", `{"cql":"S"}`, "Accept", ndjsonType)
		if !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%v: %s, want %s", c.err, w.Body, c.want)
		}
		if retry := w.Header().Get("Retry-After"); (retry != "") != (c.status == 503) {
			t.Errorf("%v: Retry-After %q", c.err, retry)
		}
		problem(t, w, c.status, c.code)
	}
}

// pages is a statement of n rows in pages of the size asked for; the state is how many were read.
func pages(t testing.TB, n int, fail int) *fake {
	columns := []query.ColumnSpec{column(t, "i", "int")}
	return &fake{run: map[string]func(*query.Session, *query.Params) (*query.Result, error){"S": func(_ *query.Session, p *query.Params) (*query.Result, error) {
		at := 0
		fmt.Sscan(string(p.PageState), &at)
		if fail > 0 && at >= fail {
			return nil, wire.Errorf(wire.CodeReadTimeout, "too slow")
		}
		end := min(n, at+p.PageSize)
		r := &query.Result{Kind: query.ResultRows, Columns: columns, RowCount: end - at}
		for ; at < end; at++ {
			v, _ := types.IntType.FromJSON(json.RawMessage(fmt.Sprint(at)))
			r.Rows = appendValue(r.Rows, v)
		}
		if end < n {
			r.PageState = []byte(fmt.Sprint(end))
		}
		return r, nil
	}}}
}

func TestStreamGoesOverAllPages(t *testing.T) {
	s := newServer(t, pages(t, 25_000, 0), nil)
	for _, c := range []struct {
		body  string
		first int
	}{{`{"cql":"S"}`, 0}, {`{"cql":"S","page_size":7}`, 0}, {`{"cql":"S","page_state":"` + base64.RawURLEncoding.EncodeToString([]byte("24000")) + `"}`, 24_000}} {
		w := do(s, "POST", "/v1/query", c.body, "Accept", ndjsonType)
		lines := bufio.NewScanner(w.Body)
		i := c.first
		for ; lines.Scan(); i++ {
			if want := fmt.Sprintf(`{"i":%d}`, i); lines.Text() != want {
				t.Fatalf("line %q, want %s", lines.Text(), want)
			}
		}
		if i != 25_000 || !w.Flushed {
			t.Fatalf("%s: stream ended at %d", c.body, i)
		}
	}
}

func TestPagesOfTheJSONAnswer(t *testing.T) {
	s := newServer(t, pages(t, 25, 0), nil)
	var got []int
	state := ""
	for {
		w := do(s, "POST", "/v1/query", `{"cql":"S","page_size":10`+state+`}`)
		var a struct {
			Rows      []struct{ I int }
			PageState *string `json:"page_state"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
			t.Fatal(err)
		}
		for _, r := range a.Rows {
			got = append(got, r.I)
		}
		if a.PageState == nil {
			break
		}
		state = `,"page_state":"` + *a.PageState + `"`
	}
	for i, v := range got {
		if i != v || len(got) != 25 {
			t.Fatal(got)
		}
	}
}

func TestStreamEndsWithItsError(t *testing.T) {
	w := do(newServer(t, pages(t, 30, 20), nil), "POST", "/v1/query", `{"cql":"S","page_size":10}`, "Accept", ndjsonType)
	lines := strings.Split(strings.TrimSuffix(w.Body.String(), "\n"), "\n")
	var last struct{ Error *Problem }
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || last.Error == nil || last.Error.Code != int32(wire.CodeReadTimeout) || len(lines) != 21 {
		t.Fatalf("%d lines, the last %s (%v)", len(lines), lines[len(lines)-1], err)
	}
}

// Rows that the engine cut short are an error, not a crash and not fewer columns.
func TestCutRows(t *testing.T) {
	columns := []query.ColumnSpec{column(t, "a", "text"), column(t, "b", "text")}
	whole := result(t, columns, []string{`"x"`, `"y"`}).Rows
	for n := range len(whole) {
		f := &fake{run: map[string]func(*query.Session, *query.Params) (*query.Result, error){"S": func(*query.Session, *query.Params) (*query.Result, error) {
			return &query.Result{Kind: query.ResultRows, Columns: columns, RowCount: 1, Rows: whole[:n:n]}, nil
		}}}
		s := newServer(t, f, nil)
		problem(t, do(s, "POST", "/v1/query", `{"cql":"S"}`), 500, wire.CodeServer)
		if w := do(s, "POST", "/v1/query", `{"cql":"S"}`, "Accept", ndjsonType); !strings.HasPrefix(w.Body.String(), `{"error":`) {
			t.Errorf("%d bytes: %s", n, w.Body)
		}
	}
}

func TestBatch(t *testing.T) {
	f := &fake{markers: map[string][]query.ColumnSpec{"INSERT ?": {column(t, "id", "int")}}}
	var kind query.BatchKind
	var sts []query.BatchStatement
	var params query.Params
	f.batch = func(k query.BatchKind, s []query.BatchStatement, p *query.Params) (*query.Result, error) {
		kind, sts, params = k, s, *p
		return &query.Result{Kind: query.ResultVoid}, nil
	}
	s := newServer(t, f, nil)
	w := do(s, "POST", "/v1/batch", `{"statements":[{"cql":"INSERT ?","params":[1]},{"cql":"DELETE"},{"cql":"INSERT ?","params":{"id":2}}],
		"type":"unlogged","consistency":"ALL","timestamp":123,"keyspace":"ks"}`)
	if w.Code != 200 || kind != query.BatchUnlogged || len(sts) != 3 || params.Level != consistency.All || params.Timestamp != 123 || f.prepare != 1 {
		t.Fatalf("%d %s; engine saw %v %+v %+v", w.Code, w.Body, kind, sts, params)
	}
	if sts[0].Query != "INSERT ?" || types.IntType.Compare(sts[2].Values[0], []byte{0, 0, 0, 2}) != 0 || sts[1].Query != "DELETE" || sts[1].Values != nil {
		t.Fatalf("%+v", sts)
	}
	for body, want := range map[string]string{
		`{"statements":[]}`: "want 1 to 65535", `{"statements":[{"cql":"DELETE"}],"type":"fast"}`: "want logged, unlogged or counter",
		`{"statements":[{"cql":"DELETE"},{"cql":"INSERT ?","params":["x"]}]}`: "statements[1]: params[0]", `{"statements":[{}]}`: `"cql" is missing`,
	} {
		if p := problem(t, do(s, "POST", "/v1/batch", body), 400, wire.CodeInvalid); !strings.Contains(p.Detail, want) {
			t.Errorf("%s: %q, want %q", body, p.Detail, want)
		}
	}
}

func TestHealth(t *testing.T) {
	var why error
	s := newServer(t, &fake{}, func(o *Options) { o.Ready = func() error { return why } })
	for _, path := range []string{"/livez", "/readyz"} {
		if w := do(s, "GET", path, ""); w.Code != 200 || w.Body.String() != `{"status":"ok"}` {
			t.Error(path, w.Code, w.Body)
		}
	}
	why = errors.New("still joining")
	if p := problem(t, do(s, "GET", "/readyz", ""), 503, wire.CodeBootstrapping); !strings.Contains(p.Detail, "still joining") {
		t.Error(p.Detail)
	}
	if w := do(s, "GET", "/metrics", ""); w.Body.String() != "nodedb_up 1\n" {
		t.Error(w.Body)
	}
	want := `{"cluster":"demo","epoch":7,"nodes":[{"host_id":"6f1a","address":"127.0.0.1","dc":"dc","rack":"r","state":"up","tokens":16,"load_bytes":0,"pending_hints":0,"lost_hints":0,"open_batches":0}]}`
	if w := do(s, "GET", "/v1/ring", ""); w.Body.String() != want {
		t.Error(w.Body)
	}
}

func TestPanicIsAProblem(t *testing.T) {
	f := &fake{run: map[string]func(*query.Session, *query.Params) (*query.Result, error){
		"S": func(*query.Session, *query.Params) (*query.Result, error) { panic("a bug") },
	}}
	s := newServer(t, f, nil)
	problem(t, do(s, "POST", "/v1/query", `{"cql":"S"}`), 500, wire.CodeServer)
	if len(s.slots) != 0 {
		t.Error("the panic kept its slot")
	}
}

// serve starts a real server on an address of this package's own.
func serve(t *testing.T, s *Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.63.1.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func TestOverloadIsShed(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	f := &fake{run: map[string]func(*query.Session, *query.Params) (*query.Result, error){"S": func(*query.Session, *query.Params) (*query.Result, error) {
		begun <- struct{}{}
		<-release
		return &query.Result{Kind: query.ResultVoid}, nil
	}}}
	s := newServer(t, f, func(o *Options) { o.MaxConcurrent = 1 })
	addr := serve(t, s)
	first := make(chan int, 1)
	go func() {
		r, err := http.Post("http://"+addr+"/v1/query", jsonType, strings.NewReader(`{"cql":"S"}`))
		if err != nil {
			t.Error(err)
			first <- 0
			return
		}
		r.Body.Close()
		first <- r.StatusCode
	}()
	<-begun
	if w := do(s, "POST", "/v1/query", `{"cql":"S"}`); w.Header().Get("Retry-After") == "" {
		t.Error("no Retry-After")
	} else {
		problem(t, w, 503, wire.CodeOverloaded)
	}
	if w := do(s, "GET", "/livez", ""); w.Code != 200 {
		t.Error("health is shed too")
	}
	close(release)
	if code := <-first; code != 200 {
		t.Errorf("the first answered %d", code)
	}
}

func TestSlowClientsAreCutOff(t *testing.T) {
	s := newServer(t, &fake{}, func(o *Options) { o.HeaderTimeout, o.BodyTimeout = 50*time.Millisecond, 50*time.Millisecond })
	addr := serve(t, s)
	for name, c := range map[string]struct{ send, want string }{
		"head": {"POST /v1/query HTTP/1.1\r\nHost: x\r\n", ""},
		"body": {"POST /v1/query HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", "408 Request Timeout"},
	} {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		nc.SetDeadline(time.Now().Add(time.Minute))
		io.WriteString(nc, c.send)
		got, err := io.ReadAll(nc)
		if err != nil || !strings.Contains(string(got), c.want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// Connections beyond the limit wait; one that closes lets the next in.
func TestConnectionLimit(t *testing.T) {
	s := newServer(t, &fake{}, func(o *Options) { o.MaxConns = 1 })
	addr := serve(t, s)
	first, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	live := "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
	io.WriteString(first, live)
	if _, err := http.ReadResponse(bufio.NewReader(first), nil); err != nil {
		t.Fatal(err)
	}
	second, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	io.WriteString(second, live)
	second.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := second.Read(make([]byte, 1)); err == nil {
		t.Fatal("the second was served beside the first")
	}
	first.Close()
	second.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := http.ReadResponse(bufio.NewReader(second), nil); err != nil {
		t.Fatal(err)
	}
}

// A stream that would never end does, with a line that says why, when the node drains.
func TestShutdownEndsStreams(t *testing.T) {
	s := newServer(t, pages(t, 1<<30, 0), nil)
	l, err := net.Listen("tcp", "127.63.1.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	r, err := http.NewRequest("POST", "http://"+l.Addr().String()+"/v1/query", strings.NewReader(`{"cql":"S"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", ndjsonType)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	down := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		down <- s.Shutdown(ctx)
	}()
	last := ""
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		last = lines.Text()
	}
	if !strings.Contains(last, "shutting down") {
		t.Errorf("the last line was %q", last)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

func FuzzQueryBody(f *testing.F) {
	f.Add([]byte(`{"cql":"ECHO","params":[1,"a"],"page_size":3,"page_state":"AQI","consistency":"ONE"}`))
	f.Add([]byte(`{"cql":"ECHO","params":{"id":1,"n":null}}`))
	f.Add([]byte("{\"cql\":\"\xff"))
	fk := &fake{markers: map[string][]query.ColumnSpec{"ECHO": {column(f, "id", "int"), column(f, "n", "text")}}}
	fk.run = map[string]func(*query.Session, *query.Params) (*query.Result, error){
		"ECHO": func(*query.Session, *query.Params) (*query.Result, error) {
			return &query.Result{Kind: query.ResultVoid}, nil
		},
	}
	s := newServer(f, fk, nil)
	f.Fuzz(func(t *testing.T, body []byte) {
		w := do(s, "POST", "/v1/query", string(body))
		if w.Code != 200 && w.Code != 400 || !json.Valid(w.Body.Bytes()) {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	})
}
