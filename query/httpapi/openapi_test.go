package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"nodedb/query"
	"nodedb/query/schema"
	"nodedb/query/types"
	"nodedb/vnodes"
)

// object is a JSON object.
type object = map[string]any

func document(t *testing.T, s *Server) object {
	t.Helper()
	w := do(s, "GET", "/openapi.json", "")
	var doc object
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || w.Code != 200 || w.Header().Get("Content-Type") != jsonType {
		t.Fatal(w.Code, err)
	}
	return doc
}

// The document obeys what OpenAPI 3.1 requires of what it uses: the members each object must have, unique operation
// ids, references that lead somewhere, schemas of known JSON Schema keywords. And it links to nothing outside.
func TestOpenAPIValidates(t *testing.T) {
	s := newServer(t, &fake{}, func(o *Options) { o.Extra = extras() })
	doc := document(t, s)
	info, _ := doc["info"].(object)
	if doc["openapi"] != "3.1.0" || info["title"] == "" || info["version"] == "" {
		t.Errorf("openapi %v, info %v", doc["openapi"], info)
	}
	if raw := do(s, "GET", "/openapi.json", "").Body.String(); strings.Contains(raw, "http://") || strings.Contains(raw, "https://") {
		t.Error("the document links to the outside")
	}
	schemas, _ := doc["components"].(object)["schemas"].(object)
	ids := map[string]bool{}
	for path, item := range doc["paths"].(object) {
		if !strings.HasPrefix(path, "/") {
			t.Errorf("path %q", path)
		}
		for method, op := range item.(object) {
			if !slices.Contains([]string{"get", "post", "delete"}, method) {
				t.Errorf("%s: method %q", path, method)
			}
			checkOperation(t, path, op.(object), ids, schemas)
		}
	}
	for name, sc := range schemas {
		if !regexp.MustCompile(`^[a-zA-Z0-9._-]+$`).MatchString(name) {
			t.Errorf("schema name %q", name)
		}
		checkSchema(t, name, sc, schemas)
	}
	for _, name := range []string{"QueryRequest", "BatchStatement"} { // an array or an object, which reflection can't tell
		if params := schemas[name].(object)["properties"].(object)["params"].(object); params["oneOf"] == nil || params["type"] != nil {
			t.Errorf("%s.params is %v", name, params)
		}
	}
	if all := len(allRoutes) + len(extras()); len(ids) != all {
		t.Errorf("%d operations of %d", len(ids), all)
	}
}

// extras are routes of another package.
func extras() []Extra {
	ok := func(w http.ResponseWriter, r *http.Request) {
		Reply(w, Health{r.PathValue("id") + r.PathValue("part")})
	}
	return []Extra{
		{Route: Route{Method: http.MethodGet, Path: "/v1/things", ID: "things", Answer: Health{}}, Handler: ok},
		{Route: Route{Method: http.MethodDelete, Path: "/v1/thing/{id}", ID: "noThing", Answer: Health{}}, Handler: ok},
		{Route: Route{Method: http.MethodPost, Path: "/v1/thing/{id}/{part}", ID: "thing", Line: Health{}}, Switches: map[string]string{"dry": "Do nothing"}, Handler: ok},
	}
}

// Routes of other packages are described with their parameters; what isn't their method is refused, and so is what another site's page sends.
func TestExtraRoutes(t *testing.T) {
	s := newServer(t, &fake{}, func(o *Options) { o.Extra = extras() })
	post, _ := document(t, s)["paths"].(object)["/v1/thing/{id}/{part}"].(object)["post"].(object)
	var got []string
	for _, p := range post["parameters"].([]any) {
		got = append(got, fmt.Sprint(p.(object)["in"], " ", p.(object)["name"], " ", p.(object)["required"] == true))
	}
	if want := []string{"path id true", "path part true", "query dry false"}; !slices.Equal(got, want) {
		t.Errorf("parameters %q, want %q", got, want)
	}
	if content := post["responses"].(object)["200"].(object)["content"].(object); content[ndjsonType] == nil || len(content) != 1 {
		t.Errorf("a stream is described as %v", content)
	}
	for _, r := range []struct {
		method, path, site string
		code               int
	}{
		{"GET", "/v1/things", "cross-site", 200}, {"HEAD", "/v1/things", "", 200}, {"POST", "/v1/things", "", 405}, {"DELETE", "/v1/thing/7", "", 200},
		{"GET", "/v1/thing/7", "", 405}, {"POST", "/v1/thing/7/8", "same-origin", 200}, {"POST", "/v1/thing/7/8", "cross-site", 403},
	} {
		w := do(s, r.method, r.path, "", "Sec-Fetch-Site", r.site)
		if w.Code != r.code {
			t.Errorf("%s %s of %q: %d, want %d", r.method, r.path, r.site, w.Code, r.code)
		}
	}
}

