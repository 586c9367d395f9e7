package httpapi

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strconv"

	"nodedb/query"
	"nodedb/query/types"
)

// Column is a result's column.
type Column struct {
	Name string `json:"name" doc:"the member of the row objects; a second column of one name has _2 behind it"`
	Type string `json:"type" doc:"CQL type"`
}

// QueryAnswer is what /v1/query and /v1/batch answer. It is written by hand (appendAnswer); this is its form.
type QueryAnswer struct {
	Columns   []Column         `json:"columns" nullable:"false" doc:"in the statement's order; empty where there are no rows"`
	Rows      []map[string]any `json:"rows" nullable:"false" doc:"the text of numbers is exact, also of varints and bigints beyond 2^53, which readers of doubles round; decimals, NaN, Infinity and -Infinity are strings, as are map keys"`
	PageState *string          `json:"page_state" doc:"send it to get what follows; null: nothing does"`
	Warnings  []string         `json:"warnings" nullable:"false"`
}

var errRows = errors.New("httpapi: the engine's rows are cut short")

// rowWriter appends rows as JSON objects.
type rowWriter struct {
	columns []Column
	names   [][]byte // each `"name":`, with the brace or comma before it
	types   []*types.Type
}

func newRowWriter(specs []query.ColumnSpec) *rowWriter {
	w := &rowWriter{columns: make([]Column, len(specs)), names: make([][]byte, len(specs)), types: make([]*types.Type, len(specs))}
	seen := map[string]bool{}
	for i := range specs {
		name := specs[i].Name
		for n := 2; seen[name]; n++ {
			name = specs[i].Name + "_" + strconv.Itoa(n)
		}
		seen[name] = true
		mark := byte(',')
		if i == 0 {
			mark = '{'
		}
		w.names[i] = append(types.AppendJSONString([]byte{mark}, []byte(name)), ':')
		w.types[i] = specs[i].Type
		w.columns[i] = Column{name, specs[i].Type.String()}
	}
	return w
}

// append appends one row and gives what follows it in rows.
func (w *rowWriter) append(dst, rows []byte) (out, rest []byte, err error) {
	for i, name := range w.names {
		if len(rows) < 4 {
			return dst, nil, errRows
		}
		n := int32(binary.BigEndian.Uint32(rows))
		rows = rows[4:]
		var value []byte
		if n >= 0 {
			if int64(n) > int64(len(rows)) {
				return dst, nil, errRows
			}
			value, rows = rows[:n:n], rows[n:]
		}
		dst = w.types[i].AppendClientJSON(append(dst, name...), value)
	}
	return append(dst, '}'), rows, nil
}

// appendAnswer appends a whole result.
func appendAnswer(dst []byte, r *query.Result) ([]byte, error) {
	w := newRowWriter(r.Columns)
	columns, err := marshal(w.columns)
	if err != nil {
		return nil, err
	}
	dst = append(append(dst, `{"columns":`...), columns...)
	dst = append(dst, `,"rows":[`...)
	rows := r.Rows
	for i := range r.RowCount {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, rows, err = w.append(dst, rows); err != nil {
			return nil, err
		}
	}
	dst = append(dst, `],"page_state":`...)
	if len(r.PageState) == 0 {
		dst = append(dst, "null"...)
	} else {
		dst = append(base64.RawURLEncoding.AppendEncode(append(dst, '"'), r.PageState), '"')
	}
	dst = append(dst, `,"warnings":[`...)
	for i, text := range r.Warnings {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = types.AppendJSONString(dst, []byte(text))
	}
	return append(dst, "]}\n"...), nil
}
