package httpapi

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"nodedb/coordinator/consistency"
	"nodedb/query"
	"nodedb/query/wire"
)

// QueryRequest is the body of POST /v1/query.
type QueryRequest struct {
	CQL         string          `json:"cql" doc:"one CQL statement" example:"SELECT * FROM nyc.airports WHERE faa = ?"`
	Params      json.RawMessage `json:"params,omitempty" doc:"values of the bind markers: an array in their order, or an object by their names; numbers of any size and strings of them are read exactly"`
	Consistency string          `json:"consistency,omitempty" doc:"consistency level; LOCAL_QUORUM by default" example:"QUORUM"`
	Serial      string          `json:"serial_consistency,omitempty" doc:"SERIAL (the default) or LOCAL_SERIAL, for conditions"`
	Keyspace    string          `json:"keyspace,omitempty" doc:"keyspace of tables that name none"`
	PageSize    int             `json:"page_size,omitempty" minimum:"1" maximum:"10000" doc:"rows a page at most; 5000 by default"`
	PageState   *string         `json:"page_state,omitempty" doc:"page_state of the answer before, to go on behind it"`
}

// BatchRequest is the body of POST /v1/batch.
type BatchRequest struct {
	Statements  []BatchStatement `json:"statements" nullable:"false" maxItems:"65535" doc:"INSERT, UPDATE and DELETE statements, applied together"`
	Type        string           `json:"type,omitempty" enum:"logged,unlogged,counter" doc:"logged by default"`
	Consistency string           `json:"consistency,omitempty" doc:"consistency level; LOCAL_QUORUM by default"`
	Serial      string           `json:"serial_consistency,omitempty" doc:"SERIAL (the default) or LOCAL_SERIAL, for conditions"`
	Keyspace    string           `json:"keyspace,omitempty" doc:"keyspace of tables that name none"`
	Timestamp   *int64           `json:"timestamp,omitempty" doc:"of the writes, in µs since 1970; the server's clock by default"`
}

// BatchStatement is one statement of a batch.
type BatchStatement struct {
	CQL    string          `json:"cql" doc:"one CQL statement"`
	Params json.RawMessage `json:"params,omitempty" doc:"values of the bind markers: an array in their order, or an object by their names; numbers of any size and strings of them are read exactly"`
}

// read reads a request's body into v, strictly.
func (s *Server) read(w http.ResponseWriter, r *http.Request, v any) *Problem {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(s.opts.BodyTimeout)) // a test's recorder has none
	if p := checkHeaders(r); p != nil {
		return p
	}
	if r.ContentLength > s.opts.MaxBody {
		return s.tooLarge()
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.opts.MaxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return s.tooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return problemf(http.StatusRequestTimeout, wire.CodeProtocol, "the body did not arrive within %v", s.opts.BodyTimeout)
	case err != nil:
		return problemf(http.StatusBadRequest, wire.CodeProtocol, "the body could not be read: %v", err)
	}
	// Only now: before it answers an error, net/http reads what is left of the body, and that must end too.
	_ = control.SetReadDeadline(time.Time{})
	return decode(body, v)
}

func (s *Server) tooLarge() *Problem {
	return problemf(http.StatusRequestEntityTooLarge, wire.CodeInvalid, "the body may have %d bytes; split the batch, or load files with `nodedb load`",
		s.opts.MaxBody)
}

// checkHeaders refuses bodies that say they are no JSON, and clients that take none. A form is what curl says its -d is.
func checkHeaders(r *http.Request) *Problem {
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return problemf(http.StatusUnsupportedMediaType, wire.CodeProtocol, "Content-Encoding %q is not understood; send the body as it is", e)
	}
	if ct := r.Header.Get("Content-Type"); ct != "" {
		kind, _, err := mime.ParseMediaType(ct)
		if err != nil || kind != jsonType && kind != "text/json" && kind != "application/x-www-form-urlencoded" && !strings.HasSuffix(kind, "+json") {
			return problemf(http.StatusUnsupportedMediaType, wire.CodeProtocol, "Content-Type %q is not understood; want %s", ct, jsonType)
		}
	}
	if _, ok := accepts(r); !ok {
		return problemf(http.StatusNotAcceptable, wire.CodeProtocol, "Accept %q: there are %s and %s", r.Header.Get("Accept"), jsonType, ndjsonType)
	}
	return nil
}

// accepts tells whether the client wants a stream of rows, and whether it takes anything that there is.
func accepts(r *http.Request) (stream, ok bool) {
	all := r.Header.Values("Accept")
	if len(all) == 0 {
		return false, true
	}
	for _, part := range strings.Split(strings.Join(all, ","), ",") {
		kind, params, err := mime.ParseMediaType(strings.TrimSpace(part))
		if err != nil || strings.Trim(params["q"], "0.") == "" && params["q"] != "" {
			continue
		}
		switch kind {
		case ndjsonType, "application/ndjson", "application/jsonl":
			return true, true
		case "*/*", "application/*", jsonType:
			ok = true
		}
	}
	return false, ok
}

