package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"nodedb/node"
	"nodedb/node/proc"
)

// httpDo sends a request to a node's HTTP API and gives the answer with its whole body.
func httpDo(t *testing.T, n *proc.Node, method, path, body string, header ...string) (*http.Response, string) {
	t.Helper()
	resp := httpSend(t, n, method, path, body, header...)
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(raw)
}

// httpSend is httpDo without reading the body.
func httpSend(t *testing.T, n *proc.Node, method, path, body string, header ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(deadline(t, wait), method, n.URL(path), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// httpQuery posts a query that has to succeed and gives the answer's bytes.
func httpQuery(t *testing.T, n *proc.Node, body string) string {
	t.Helper()
	resp, raw := httpDo(t, n, "POST", "/v1/query", body)
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%s: %s: %s", body, resp.Status, raw)
	}
	return raw
}

// TestHTTP asks a cluster of three over HTTP: writes through one node, reads through another.
func TestHTTP(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	exec1(t, dial(t, c.Nodes[0]), "CREATE KEYSPACE h"+simpleRF3, "CREATE TABLE h.t (id bigint PRIMARY KEY, name text, v double, n varint)",
		"CREATE TABLE h.many (p int, c int, v text, PRIMARY KEY (p, c))")
	t.Run("parameters", func(t *testing.T) { httpParameters(t, c) })
	t.Run("problems", func(t *testing.T) { httpProblems(t, c) })
	t.Run("many rows", func(t *testing.T) { httpManyRows(t, c) })
	t.Run("other routes", func(t *testing.T) { httpRoutes(t, c) })
	t.Run("no quorum", func(t *testing.T) { httpUnavailable(t, c) }) // last: it kills two nodes
}

func httpParameters(t *testing.T, c *proc.Cluster) {
	t.Helper()
	const columns = `"columns":[{"name":"id","type":"bigint"},{"name":"name","type":"text"},{"name":"v","type":"double"},{"name":"n","type":"varint"}]`
	const none = `{"columns":[],"rows":[],"page_state":null,"warnings":[]}` + "\n"
	for _, tc := range []struct{ name, write, read, row string }{
		{"an array", `{"cql":"INSERT INTO h.t (id, name, v, n) VALUES (?, ?, ?, ?)","params":[9223372036854775807,"a \"b\" ü","NaN",123456789012345678901234567890],"consistency":"QUORUM"}`,
			`{"cql":"SELECT id, name, v, n FROM h.t WHERE id = ?","params":[9223372036854775807],"consistency":"QUORUM"}`,
			`{"id":9223372036854775807,"name":"a \"b\" ü","v":"NaN","n":123456789012345678901234567890}`},
		{"an object", `{"cql":"INSERT INTO t (id, name, v, n) VALUES (:id, :name, :v, :n)","params":{"id":7,"v":-0.5,"name":null,"n":"-3"},"keyspace":"h","consistency":"ALL"}`,
			`{"cql":"SELECT id, name, v, n FROM t WHERE id = :which","params":{"which":7},"keyspace":"h","consistency":"ONE"}`,
			`{"id":7,"name":null,"v":-0.5,"n":-3}`},
		{"none", `{"cql":"INSERT INTO h.t (id, name) VALUES (8, 'x')"}`, `{"cql":"SELECT id, name, v, n FROM h.t WHERE id = 8"}`,
			`{"id":8,"name":"x","v":null,"n":null}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := httpQuery(t, c.Nodes[0], tc.write); got != none {
				t.Errorf("the write is answered %s", got)
			}
			for _, n := range c.Nodes {
				if got, want := httpQuery(t, n, tc.read), "{"+columns+`,"rows":[`+tc.row+`],"page_state":null,"warnings":[]}`+"\n"; got != want {
					t.Errorf("node %d answers\n%s want\n%s", n.Index, got, want)
				}
			}
		})
	}
}

// wantProblem sends what has to be refused as RFC 9457 has it.
func wantProblem(t *testing.T, n *proc.Node, method, path, body string, status int, kind, detail string, header ...string) {
	t.Helper()
	resp, raw := httpDo(t, n, method, path, body, header...)
	var p struct {
		Type, Title, Detail string
		Status              int
		Code                *int
	}
	if err := json.Unmarshal([]byte(raw), &p); err != nil {
		t.Fatalf("%s %s: %s: %s: %v", method, path, resp.Status, raw, err)
	}
	if resp.StatusCode != status || resp.Header.Get("Content-Type") != "application/problem+json" || p.Status != status || p.Title == "" || p.Code == nil ||
		p.Type != "urn:nodedb:problem:"+kind || !strings.Contains(p.Detail, detail) {
		t.Errorf("%s %s %.100s: want %d, %s, %q; got %s %s: %s", method, path, body, status, kind, detail, resp.Status, resp.Header.Get("Content-Type"), raw)
	}
}

func httpProblems(t *testing.T, c *proc.Cluster) {
	t.Helper()
	n := c.Nodes[2]
	for _, tc := range []struct {
		name, body   string
		status       int
		kind, detail string
	}{
		{"syntax", `{"cql":"SELEC 1"}`, 400, "syntax-error", "SELEC"},
		{"no such table", `{"cql":"SELECT * FROM h.none"}`, 400, "invalid-request", "none"},
		{"no such keyspace", `{"cql":"SELECT * FROM none.t"}`, 400, "invalid-request", "none"},
		{"exists", `{"cql":"CREATE TABLE h.t (k int PRIMARY KEY)"}`, 409, "already-exists", "t"},
		{"too few values", `{"cql":"SELECT * FROM h.t WHERE id = ?","params":[1,2]}`, 400, "invalid-request", "2 values"},
		{"no such marker", `{"cql":"SELECT * FROM h.t WHERE id = :id","params":{"no":1}}`, 400, "invalid-request", "id"},
		{"wrong type", `{"cql":"SELECT * FROM h.t WHERE id = ?","params":["seven"]}`, 400, "invalid-request", "params[0]"},
		{"too big a number", `{"cql":"SELECT * FROM h.t WHERE id = ?","params":[9223372036854775808]}`, 400, "invalid-request", "params[0]"},
		{"not JSON", "{\"cql\":\n \"SELECT", 400, "protocol-error", "line 2"},
		{"an unknown member", `{"cql":"SELECT 1","timeout":5}`, 400, "protocol-error", "timeout"},
		{"no statement", `{}`, 400, "invalid-request", "cql"},
		{"an empty body", ``, 400, "protocol-error", "empty"},
		{"level", `{"cql":"SELECT * FROM h.t","consistency":"MOST"}`, 400, "invalid-request", "MOST"},
		{"page state", `{"cql":"SELECT * FROM h.t","page_state":"AAAA"}`, 400, "invalid-request", "paging state"},
		{"page size", `{"cql":"SELECT * FROM h.t","page_size":1000000}`, 400, "invalid-request", "page_size"},
		{"too large a body", `{"cql":"` + strings.Repeat("x", 16<<20) + `"}`, 413, "invalid-request", "16777216"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wantProblem(t, n, "POST", "/v1/query", tc.body, tc.status, tc.kind, tc.detail)
		})
	}
	wantProblem(t, n, "GET", "/v1/query", "", 405, "protocol-error", "POST")
	wantProblem(t, n, "GET", "/v2/query", "", 404, "protocol-error", "/v2/query")
	wantProblem(t, n, "POST", "/v1/query", "cql: x", 415, "protocol-error", "yaml", "Content-Type", "application/yaml")
	wantProblem(t, n, "POST", "/v1/query", `{"cql":"x"}`, 406, "protocol-error", "xml", "Accept", "text/xml")
	wantProblem(t, n, "POST", "/v1/query", `{"cql":"x"}`, 403, "unauthorized", "other sites", "Origin", "http://evil.example", "Sec-Fetch-Site", "cross-site")
	wantProblem(t, n, "GET", "/v1/replica/h/none", "", 400, "invalid-request", "none")
}

const manyRows = 50_000

// httpManyRows streams 50,000 rows through another node than they were written by, and carries page states from node to node.
func httpManyRows(t *testing.T, c *proc.Cluster) {
	t.Helper()
	var csv bytes.Buffer
	csv.WriteString("p,c,v\n")
	for i := range manyRows {
		fmt.Fprintf(&csv, "%d,%d,value %d\n", i%100, i, i)
	}
	loadRows(t, c.Nodes[0], "h.many", csv.String())
	type manyRow struct {
		P, C int
		V    string
	}
	seen := make([]bool, manyRows)
	see := func(r manyRow) {
		if r.C < 0 || r.C >= manyRows || seen[r.C] || r.P != r.C%100 || r.V != fmt.Sprint("value ", r.C) {
			t.Fatalf("row %+v is wrong, or there twice", r)
		}
		seen[r.C] = true
	}
	all := func(what string) {
		for i := range seen {
			if !seen[i] {
				t.Fatalf("%s: row %d is missing", what, i)
			}
		}
		clear(seen)
	}
	resp := httpSend(t, c.Nodes[1], "POST", "/v1/query", `{"cql":"SELECT p, c, v FROM h.many","consistency":"QUORUM"}`, "Accept", "application/x-ndjson")
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Fatalf("%s %s", resp.Status, resp.Header.Get("Content-Type"))
	}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		var r manyRow
		d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		d.DisallowUnknownFields() // an error line, say
		if err := d.Decode(&r); err != nil {
			t.Fatalf("%s: %v", lines.Bytes(), err)
		}
		see(r)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	all("NDJSON")
	state := "null"
	for page := 0; page == 0 || state != "null"; page++ {
		var a struct {
			Rows      []manyRow
			PageState json.RawMessage `json:"page_state"`
		}
		raw := httpQuery(t, c.Nodes[page%3], `{"cql":"SELECT p, c, v FROM h.many","consistency":"QUORUM","page_size":3000,"page_state":`+state+`}`)
		if err := json.Unmarshal([]byte(raw), &a); err != nil {
			t.Fatal(err)
		}
		if len(a.Rows) > 3000 {
			t.Errorf("%d rows on a page of 3000", len(a.Rows))
		}
		for _, r := range a.Rows {
			see(r)
		}
		state = string(a.PageState)
	}
	all("pages")
}

func httpRoutes(t *testing.T, c *proc.Cluster) {
	t.Helper()
	n := c.Nodes[1]
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]any
	}
	resp, raw := httpDo(t, n, "GET", "/openapi.json", "")
	if err := json.Unmarshal([]byte(raw), &doc); err != nil || resp.StatusCode != 200 || !strings.HasPrefix(doc.OpenAPI, "3.") {
		t.Errorf("openapi: %s, version %q, %v", resp.Status, doc.OpenAPI, err)
	}
	for path, method := range map[string]string{"/v1/query": "post", "/v1/batch": "post", "/v1/schema": "get", "/v1/ring": "get", "/livez": "get",
		"/readyz": "get", "/metrics": "get", "/v1/replica/{keyspace}/{table}": "get", "/v1/ring/{host_id}": "delete", "/v1/repair": "get",
		"/v1/repair/{keyspace}/{table}": "post"} {
		if doc.Paths[path][method] == nil {
			t.Errorf("openapi has no %s %s", method, path)
		}
	}
	for _, path := range []string{"/livez", "/readyz"} {
		if resp, raw := httpDo(t, n, "GET", path, ""); resp.StatusCode != 200 || raw != `{"status":"ok"}` {
			t.Errorf("%s: %s %s", path, resp.Status, raw)
		}
	}
	resp, raw = httpDo(t, n, "GET", "/metrics", "")
	if resp.StatusCode != 200 || !strings.Contains(raw, "\n# TYPE nodedb_") || !strings.Contains(raw, "\ngo_goroutines ") {
		t.Errorf("metrics: %s\n%.500s", resp.Status, raw)
	}
	var ring node.Status
	resp, raw = httpDo(t, n, "GET", "/v1/ring", "")
	if err := json.Unmarshal([]byte(raw), &ring); err != nil || len(ring.Nodes) != 3 || ring.Nodes[0].State != "up" || ring.Nodes[0].Tokens == 0 {
		t.Errorf("ring: %s %s, %v", resp.Status, raw, err)
	}
	if resp, raw = httpDo(t, n, "GET", "/v1/schema", ""); resp.StatusCode != 200 || !json.Valid([]byte(raw)) || !strings.Contains(raw, `"many"`) {
		t.Errorf("schema: %s %s", resp.Status, raw)
	}
	resp, raw = httpDo(t, n, "POST", "/v1/batch", `{"type":"unlogged","statements":[{"cql":"INSERT INTO t (id, name) VALUES (?, ?)","params":[100,"b"]},`+
		`{"cql":"INSERT INTO t (id, name) VALUES (:i, :n)","params":{"i":101,"n":"c"}}],"keyspace":"h","consistency":"QUORUM"}`)
	if resp.StatusCode != 200 {
		t.Errorf("batch: %s %s", resp.Status, raw)
	}
	if got := httpQuery(t, c.Nodes[2], `{"cql":"SELECT id, name FROM h.t WHERE id IN (100, 101)","consistency":"QUORUM"}`); !strings.Contains(got,
		`{"id":100,"name":"b"}`) || !strings.Contains(got, `{"id":101,"name":"c"}`) {
		t.Errorf("after the batch: %s", got)
	}
}

// httpUnavailable: without a quorum the node says so, and how many it needs; at ONE it goes on.
func httpUnavailable(t *testing.T, c *proc.Cluster) {
	t.Helper()
	n := c.Nodes[0]
	kill(t, c.Nodes[1], c.Nodes[2])
	eventually(t, func() string {
		s, err := n.Status(deadline(t, wait))
		return not(err == nil && downCount(s) == 2, "two nodes down")
	})
	resp, raw := httpDo(t, n, "POST", "/v1/query", `{"cql":"SELECT * FROM h.t WHERE id = 7","consistency":"QUORUM"}`)
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || !strings.Contains(raw, `"required":2,"alive":1`) || !strings.Contains(raw, `"consistency":"QUORUM"`) {
		t.Errorf("%s: %s", resp.Status, raw)
	}
	if got := httpQuery(t, n, `{"cql":"SELECT id FROM h.t WHERE id = 7","consistency":"ONE"}`); !strings.Contains(got, `{"id":7}`) {
		t.Error(got)
	}
}

func downCount(s node.Status) (down int) {
	for i := range s.Nodes {
		if s.Nodes[i].State == "down" {
			down++
		}
	}
	return down
}
