package plan

import (
	"bytes"
	"slices"

	"nodedb/node/storage"
	"nodedb/query/cql"
	"nodedb/query/schema"
	"nodedb/query/types"
	"nodedb/vnodes"
)

// Partition is one partition that a statement names.
type Partition struct {
	Token vnodes.Token
	Key   []byte
}

// value evaluates what a key column is compared with: it may be neither null nor unset.
func value(env *Env, x *Expr, col *schema.Column) ([]byte, error) {
	v, err := x.Eval(env)
	switch {
	case err != nil:
		return nil, err
	case IsUnset(v):
		return nil, x.Errorf("Invalid unset value for column %s", col.Name)
	case v == nil:
		return nil, x.Errorf("Invalid null value in condition for column %s", col.Name)
	}
	return v, nil
}

// eval gives the operand's values, one a column.
func (o *Operand) eval(env *Env, cols []*schema.Column) ([][]byte, error) {
	if o.Whole == nil {
		out := make([][]byte, len(o.Parts))
		for i, x := range o.Parts {
			v, err := value(env, x, cols[i])
			if err != nil {
				return nil, err
			}
			out[i] = v
		}
		return out, nil
	}
	v, err := value(env, o.Whole, cols[0])
	if err != nil {
		return nil, err
	}
	return split(o.Whole, o.Whole.Type, v, cols)
}

// split takes a tuple's bytes apart.
func split(x *Expr, t *types.Type, v []byte, cols []*schema.Column) ([][]byte, error) {
	var out [][]byte
	for it := t.Elements(v); it.Next(); {
		if it.Value() == nil {
			return nil, x.Errorf("Invalid null value in condition for column %s", cols[min(len(out), len(cols)-1)].Name)
		}
		out = append(out, it.Value())
	}
	if len(out) != len(cols) {
		return nil, x.Errorf("Expected %d elements in value tuple, but got %d", len(cols), len(out))
	}
	return out, nil
}

// points gives the values that an = or IN relation allows, one tuple each.
func (r *Relation) points(env *Env) ([][][]byte, error) {
	if r.Op == cql.Eq {
		v, err := r.Operand.eval(env, r.Columns)
		return [][][]byte{v}, err
	}
	if r.ListOf == nil {
		out := make([][][]byte, len(r.List))
		for i := range r.List {
			v, err := r.List[i].eval(env, r.Columns)
			if err != nil {
				return nil, err
			}
			out[i] = v
		}
		return out, nil
	}
	list, err := value(env, r.ListOf, r.Columns[0])
	if err != nil {
		return nil, err
	}
	var out [][][]byte
	for it := r.ListOf.Type.Elements(list); it.Next(); {
		v := it.Value()
		switch {
		case v == nil:
			return nil, r.ListOf.Errorf("Invalid null value in condition for column %s", r.Columns[0].Name)
		case len(r.Columns) == 1 && it.Type().Equal(r.Columns[0].Type):
			out = append(out, [][]byte{v})
		default:
			parts, err := split(r.ListOf, it.Type(), v, r.Columns)
			if err != nil {
				return nil, err
			}
			out = append(out, parts)
		}
	}
	return out, nil
}

func tooMany(r *Relation, n int) error {
	return at(r.text, "The IN relations multiply to %d combinations, more than the limit of %d: ask for fewer at a time", n, MaxProduct)
}

