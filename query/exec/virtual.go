package exec

import (
	"bytes"
	"cmp"
	"slices"

	"nodedb/node/row"
	"nodedb/query/cql"
	"nodedb/query/plan"
	"nodedb/query/virtual"
	"nodedb/query/wire"
	"nodedb/vnodes"
)

// MaxVirtual bounds the rows of a system table that one SELECT gathers.
const MaxVirtual = 1_000_000

// virtualRow is one row of a system table and its place in storage order.
type virtualRow struct {
	token      vnodes.Token
	key        []byte
	clustering []byte
	values     [][]byte
}

// virtualRows walks a system table: its rows are gathered, put in storage order and looked at one by one.
func (r *request) virtualRows(w *walk) error {
	rows, err := r.gather(w)
	if err != nil {
		return err
	}
	if w.o.unsortable && len(rows) > 0 {
		return wire.Errorf(wire.CodeInvalid, cannotSortPages)
	}
	for _, v := range rows {
		if w.after != nil && !w.beyond(v) {
			continue
		}
		same := w.inside && v.token == w.token && bytes.Equal(v.key, w.key)
		if !same {
			if full, err := w.leaveVirtual(); err != nil || full {
				return err
			}
			w.inside, w.token, w.key = true, v.token, v.key
			w.o.emitted = 0
		}
		if full, err := w.virtualRow(v, same); err != nil || full {
			return err
		}
	}
	if full, err := w.leaveVirtual(); err != nil || full {
		return err
	}
	return w.end(nil)
}

// gather collects the rows that satisfy the whole WHERE, in storage order.
func (r *request) gather(w *walk) ([]virtualRow, error) {
	t := w.sel.Table
	if err := w.rankPartitions(); err != nil {
		return nil, err
	}
	var rows []virtualRow
	r.env.Row.Table, r.env.Row.Now = t, r.env.Now
	err := virtual.Rows(t, r.x.cluster, func(values [][]byte) error {
		r.env.Row.Values = values
		ok, err := w.sel.Where.MatchAll(&r.env)
		if !ok || err != nil {
			return err
		}
		if len(rows) == MaxVirtual {
			return wire.Errorf(wire.CodeInvalid, "%s.%s has more than %d rows that match: restrict the statement", t.Keyspace, t.Name, MaxVirtual)
		}
		v := virtualRow{values: slices.Clone(values)}
		n := len(t.PartitionKey)
		if v.key, err = t.AppendPartitionKey(nil, values[:n]); err != nil {
			return err
		}
		v.token = vnodes.PartitionToken(v.key)
		v.clustering, err = t.AppendClustering([]byte{}, values[n:n+len(t.Clustering)])
		rows = append(rows, v)
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(rows, func(a, b virtualRow) int { return w.compareVirtual(&a, &b) })
	return rows, nil
}

// rankPartitions finds the order of the partitions that an IN names, which isn't that of their tokens: as of a stored table.
func (w *walk) rankPartitions() error {
	where := w.sel.Where
	if w.rank != nil || !slices.ContainsFunc(where.Keys, func(k *plan.Relation) bool { return k.Op == cql.In }) {
		return nil
	}
	list, err := where.Partitions(&w.r.env)
	if err != nil {
		return err
	}
	w.rank = make(map[string]int, len(list))
	for i, p := range list {
		w.rank[string(p.Key)] = i
	}
	return nil
}

func (w *walk) compareVirtual(a, b *virtualRow) int {
	switch {
	case w.rank != nil && w.rank[string(a.key)] != w.rank[string(b.key)]:
		return cmp.Compare(w.rank[string(a.key)], w.rank[string(b.key)])
	case a.token < b.token:
		return -1
	case a.token > b.token:
		return 1
	}
	if c := bytes.Compare(a.key, b.key); c != 0 {
		return c
	}
	if w.sel.Reverse {
		return bytes.Compare(b.clustering, a.clustering)
	}
	return bytes.Compare(a.clustering, b.clustering)
}

// beyond reports whether a row comes after the client's last page.
func (w *walk) beyond(v virtualRow) bool {
	p := virtualRow{token: w.after.Token, key: w.after.Key, clustering: w.after.Clustering}
	if w.after.Done && v.token == p.token && bytes.Equal(v.key, p.key) {
		return false
	}
	c := w.compareVirtual(&v, &p)
	return c > 0 || (c == 0 && w.after.Inclusive)
}

func (w *walk) virtualRow(v virtualRow, same bool) (full bool, err error) {
	r := &w.r.env.Row
	r.Values, r.Token, r.Key = v.values, v.token, v.key
	if w.sel.Distinct && same || w.o.skipsPartition() {
		return false, nil
	}
	if w.o.full() && !w.o.open {
		w.pause(w.last)
		return true, nil
	}
	if err = w.sortKey(v.clustering); err != nil {
		return false, err
	}
	count := w.o.count
	prefix := []byte(nil)
	if n := w.sel.GroupBy - len(w.sel.Table.PartitionKey); n > 0 {
		if prefix, err = prefixOf(w.sel.Table, v.clustering, n); err != nil {
			return false, err
		}
	}
	before, err := w.o.add(prefix)
	if err != nil {
		return false, err
	}
	position := row.Position{Token: v.token, Key: v.key, Clustering: v.clustering}
	if before {
		position.Inclusive = true
		w.pause(place{position, true, w.o.emitted})
		return true, nil
	}
	if w.o.count > count {
		w.last = place{position, true, w.o.emitted}
	}
	return w.o.left == 0, nil
}

func (w *walk) leaveVirtual() (full bool, err error) {
	if !w.inside {
		return false, nil
	}
	w.inside = false
	closed, err := w.o.endPartition()
	if closed {
		w.last = place{Position: row.Position{Token: w.token, Key: w.key, Done: true}}
	}
	return w.o.left == 0, err
}
