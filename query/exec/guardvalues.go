package exec

import (
	"nodedb/query/schema"
	"nodedb/query/types"
)

// cellBytes is what Cassandra counts of a cell of a collection beside its path and its value.
const cellBytes = 20

// put adds a live cell, and holds its value to the guardrails: refused is the first violation.
func (m *mutator) put(col *schema.Column, path, value []byte) {
	if m.r.x.guards.values {
		m.guardCell(col, path, value)
	}
	m.b.Add(m.live(col.ID, path, value))
}

func (m *mutator) guardCell(col *schema.Column, path, value []byte) {
	m.collected += cellBytes + len(path) + len(value)
	m.guardSize(col, len(value))
	if col.Type.IsMultiCell() && (col.Type.Kind == types.Set || col.Type.Kind == types.Map) {
		m.guardSize(col, len(path))
	}
}

// guardSize holds a value to the guardrail of values.
func (m *mutator) guardSize(col *schema.Column, size int) {
	g := &m.r.x.guards
	warning, failure := exceeds("Value of column '%s' has size %d", col.Name, size)
	m.refuse(m.r.guard("column_value_size", size, int(g.ValueSizeWarn), int(g.ValueSizeFail), warning, failure))
}

// guardItems holds the elements of a collection that a statement writes to their guardrail, before they are written.
func (m *mutator) guardItems(col *schema.Column, v []byte) {
	m.collected = 0
	if !m.r.x.guards.values || v == nil || !isCollection(col.Type) {
		return
	}
	g, n := &m.r.x.guards, types.Count(v)
	warning, failure := exceeds("Detected collection %s with %d items", col.Name, n)
	m.refuse(m.r.guard("items_per_collection", n, g.ItemsWarn, g.ItemsFail, warning, failure))
}

// guardCollected holds the bytes of the elements that were written since guardItems to their guardrail.
func (m *mutator) guardCollected(col *schema.Column) {
	if !m.r.x.guards.values || !isCollection(col.Type) {
		return
	}
	g := &m.r.x.guards
	warning, failure := exceeds("Detected collection %s of size %d", col.Name, m.collected)
	m.refuse(m.r.guard("collection_size", m.collected, int(g.CollectionSizeWarn), int(g.CollectionSizeFail), warning, failure))
}

func isCollection(t *types.Type) bool {
	return t.Kind == types.List || t.Kind == types.Set || t.Kind == types.Map
}

func (m *mutator) refuse(err error) {
	if m.refused == nil {
		m.refused = err
	}
}