// Partitions gives the partitions that Keys name, sorted by their values and each once. Those that token() relations
// exclude are left out.
func (w *Where) Partitions(env *Env) ([]Partition, error) {
	if p, ok, err := w.Single(env); err != nil {
		return nil, err
	} else if ok {
		return w.byToken(env, []Partition{p})
	}
	rows := [][][]byte{nil}
	for _, r := range w.Keys {
		points, err := r.points(env)
		if err != nil {
			return nil, err
		}
		if len(points) == 0 {
			return nil, nil
		}
		if n := len(rows) * len(points); n > MaxProduct {
			return nil, tooMany(r, n)
		}
		next := make([][][]byte, 0, len(rows)*len(points))
		for _, row := range rows {
			for _, p := range points {
				next = append(next, append(slices.Clip(row), p[0]))
			}
		}
		rows = next
	}
	compare := func(a, b [][]byte) int {
		for i, col := range w.Table.PartitionKey {
			if c := col.Type.Compare(a[i], b[i]); c != 0 {
				return c
			}
		}
		return 0
	}
	slices.SortFunc(rows, compare)
	out := make([]Partition, 0, len(rows))
	for i, row := range rows {
		if i > 0 && compare(rows[i-1], row) == 0 {
			continue
		}
		p, err := w.partition(env, row)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return w.byToken(env, out)
}

// Products gives what the INs on the partition key and on the clustering columns multiply to, with what they name twice: 1 without any.
func (w *Where) Products(env *Env) (partitions, rows int, err error) {
	partitions, rows = 1, 1
	for _, r := range w.Keys {
		if partitions, err = r.multiply(env, partitions); err != nil {
			return 0, 0, err
		}
	}
	for i := range w.Clustering {
		for _, r := range w.Clustering[i].Relations {
			if rows, err = r.multiply(env, rows); err != nil {
				return 0, 0, err
			}
		}
	}
	return partitions, rows, nil
}

func (r *Relation) multiply(env *Env, n int) (int, error) {
	if r.Op != cql.In {
		return n, nil
	}
	points, err := r.points(env)
	return n * len(points), err
}

// Single gives the partition where each column is restricted by one value, which is the hot path; false: that is not so. It doesn't look at token()
// relations.
func (w *Where) Single(env *Env) (p Partition, ok bool, err error) {
	var fixed [8][]byte
	values := fixed[:0]
	for _, r := range w.Keys {
		if r.Op != cql.Eq {
			return p, false, nil
		}
		v, err := value(env, r.Operand.Parts[0], r.Columns[0])
		if err != nil {
			return p, false, err
		}
		values = append(values, v)
	}
	p, err = w.partition(env, values)
	return p, err == nil, err
}

func (w *Where) partition(env *Env, values [][]byte) (p Partition, err error) {
	var key []byte
	if len(values) == 1 {
		key, err = w.Table.PartitionKeyOf(values)
	} else {
		key, err = env.Keep(func(dst []byte) ([]byte, error) { return w.Table.AppendPartitionKey(dst, values) })
	}
	if err != nil {
		return Partition{}, at(w.Keys[0].text, "%v", err)
	}
	return Partition{vnodes.PartitionToken(key), key}, nil
}

func (w *Where) byToken(env *Env, list []Partition) ([]Partition, error) {
	if len(w.Tokens) == 0 {
		return list, nil
	}
	r, empty, err := w.Range(env)
	if err != nil || empty {
		return nil, err
	}
	return slices.DeleteFunc(list, func(p Partition) bool { return p.Token <= r.Start || p.Token > r.End }), nil
}

// Range gives the tokens (Start, End] that token() relations leave; without any it is everything. empty says that
// nothing is left. MinToken, which no partition has, is the end of the ring where it is an upper bound: the last of the ranges that drivers and tools split
// the ring into ends there, and Cassandra takes it so.
func (w *Where) Range(env *Env) (r vnodes.Range, empty bool, err error) {
	r = vnodes.Range{Start: vnodes.MinToken, End: vnodes.MaxToken}
	for _, rel := range w.Tokens {
		v, err := rel.Operand.Parts[0].Eval(env)
		switch {
		case err != nil:
			return r, false, err
		case v == nil || IsUnset(v) || len(v) != 8:
			return r, false, rel.Operand.Parts[0].Errorf("Invalid null value for the partition key token")
		}
		t := vnodes.Token(types.Int64(v))
		switch rel.Op {
		case cql.Greater:
			r.Start = t
		case cql.GreaterEq:
			r.Start = before(t)
		case cql.Less, cql.LessEq:
			switch {
			case t == vnodes.MinToken:
			case rel.Op == cql.Less:
				r.End = before(t)
			default:
				r.End = t
			}
		case cql.Eq:
			r.Start, r.End = before(t), t
		}
	}
	return r, r.Start >= r.End, nil
}

// before is the token before t; MinToken, which no partition has, is before itself.
func before(t vnodes.Token) vnodes.Token {
	if t == vnodes.MinToken {
		return t
	}
	return t - 1
}

// after is the first place behind everything that begins with prefix; nil is the end of the partition.
func after(prefix []byte) []byte {
	if len(prefix) == 0 {
		return nil
	}
	return append(slices.Clip(prefix), 0xFF)
}

// Slices gives the clustering slices that are asked for, ascending and disjoint. None, with empty false, is the whole
// partition.
func (w *Where) Slices(env *Env) (out []storage.Slice, empty bool, err error) {
	if len(w.Clustering) == 0 {
		return nil, false, nil
	}
	point, rest, err := w.point(env)
	if err != nil {
		return nil, false, err
	}
	if len(rest) == 0 {
		end := after
		if len(w.Clustering) == len(w.Table.Clustering) {
			end = exactly
		}
		return []storage.Slice{{Start: point, End: end(point)}}, false, nil
	}
	prefixes := [][]byte{point}
	for i := range rest {
		r := &rest[i]
		if !r.Slice() {
			if prefixes, err = w.extend(env, r, prefixes); err != nil || len(prefixes) == 0 {
				return nil, true, err
			}
			continue
		}
		for _, p := range prefixes {
			list, err := w.intervals(env, r, p)
			if err != nil {
				return nil, false, err
			}
			if out = append(out, list...); len(out) > MaxSlices {
				return nil, false, tooMany(r.Relations[0], len(out))
			}
		}
		return out, len(out) == 0, nil
	}
	end := after
	if w.restricted() == len(w.Table.Clustering) {
		end = exactly
	}
	out = make([]storage.Slice, len(prefixes))
	for i, p := range prefixes {
		out[i] = storage.Slice{Start: p, End: end(p)}
	}
	return out, len(out) == 0, nil
}

// Row gives the clustering key of the one row that is named by an = for each clustering column, which is the hot path of writes; false: that is not so.
func (w *Where) Row(env *Env) (key []byte, ok bool, err error) {
	if len(w.Clustering) != len(w.Table.Clustering) {
		return nil, false, nil
	}
	if len(w.Clustering) == 0 {
		return []byte{}, true, nil
	}
	key, rest, err := w.point(env)
	return key, err == nil && len(rest) == 0, err
}

// restricted is how many clustering columns are restricted, from the first on.
func (w *Where) restricted() (n int) {
	for i := range w.Clustering {
		n = max(n, w.Clustering[i].From+len(w.Clustering[i].Columns))
	}
	return n
}

// exactly is the end of the interval that holds key and nothing else. Storage knows it for what it is.
func exactly(key []byte) []byte { return append(slices.Clone(key), 0) }

// point encodes the leading columns that are restricted by a plain = each, which is the hot path; rest are the
// restrictions after them.
func (w *Where) point(env *Env) (key []byte, rest []Restriction, err error) {
	rest, sum := w.Clustering, 0
	for len(rest) > 0 {
		r := rest[0].Relations[0]
		if r.Op != cql.Eq || len(r.Columns) != 1 || r.Operand.Whole != nil {
			break
		}
		v, err := value(env, r.Operand.Parts[0], r.Columns[0])
		if err != nil {
			return nil, nil, err
		}
		if sum += len(v); sum > schema.MaxKey {
			return nil, nil, at(rest[0].Relations[0].text, "The sum of all clustering columns is too long (%d > %d)", sum, schema.MaxKey)
		}
		if key == nil {
			key = make([]byte, 0, 16*len(rest)+len(v))
		}
		col := r.Columns[0]
		if key, err = col.Type.AppendKey(key, v, col.Desc); err != nil {
			return nil, nil, at(r.text, "Invalid value for column %s: %v", col.Name, err)
		}
		rest = rest[1:]
	}
	return key, rest, nil
}

// place is where a clustering column is restricted.
func (w *Where) place(position int) cql.Node {
	for i := range w.Clustering {
		if r := &w.Clustering[i]; position < r.From+len(r.Columns) {
			return r.Relations[0].text
		}
	}
	return cql.Pos{}
}

// extend appends each value that r allows to each prefix; sorted, each once.
func (w *Where) extend(env *Env, r *Restriction, prefixes [][]byte) ([][]byte, error) {
	points, err := r.Relations[0].points(env)
	if err != nil {
		return nil, err
	}
	if n := len(prefixes) * len(points); n > MaxProduct {
		return nil, tooMany(r.Relations[0], n)
	}
	out := make([][]byte, 0, len(prefixes)*len(points))
	for _, p := range prefixes {
		for _, values := range points {
			key, err := w.encode(p, r.From, values)
			if err != nil {
				return nil, err
			}
			out = append(out, key)
		}
	}
	if len(out) > 1 {
		slices.SortFunc(out, bytes.Compare)
		out = slices.CompactFunc(out, bytes.Equal)
	}
	return out, nil
}

// encode appends clustering values from a position on to a copy of prefix.
func (w *Where) encode(prefix []byte, from int, values [][]byte) ([]byte, error) {
	key := slices.Grow(slices.Clone(prefix), 16*len(values))
	sum := 0
	for i, v := range values {
		col := w.Table.Clustering[from+i]
		if sum += len(v); sum > schema.MaxKey {
			return nil, at(w.place(from+i), "The sum of all clustering columns is too long (%d > %d)", sum, schema.MaxKey)
		}
		var err error
		if key, err = col.Type.AppendKey(key, v, col.Desc); err != nil {
			return nil, at(w.place(from+i), "Invalid value for column %s: %v", col.Name, err)
		}
	}
	return key, nil
}

// intervals gives the runs of keys with a prefix that a slice's bounds leave. Columns may be ordered differently, so
// one bound on several columns can leave several runs: (a, b) > (1, 2) is a = 1 and b > 2, or a > 1.
func (w *Where) intervals(env *Env, r *Restriction, prefix []byte) ([]storage.Slice, error) {
	list := []storage.Slice{{Start: prefix, End: after(prefix)}}
	for _, rel := range r.Relations {
		if rel.gap() {
			runs, err := w.around(env, rel, r.From, prefix)
			if err != nil {
				return nil, err
			}
			list = intersect(list, runs)
			continue
		}
		values, err := rel.Operand.eval(env, rel.Columns)
		if err != nil {
			return nil, err
		}
		var bound []storage.Slice
		for i := range values {
			inclusive := i == len(values)-1 && (rel.Op == cql.GreaterEq || rel.Op == cql.LessEq)
			s, err := w.beyond(prefix, r.From, values[:i+1], low(rel.Op), inclusive)
			if err != nil {
				return nil, err
			}
			bound = append(bound, s)
		}
		list = intersect(list, join(bound))
	}
	return list, nil
}

// around gives the runs of keys with a prefix that != and NOT IN leave: what lies between the values.
func (w *Where) around(env *Env, rel *Relation, from int, prefix []byte) ([]storage.Slice, error) {
	points, err := rel.allPoints(env)
	if err != nil {
		return nil, err
	}
	if len(points) > MaxProduct {
		return nil, tooMany(rel, len(points))
	}
	var holes, runs []storage.Slice
	for _, values := range points {
		key, err := w.encode(prefix, from, values)
		if err != nil {
			return nil, err
		}
		holes = append(holes, storage.Slice{Start: key, End: after(key)})
	}
	start := prefix
	for _, hole := range join(holes) {
		runs = append(runs, storage.Slice{Start: start, End: hole.Start})
		start = hole.End
	}
	return join(append(runs, storage.Slice{Start: start, End: after(prefix)})), nil
}

// beyond gives the keys that share all but the last value and lie beyond it: above for a low bound, below for a high
// one.
func (w *Where) beyond(prefix []byte, from int, values [][]byte, above, inclusive bool) (storage.Slice, error) {
	n := len(values) - 1
	shared, err := w.encode(prefix, from, values[:n])
	if err != nil {
		return storage.Slice{}, err
	}
	key, err := w.encode(shared, from+n, values[n:])
	if err != nil {
		return storage.Slice{}, err
	}
	if above == w.Table.Clustering[from+n].Desc {
		// Those beyond come first in storage order.
		if inclusive {
			key = after(key)
		}
		return storage.Slice{Start: shared, End: key}, nil
	}
	if !inclusive {
		key = after(key)
	}
	return storage.Slice{Start: key, End: after(shared)}, nil
}

// less compares ends, where nil is the last.
func less(a, b []byte) bool {
	switch {
	case a == nil:
		return false
	case b == nil:
		return true
	}
	return bytes.Compare(a, b) < 0
}

// join puts runs in order and merges neighbours that touch; empty ones are left out.
func join(list []storage.Slice) []storage.Slice {
	slices.SortFunc(list, func(a, b storage.Slice) int { return bytes.Compare(a.Start, b.Start) })
	out := list[:0:0]
	for _, s := range list {
		if s.End != nil && bytes.Compare(s.Start, s.End) >= 0 {
			continue
		}
		if n := len(out); n > 0 && (out[n-1].End == nil || bytes.Compare(s.Start, out[n-1].End) <= 0) {
			if less(out[n-1].End, s.End) {
				out[n-1].End = s.End
			}
			continue
		}
		out = append(out, s)
	}
	return out
}

// intersect gives what lies in both lists, which are ascending and disjoint.
func intersect(a, b []storage.Slice) []storage.Slice {
	var out []storage.Slice
	for i, j := 0, 0; i < len(a) && j < len(b); {
		s := storage.Slice{Start: a[i].Start, End: a[i].End}
		if bytes.Compare(s.Start, b[j].Start) < 0 {
			s.Start = b[j].Start
		}
		if less(b[j].End, s.End) {
			s.End = b[j].End
		}
		if s.End == nil || bytes.Compare(s.Start, s.End) < 0 {
			out = append(out, s)
		}
		if less(a[i].End, b[j].End) {
			i++
		} else {
			j++
		}
	}
	return out
}