func checkOperation(t *testing.T, path string, op object, ids map[string]bool, schemas object) {
	t.Helper()
	id, _ := op["operationId"].(string)
	if id == "" || ids[id] {
		t.Errorf("%s: operationId %q", path, id)
	}
	ids[id] = true
	if body, ok := op["requestBody"].(object); ok {
		checkContent(t, path, body["content"], schemas)
	}
	responses, _ := op["responses"].(object)
	if responses["200"] == nil {
		t.Errorf("%s: no answer 200", path)
	}
	for status, r := range responses {
		if !regexp.MustCompile(`^[1-5]\d\d$`).MatchString(status) || r.(object)["description"] == "" {
			t.Errorf("%s: response %s %v", path, status, r)
		}
		checkContent(t, path, r.(object)["content"], schemas)
	}
}

func checkContent(t *testing.T, path string, content any, schemas object) {
	t.Helper()
	types, _ := content.(object)
	if len(types) == 0 {
		t.Errorf("%s: no content", path)
	}
	for name, media := range types {
		if !strings.Contains(name, "/") {
			t.Errorf("%s: media type %q", path, name)
		}
		checkSchema(t, path, media.(object)["schema"], schemas)
	}
}

// checkSchema knows the keywords that the document uses.
func checkSchema(t *testing.T, at string, v any, schemas object) {
	t.Helper()
	s, ok := v.(object)
	if !ok {
		if _, ok = v.(bool); !ok {
			t.Errorf("%s: schema %v", at, v)
		}
		return
	}
	for key, value := range s {
		switch key {
		case "$ref":
			name, ok := strings.CutPrefix(value.(string), "#/components/schemas/")
			if !ok || schemas[name] == nil || len(s) != 1 {
				t.Errorf("%s: reference %v", at, value)
			}
		case "type":
			checkType(t, at, value)
		case "properties":
			for name, sub := range value.(object) {
				checkSchema(t, at+"."+name, sub, schemas)
			}
		case "items", "additionalProperties":
			checkSchema(t, at+"[]", value, schemas)
		case "oneOf":
			for _, sub := range value.([]any) {
				checkSchema(t, at+"|", sub, schemas)
			}
		case "required":
			for _, name := range value.([]any) {
				if s["properties"].(object)[name.(string)] == nil {
					t.Errorf("%s requires %v, which is no property", at, name)
				}
			}
		case "description", "format", "enum", "minimum", "maximum", "maxItems", "examples":
		default:
			t.Errorf("%s: unknown keyword %q", at, key)
		}
	}
}

func checkType(t *testing.T, at string, v any) {
	t.Helper()
	all, ok := v.([]any)
	if !ok {
		all = []any{v}
	}
	for _, one := range all {
		if !slices.Contains([]any{"object", "array", "string", "integer", "number", "boolean", "null"}, one) {
			t.Errorf("%s: type %v", at, one)
		}
	}
}

