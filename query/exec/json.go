package exec

import (
	"encoding/json"
	"errors"
	"strings"

	"nodedb/query/plan"
	"nodedb/query/schema"
	"nodedb/query/types"
)

// fromJSON reads INSERT JSON's document into the plan of an INSERT of its members.
func (r *request) fromJSON(w *plan.Write) (*plan.Write, error) {
	v, err := w.JSON.Eval(&r.env)
	if err != nil {
		return nil, err
	}
	if v == nil || plan.IsUnset(v) {
		return nil, w.JSON.Errorf("Got null for INSERT JSON values")
	}
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(v, &doc); err != nil {
		return nil, w.JSON.Errorf("Could not decode JSON string as a map: %s. (String was: %s)", jsonProblem(err), shorten(v))
	}
	values := map[*schema.Column][]byte{}
	for name, raw := range doc {
		col, ok := w.Table.Column(jsonName(name))
		if !ok {
			return nil, w.JSON.Errorf("JSON values map contains unrecognized column: %s", name)
		}
		if values[col], err = col.Type.FromJSON(raw); err != nil {
			return nil, w.JSON.Errorf("Error decoding JSON value for %s: %v", col.Name, err)
		}
	}
	if !w.DefaultUnset {
		for _, col := range w.Table.Columns {
			if _, ok := values[col]; !ok && (col.Kind == schema.Regular || col.Kind == schema.Static) {
				values[col] = nil
			}
		}
	}
	out, err := plan.Values(w.Table, values, w.JSON)
	if err != nil {
		return nil, err
	}
	out.TTL, out.Timestamp = w.TTL, w.Timestamp
	return out, nil
}

// jsonProblem is why a document isn't an object, without Go's names for things.
func jsonProblem(err error) string {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return "an object such as {\"column\": value} is expected, not " + wrong.Value
	}
	return err.Error()
}

// maxShown is how many bytes of a document an error shows.
const maxShown = 200

func shorten(v []byte) string {
	if len(v) <= maxShown {
		return string(v)
	}
	return strings.ToValidUTF8(string(v[:maxShown]), "") + "…"
}

// jsonName folds a member's name as CQL folds identifiers: "\"Name\"" keeps its case.
func jsonName(name string) string {
	if n := len(name); n >= 2 && name[0] == '"' && name[n-1] == '"' {
		return name[1 : n-1]
	}
	return strings.ToLower(name)
}

// appendJSON writes a row as SELECT JSON does.
func appendJSON(dst []byte, names []string, ts []*types.Type, values [][]byte) []byte {
	dst = append(dst, '{')
	for i, name := range names {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		if name != strings.ToLower(name) {
			name = `"` + name + `"`
		}
		dst = types.AppendJSONString(dst, []byte(name))
		dst = append(dst, ": "...)
		dst = ts[i].AppendJSON(dst, values[i])
	}
	return append(dst, '}')
}
