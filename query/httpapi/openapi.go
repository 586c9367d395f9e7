package httpapi

import (
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
)

// Route describes one operation for the OpenAPI document. Values of Body, Answer and Line say their types.
type Route struct {
	Method, Path, ID, Summary, Description string
	Body                                   any // nil: none
	Answer                                 any // nil, and no Line: text
	Line                                   any // of a stream; nil: there is none
	Errors                                 []int
}

// Extra is a route of another package. Its Path may have parameters, as http.ServeMux has them.
type Extra struct {
	Route
	Switches map[string]string // boolean parameters of the query, and what they do
	Handler  http.HandlerFunc
}

var allRoutes = []Route{
	{http.MethodPost, "/v1/query", "query", "Run a CQL statement",
		"Values are JSON as cqlsh writes them. The text of numbers is exact: read bigint, counter and varint beyond 2^53 with a parser that keeps it. " +
			"Decimals are strings, as are keys of maps, NaN and the infinities; null is null. Parameters take a decimal or varint as a number or as a string. " +
			"Answers one page as an object; with Accept: application/x-ndjson all pages as a stream, a row object a line. " +
			`A stream that fails ends with a line {"error": problem}.`,
		QueryRequest{}, QueryAnswer{}, map[string]any{}, []int{400, 403, 406, 408, 409, 413, 415, 500, 503, 504}},
	{http.MethodPost, "/v1/batch", "batch", "Run a batch of statements", "Applies INSERT, UPDATE and DELETE statements together.",
		BatchRequest{}, QueryAnswer{}, nil, []int{400, 403, 406, 408, 413, 415, 500, 503, 504}},
	{http.MethodGet, "/v1/schema", "schema", "Keyspaces, tables and types", "", nil, Schema{}, nil, nil},
	{http.MethodGet, "/v1/ring", "ring", "The nodes of the cluster", "", nil, Ring{}, nil, []int{500, 503}},
	{http.MethodGet, "/livez", "livez", "Whether the process lives", "", nil, Health{}, nil, nil},
	{http.MethodGet, "/readyz", "readyz", "Whether the node answers queries", "", nil, Health{}, nil, []int{503}},
	{http.MethodGet, "/metrics", "metrics", "Metrics in Prometheus' text format", "", nil, nil, nil, nil},
	{http.MethodGet, "/openapi.json", "openapi", "This document", "", nil, map[string]any{}, nil, nil},
}

// pathParameter finds the parameters of a path.
var pathParameter = regexp.MustCompile(`\{(\w+)\}`)

// openAPI writes the document, without links to anywhere.
func openAPI(o *Options) *huma.OpenAPI {
	registry := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	doc := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{Title: "nodedb", Version: "1", Description: "A wide-column database over HTTP. Errors are application/problem+json (RFC 9457).",
			License: &huma.License{Name: "Apache License 2.0", Identifier: "Apache-2.0"}},
		Components: &huma.Components{Schemas: registry},
	}
	absent := map[string]bool{"/v1/schema": o.Catalog == nil, "/v1/ring": o.Ring == nil, "/metrics": o.Metrics == nil}
	for i := range allRoutes {
		if r := &allRoutes[i]; !absent[r.Path] {
			doc.AddOperation(r.operation(registry))
		}
	}
	for i := range o.Extra {
		x := &o.Extra[i]
		op := x.operation(registry)
		for _, name := range slices.Sorted(maps.Keys(x.Switches)) {
			op.Parameters = append(op.Parameters, &huma.Param{Name: name, In: "query", Description: x.Switches[name], Schema: &huma.Schema{Type: huma.TypeBoolean}})
		}
		doc.AddOperation(op)
	}
	for _, name := range []string{"QueryRequest", "BatchStatement"} {
		describeParams(registry.Map()[name])
	}
	return doc
}

func (r *Route) operation(registry huma.Registry) *huma.Operation {
	op := &huma.Operation{Method: r.Method, Path: r.Path, OperationID: r.ID, Summary: r.Summary, Description: r.Description,
		Responses: map[string]*huma.Response{}}
	schemaOf := func(v any) *huma.Schema { return registry.Schema(reflect.TypeOf(v), true, "") }
	for _, name := range pathParameter.FindAllStringSubmatch(r.Path, -1) {
		op.Parameters = append(op.Parameters, &huma.Param{Name: name[1], In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}})
	}
	if r.Body != nil {
		op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{jsonType: {Schema: schemaOf(r.Body)}}}
	}
	ok := &huma.Response{Description: "Done", Content: map[string]*huma.MediaType{}}
	if r.Answer != nil {
		ok.Content[jsonType] = &huma.MediaType{Schema: schemaOf(r.Answer)}
	}
	if r.Line != nil {
		ok.Content[ndjsonType] = &huma.MediaType{Schema: schemaOf(r.Line)}
	}
	if len(ok.Content) == 0 {
		ok.Content["text/plain"] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
	}
	op.Responses["200"] = ok
	for _, status := range append([]int{http.StatusMethodNotAllowed}, r.Errors...) {
		op.Responses[strconv.Itoa(status)] = &huma.Response{Description: http.StatusText(status),
			Content: map[string]*huma.MediaType{problemType: {Schema: schemaOf(Problem{})}}}
	}
	return op
}

// describeParams says what reflection can't: params is an array or an object.
func describeParams(s *huma.Schema) {
	old := s.Properties["params"]
	s.Properties["params"] = &huma.Schema{Description: old.Description, OneOf: []*huma.Schema{
		{Type: huma.TypeArray, Items: &huma.Schema{}}, {Type: huma.TypeObject, AdditionalProperties: true}, {Type: "null"},
	}}
}