// catalog is a small schema with everything that /v1/schema shows.
func catalog(t *testing.T) *schema.Catalog {
	t.Helper()
	c := schema.Empty()
	apply := func(ch *schema.Change) {
		t.Helper()
		next, _, err := c.Apply(ch, c.Epoch+1)
		if err != nil {
			t.Fatal(err)
		}
		c = next
	}
	apply(&schema.Change{Op: schema.CreateKeyspace, Keyspace: "nyc", Class: "SimpleStrategy", Replication: map[string]string{"replication_factor": "3"}})
	apply(&schema.Change{Op: schema.CreateType, Keyspace: "nyc", Name: "point", Columns: []schema.ColumnDef{{Name: "x", Type: "int"}, {Name: "y", Type: "text"}}})
	apply(&schema.Change{Op: schema.CreateTable, Keyspace: "nyc", Name: "flights", ID: [16]byte{1}, Columns: []schema.ColumnDef{
		{Name: "origin", Type: "text", Kind: schema.PartitionKey}, {Name: "at", Type: "timestamp", Kind: schema.Clustering, Desc: true},
		{Name: "where", Type: "frozen<point>", Kind: schema.Regular}, {Name: "s", Type: "int", Kind: schema.Static},
	}})
	return c
}

func TestSchema(t *testing.T) {
	c := catalog(t)
	s := newServer(t, &fake{}, func(o *Options) { o.Catalog = func() *schema.Catalog { return c } })
	w := do(s, "GET", "/v1/schema", "")
	var got Schema
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || len(got.Keyspaces) != 1 {
		t.Fatal(w.Body, err)
	}
	ks := got.Keyspaces[0]
	if ks.Name != "nyc" || ks.Replication["class"] != "SimpleStrategy" || ks.Replication["replication_factor"] != "3" || len(ks.Tables) != 1 || len(ks.Types) != 1 {
		t.Fatalf("%+v", ks)
	}
	want := []TableColumn{{"origin", "text", "partition_key", "none"}, {"at", "timestamp", "clustering", "desc"}, {"s", "int", "static", "none"},
		{"where", "frozen<point>", "regular", "none"}}
	if table := ks.Tables[0]; !slices.Equal(table.Columns, want) || !slices.Equal(table.PartitionKey, []string{"origin"}) ||
		!slices.Equal(table.ClusteringKey, []string{"at"}) || table.ID != "01000000-0000-0000-0000-000000000000" {
		t.Fatalf("%+v", table)
	}
	if ty := ks.Types[0]; ty.Name != "point" || !slices.Equal(ty.Fields, []Field{{"x", "int"}, {"y", "text"}}) {
		t.Fatalf("%+v", ty)
	}
}

// What is really answered has the form that the document promises, and what it promises of requests is taken.
func TestAnswersMatchTheDocument(t *testing.T) {
	columns := []query.ColumnSpec{{Name: "i", Type: types.IntType}}
	f := &fake{markers: map[string][]query.ColumnSpec{"S": columns}}
	f.run = map[string]func(*query.Session, *query.Params) (*query.Result, error){"S": func(*query.Session, *query.Params) (*query.Result, error) {
		r := result(t, columns, []string{"1"})
		r.PageState, r.Warnings = []byte{1}, []string{"w"}
		return r, nil
	}}
	c := catalog(t)
	s := newServer(t, f, func(o *Options) {
		o.Catalog = func() *schema.Catalog { return c }
		o.Ring = func(context.Context) (Ring, error) {
			return Ring{Cluster: "demo", Nodes: []RingNode{{HostID: vnodes.HostID{1}.String(), State: "joining"}}}, nil
		}
	})
	registry := openAPI(&s.opts).Components.Schemas
	for _, r := range []struct{ method, path, body, schema string }{
		{http.MethodPost, "/v1/query", `{"cql":"S","params":[1]}`, "QueryAnswer"}, {http.MethodGet, "/v1/schema", "", "Schema"},
		{http.MethodGet, "/v1/ring", "", "Ring"}, {http.MethodGet, "/livez", "", "Health"}, {http.MethodGet, "/nothing", "", "Problem"},
		{http.MethodPost, "/v1/query", `{"cql":7}`, "Problem"},
	} {
		var v any
		if err := json.Unmarshal(do(s, r.method, r.path, r.body).Body.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		var res huma.ValidateResult
		huma.Validate(registry, registry.Map()[r.schema], huma.NewPathBuffer(nil, 0), huma.ModeReadFromServer, v, &res)
		for _, e := range res.Errors {
			t.Errorf("%s %s: %v", r.method, r.path, e)
		}
	}
}
