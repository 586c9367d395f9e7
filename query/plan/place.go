package plan

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"nodedb/query/cql"
	"nodedb/query/schema"
	"nodedb/query/wire"
)

const noKeyspace = "No keyspace has been specified. USE a keyspace, or explicitly specify keyspace.tablename"

// MarkerPlace is where a bind marker stands, and what errors call it: marker 2 (column pk), counted from 1.
type MarkerPlace struct {
	cql.Pos
	About string
}

// Errorf is an invalid request over the value of a marker: it names the marker.
func (m MarkerPlace) Errorf(format string, args ...any) error {
	e := wire.Errorf(wire.CodeInvalid, format, args...)
	e.Message = where(m) + e.Message + ", for " + m.About
	return e
}

// Errorf is an invalid request over the expression's value. It points at the expression, and names it if it is a
// marker.
func (e *Expr) Errorf(format string, args ...any) error {
	if e.about != "" {
		return MarkerPlace{e.at, e.about}.Errorf(format, args...)
	}
	return at(e.at, format, args...)
}

// where is a place in the text as syntax errors have it, "" without one.
func where(n cql.Node) string {
	p := n.Position()
	if p.Line == 0 {
		return ""
	}
	return "line " + strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Column) + " "
}

// at is an invalid request that points at a place in the text.
func at(n cql.Node, format string, args ...any) error {
	return coded(wire.CodeInvalid, n, format, args...)
}

// At is an invalid request that points at a place in the text.
func At(n cql.Node, format string, args ...any) error { return at(n, format, args...) }

// coded is at with another code.
func coded(code wire.ErrorCode, n cql.Node, format string, args ...any) error {
	e := wire.Errorf(code, format, args...)
	e.Message = where(n) + e.Message
	return e
}

// keyText writes a table's primary key as CREATE TABLE does.
func keyText(t *schema.Table) string {
	if len(t.Clustering) == 0 {
		return "(" + names(t.PartitionKey) + ")"
	}
	return "((" + names(t.PartitionKey) + "), " + names(t.Clustering) + ")"
}

// maxListed is how many columns an error lists.
const maxListed = 12

// nearColumn says which column was probably meant, or which there are.
func (c *compiler) nearColumn(name string) string {
	var list []string
	for _, col := range c.table.Columns {
		list = append(list, col.Name)
	}
	if near := meant(name, list); near != "" {
		return near
	}
	if len(list) > maxListed {
		list = append(list[:maxListed], "…")
	}
	return "; it has " + strings.Join(list, ", ")
}

func (c *compiler) nearKeyspace(name string) string {
	return meant(name, slices.AppendSeq(slices.Collect(maps.Keys(c.schema.Catalog.Keyspaces)), maps.Keys(c.schema.System)))
}

func functionNames() []string {
	list := slices.AppendSeq(slices.Collect(maps.Keys(functions)), maps.Keys(aggregateKinds))
	return append(slices.AppendSeq(list, maps.Keys(factories)), apart...)
}

// meant asks for the name that looks most like one that doesn't exist; "" when none is near.
func meant(name string, list []string) string {
	slices.Sort(list) // the same answer every time
	limit := nearest(name) + 1
	best, least := "", 2*limit
	for _, n := range list {
		d := 0
		if !strings.EqualFold(name, n) {
			d = distance(name, n, limit)
		}
		if d *= 2; name != "" && !strings.HasPrefix(n, name[:1]) {
			d++ // first letters are seldom wrong
		}
		if d < least {
			best, least = n, d
		}
	}
	if best == "" {
		return ""
	}
	if best != strings.ToLower(best) {
		best = `"` + best + `"`
	}
	return "; did you mean " + best + "?"
}

// nearest is how many edits a name may be away to be taken for a slip: none of one or two letters.
func nearest(name string) int {
	switch n := len(name); {
	case n < 3:
		return 0
	case n < 6:
		return 1
	}
	return 2
}

// distance counts the letters to add, drop, change or swap with a neighbour to get from a to b (optimal string
// alignment), up to limit.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
