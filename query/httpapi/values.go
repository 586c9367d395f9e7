package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"nodedb/query"
)

// given reports whether params has values to bind: an empty array or object, null and nothing have none.
func given(params json.RawMessage) bool {
	var b bytes.Buffer
	if len(params) == 0 || len(params) > 64 { // white space aside, "null" is the longest that has none
		return len(params) > 0
	}
	if json.Compact(&b, params) != nil {
		return true
	}
	return b.String() != "null" && b.String() != "[]" && b.String() != "{}"
}

// bind turns params into values of the markers' types.
func bind(markers []query.ColumnSpec, params json.RawMessage) ([][]byte, *Problem) {
	switch raw := bytes.TrimLeft(params, " \t\r\n"); raw[0] {
	case '[':
		return bindArray(markers, raw)
	case '{':
		return bindObject(markers, raw)
	}
	return nil, invalidf("params: want an array of values, or an object of values by name")
}

func bindArray(markers []query.ColumnSpec, raw json.RawMessage) ([][]byte, *Problem) {
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil {
		return nil, invalidf("params: %v", err)
	}
	if len(items) != len(markers) {
		return nil, invalidf("params has %d values, but the statement has %d bind markers", len(items), len(markers))
	}
	values := make([][]byte, len(items))
	for i, item := range items {
		v, p := bindOne(fmt.Sprintf("params[%d]", i), &markers[i], item)
		if p != nil {
			return nil, p
		}
		values[i] = v
	}
	return values, nil
}

// bindObject gives every marker of a name the value of that name; a `?` has its column's.
func bindObject(markers []query.ColumnSpec, raw json.RawMessage) ([][]byte, *Problem) {
	var items map[string]json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil {
		return nil, invalidf("params: %v", err)
	}
	values := make([][]byte, len(markers))
	used := map[string]bool{}
	for i := range markers {
		name := markers[i].Name
		item, ok := items[name]
		if !ok {
			return nil, invalidf("params has no value for the bind marker %q", name)
		}
		v, p := bindOne(fmt.Sprintf("params.%s", name), &markers[i], item)
		if p != nil {
			return nil, p
		}
		values[i], used[name] = v, true
	}
	var stray []string
	for name := range items {
		if !used[name] {
			stray = append(stray, name)
		}
	}
	if len(stray) > 0 {
		slices.Sort(stray)
		return nil, invalidf("params has %s, but the statement has no such bind marker", strings.Join(stray, ", "))
	}
	return values, nil
}

func bindOne(place string, marker *query.ColumnSpec, item json.RawMessage) ([]byte, *Problem) {
	v, err := marker.Type.FromJSON(item)
	if err != nil {
		return nil, invalidf("%s, for %q of type %s: %v", place, marker.Name, marker.Type, err)
	}
	return v, nil
}