// decode reads JSON strictly: unknown and repeated members, a second value and bytes that are not UTF-8 are errors with their place.
func decode(body []byte, v any) *Problem {
	if len(bytes.TrimSpace(body)) == 0 {
		return badJSON(body, 0, `the body is empty; want a JSON object such as {"cql": "SELECT …"}`)
	}
	if at := invalidUTF8(body); at >= 0 {
		return badJSON(body, at, "the body is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return decodeProblem(body, err)
	}
	end := int(d.InputOffset())
	if rest := bytes.TrimLeft(body[end:], " \t\r\n"); len(rest) > 0 {
		return badJSON(body, len(body)-len(rest), "something follows the JSON object")
	}
	return repeated(body)
}

func invalidUTF8(b []byte) int {
	if utf8.Valid(b) {
		return -1
	}
	for i := 0; ; {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n <= 1 {
			return i
		}
		i += n
	}
}

func decodeProblem(body []byte, err error) *Problem {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	text := strings.TrimPrefix(err.Error(), "json: ")
	switch {
	case errors.As(err, &syntax):
		return badJSON(body, int(syntax.Offset)-1, "not JSON: "+text)
	case errors.As(err, &kind) && kind.Field == "":
		return badJSON(body, int(kind.Offset)-1, fmt.Sprintf("want a JSON object, got %s", withArticle(kind.Value)))
	case errors.As(err, &kind):
		return badJSON(body, int(kind.Offset)-1, fmt.Sprintf("%q can't be %s; want %s", kind.Field, withArticle(kind.Value), jsonName(kind)))
	case errors.Is(err, io.ErrUnexpectedEOF):
		return badJSON(body, len(body), "not JSON: it ends too early")
	}
	if name, ok := strings.CutPrefix(text, "unknown field "); ok {
		return badJSON(body, bytes.Index(body, []byte(name)), fmt.Sprintf("there is no member %s; see /openapi.json", name))
	}
	return badJSON(body, 0, text)
}

// withArticle names what a JSON value is: encoding/json has array, object, string, number (with its text or not) and bool.
func withArticle(kind string) string {
	switch {
	case kind == "array", kind == "object":
		return "an " + kind
	case kind == "bool":
		return "true or false"
	}
	return "a " + kind
}

// jsonName is what a member should have been.
func jsonName(e *json.UnmarshalTypeError) string {
	switch kind := e.Type.Kind().String(); {
	case kind == "string":
		return "a string"
	case strings.HasPrefix(kind, "int"):
		return "a whole number"
	case kind == "slice":
		return "an array"
	default:
		return "an object"
	}
}

// badJSON is a 400 with the line and column of a byte of the body.
func badJSON(body []byte, offset int, text string) *Problem {
	before := body[:max(0, min(offset, len(body)))]
	p := newProblem(http.StatusBadRequest, wire.CodeProtocol, text)
	p.Line = 1 + bytes.Count(before, []byte("\n"))
	p.Column = len(before) - (bytes.LastIndexByte(before, '\n') + 1) + 1
	p.Detail = fmt.Sprintf("line %d, column %d: %s", p.Line, p.Column, text)
	return p
}

// levels reads both consistency levels.
func (s *Server) levels(level, serial string) (l, sl consistency.Level, p *Problem) {
	l, sl = s.opts.Consistency, consistency.Serial
	var err error
	if level != "" {
		if l, err = consistency.ParseLevel(level); err != nil {
			return l, sl, invalidf("consistency: %v", err)
		}
	}
	if serial != "" {
		if sl, err = consistency.ParseLevel(serial); err != nil || sl != consistency.Serial && sl != consistency.LocalSerial {
			return l, sl, invalidf("serial_consistency: want SERIAL or LOCAL_SERIAL, got %q", serial)
		}
	}
	return l, sl, nil
}

// params gives a query's options, without its values.
func (s *Server) params(q *QueryRequest, stream bool) (*query.Params, *Problem) {
	if strings.TrimSpace(q.CQL) == "" {
		return nil, invalidf(`"cql" is missing: it is the statement to run`)
	}
	level, serial, p := s.levels(q.Consistency, q.Serial)
	if p != nil {
		return nil, p
	}
	if q.PageSize < 0 || q.PageSize > maxPageSize {
		return nil, invalidf("page_size: want 1 to %d, got %d", maxPageSize, q.PageSize)
	}
	out := &query.Params{Level: level, Serial: serial, PageSize: q.PageSize, Timestamp: query.NoTimestamp}
	switch {
	case q.PageSize == 0 && stream:
		out.PageSize = s.opts.StreamPage
	case q.PageSize == 0:
		out.PageSize = s.opts.PageSize
	}
	if q.PageState != nil {
		state, err := base64.RawURLEncoding.DecodeString(*q.PageState)
		if err != nil || len(state) == 0 {
			return nil, invalidf("page_state: want one that an earlier answer gave, as it was")
		}
		out.PageState = state
	}
	return out, nil
}
