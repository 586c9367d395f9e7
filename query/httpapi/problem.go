package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"nodedb/coordinator/consistency"
	"nodedb/query/wire"
)

// Problem is an error as RFC 9457 has it, with the CQL code that the binary protocol gives the same error.
type Problem struct {
	Type   string `json:"type" doc:"urn:nodedb:problem: and the code's name"`
	Title  string `json:"title" doc:"the code's name"`
	Status int    `json:"status" doc:"the HTTP status"`
	Detail string `json:"detail" doc:"what happened, where, and what was expected"`
	Code   int32  `json:"code" doc:"the error code of the CQL binary protocol, section 9"`

	Line   int `json:"line,omitempty" doc:"in the body, where it is not the JSON that was expected; from 1"`
	Column int `json:"column,omitempty" doc:"in bytes, from 1"`

	Consistency string `json:"consistency,omitempty" doc:"unavailable, timeouts, failures: the level that was not met"`
	Required    *int32 `json:"required,omitempty" doc:"unavailable: replicas needed"`
	Alive       *int32 `json:"alive,omitempty" doc:"unavailable: replicas up"`
	Received    *int32 `json:"received,omitempty" doc:"timeouts, failures: answers that came"`
	BlockFor    *int32 `json:"block_for,omitempty" doc:"timeouts, failures: answers needed"`
	Failures    *int32 `json:"failures,omitempty" doc:"failures: replicas that failed"`
	WriteType   string `json:"write_type,omitempty" doc:"write timeouts and failures"`
	Keyspace    string `json:"keyspace,omitempty" doc:"already exists"`
	Table       string `json:"table,omitempty" doc:"already exists"`
}

const (
	jsonType    = "application/json"
	ndjsonType  = "application/x-ndjson"
	problemType = "application/problem+json"
	// retryAfter is what clients that were shed are told to wait, in seconds.
	retryAfter = "1"
)

// statuses of CQL codes; 500 else.
var statuses = map[wire.ErrorCode]int{
	wire.CodeProtocol:        http.StatusBadRequest,
	wire.CodeCredentials:     http.StatusUnauthorized,
	wire.CodeUnavailable:     http.StatusServiceUnavailable,
	wire.CodeOverloaded:      http.StatusServiceUnavailable,
	wire.CodeBootstrapping:   http.StatusServiceUnavailable,
	wire.CodeWriteTimeout:    http.StatusGatewayTimeout,
	wire.CodeReadTimeout:     http.StatusGatewayTimeout,
	wire.CodeCASUnknown:      http.StatusGatewayTimeout,
	wire.CodeFunctionFailure: http.StatusBadRequest,
	wire.CodeSyntax:          http.StatusBadRequest,
	wire.CodeUnauthorized:    http.StatusForbidden,
	wire.CodeInvalid:         http.StatusBadRequest,
	wire.CodeConfig:          http.StatusBadRequest,
	wire.CodeAlreadyExists:   http.StatusConflict,
}

func newProblem(status int, code wire.ErrorCode, detail string) *Problem {
	name := code.String()
	return &Problem{
		Type: "urn:nodedb:problem:" + strings.ReplaceAll(name, " ", "-"), Title: strings.ToUpper(name[:1]) + name[1:], Status: status, Detail: detail,
		Code: int32(code),
	}
}

func problemf(status int, code wire.ErrorCode, format string, args ...any) *Problem {
	return newProblem(status, code, fmt.Sprintf(format, args...))
}

// invalidf is what a request is answered that is well-formed and wrong.
func invalidf(format string, args ...any) *Problem {
	return problemf(http.StatusBadRequest, wire.CodeInvalid, format, args...)
}

// problemOf makes a Problem of an engine's error.
func problemOf(err error) *Problem {
	var e *wire.Error
	switch {
	case errors.As(err, &e):
	case errors.Is(err, context.DeadlineExceeded):
		return problemf(http.StatusGatewayTimeout, wire.CodeServer, "out of time: %v", err)
	default:
		return newProblem(http.StatusInternalServerError, wire.CodeServer, err.Error())
	}
	status, ok := statuses[e.Code]
	if !ok {
		status = http.StatusInternalServerError
	}
	p := newProblem(status, e.Code, e.Message)
	level := consistency.Level(e.Consistency).String()
	switch e.Code {
	case wire.CodeUnavailable:
		p.Consistency, p.Required, p.Alive = level, &e.Required, &e.Alive
	case wire.CodeReadFailure, wire.CodeWriteFailure:
		p.Failures = &e.Failures
		fallthrough
	case wire.CodeReadTimeout, wire.CodeWriteTimeout, wire.CodeCASUnknown:
		p.Consistency, p.Received, p.BlockFor, p.WriteType = level, &e.Received, &e.BlockFor, e.WriteType
	case wire.CodeAlreadyExists:
		p.Keyspace, p.Table = e.Keyspace, e.Table
	}
	return p
}

// refuse answers a problem.
func refuse(w http.ResponseWriter, p *Problem) {
	body, err := marshal(p)
	if err != nil {
		panic(err) // strings and numbers only
	}
	if p.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	answer(w, p.Status, problemType, body)
}

// marshal leaves < and > as they are: types have them, and no answer is HTML.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

func answerJSON(w http.ResponseWriter, v any) {
	body, err := marshal(v)
	if err != nil {
		refuse(w, newProblem(http.StatusInternalServerError, wire.CodeServer, err.Error()))
		return
	}
	answer(w, http.StatusOK, jsonType, body)
}

func answer(w http.ResponseWriter, status int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // who went away isn't told
}
