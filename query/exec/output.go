package exec

import (
	"bytes"

	"nodedb/node/row"
	"nodedb/query/plan"
	"nodedb/query/types"
	"nodedb/query/wire"
	"nodedb/vnodes"
)

// output folds the rows of a SELECT into its result: filters, groups, limits. It is fed one row at a time, in order.
type output struct {
	sel *plan.Select
	env *plan.Env

	rows     []byte
	count    int
	wanted   int // rows of this page; -1: not paged
	left     int // rows that LIMIT allows still; -1: no limit
	perLimit int // PER PARTITION LIMIT; -1: none
	emitted  int // rows (groups) of the current partition given so far

	accumulators []plan.Accumulator
	open         bool // a group has begun
	groupToken   vnodes.Token
	groupKey     []byte
	groupPrefix  []byte

	layouts  layouts
	view     row.View // the row in env, as the page has it; nil: it has statics alone, or is of a system table
	straight bool     // each live row is a row of the result, whatever its values

	order      []byte    // with sel.Sort: what the row in env is sorted by; nil for one that has nothing but statics
	groupOrder []byte    // that of the open group's first row
	unsortable bool      // with sel.Sort: the result is asked for in pages, and isn't one
	keys       []sortKey // with sel.Sort: where each row of the result lies
	json       [][]byte
	ts         []*types.Type
}

// sortKey is one row of a result that is sorted in memory.
type sortKey struct {
	key      []byte
	from, to int
}

func (o *output) init(sel *plan.Select, env *plan.Env) {
	*o = output{sel: sel, env: env, wanted: -1, left: -1, perLimit: -1}
	if len(sel.Aggregates) > 0 {
		o.accumulators = make([]plan.Accumulator, len(sel.Aggregates))
		env.Aggregates = make([][]byte, len(sel.Aggregates))
	}
	if sel.JSON {
		for _, x := range sel.Exprs {
			o.ts = append(o.ts, x.Type)
		}
		o.json = make([][]byte, len(sel.Exprs))
	}
}

// full reports whether the page has all it should.
func (o *output) full() bool {
	return (o.wanted >= 0 && (o.count >= o.wanted || len(o.rows) >= MaxPage)) || o.left == 0
}

// skipsPartition reports whether PER PARTITION LIMIT leaves nothing more of the current partition.
func (o *output) skipsPartition() bool { return o.perLimit >= 0 && o.emitted >= o.perLimit && !o.open }

// add takes the row in env. prefix is its encoded clustering prefix as long as GROUP BY needs. before says that the
// page is full without the row: it has to come again on the next page.
func (o *output) add(prefix []byte) (before bool, err error) {
	ok, err := o.sel.Where.Match(o.env)
	if !ok || err != nil {
		return false, err
	}
	if o.sel.Grouped {
		return o.fold(prefix)
	}
	if o.perLimit >= 0 && o.emitted >= o.perLimit {
		return false, nil
	}
	return false, o.emit(o.order)
}

// fold adds the row to its group. A row of another group ends the open one first.
func (o *output) fold(prefix []byte) (before bool, err error) {
	if o.open && !o.sameGroup(prefix) {
		if err := o.closeGroup(); err != nil {
			return false, err
		}
		if o.full() {
			return true, nil
		}
	}
	if !o.open {
		if o.perLimit >= 0 && o.emitted >= o.perLimit {
			return false, nil
		}
		o.openGroup(prefix)
	}
	for i := range o.accumulators {
		if err := o.accumulators[i].Add(o.env); err != nil {
			return false, err
		}
	}
	return false, nil
}

func (o *output) sameGroup(prefix []byte) bool {
	if o.sel.GroupBy == 0 {
		return true
	}
	r := &o.env.Row
	return o.groupToken == r.Token && bytes.Equal(o.groupKey, r.Key) && bytes.Equal(o.groupPrefix, prefix)
}

func (o *output) openGroup(prefix []byte) {
	o.open = true
	o.groupToken = o.env.Row.Token
	o.groupKey = append(o.groupKey[:0], o.env.Row.Key...)
	o.groupPrefix = append(o.groupPrefix[:0], prefix...)
	o.groupOrder = o.order
	for i, a := range o.sel.Aggregates {
		o.accumulators[i].Reset(a)
	}
}

func (o *output) closeGroup() error {
	for i := range o.accumulators {
		o.env.Aggregates[i] = o.accumulators[i].Result()
	}
	o.open = false
	return o.emit(o.groupOrder)
}

// endPartition ends the group that the partition's last rows made up; a group never spans partitions. closed says that
// there was one.
func (o *output) endPartition() (closed bool, err error) {
	if o.sel.GroupBy == 0 || !o.open {
		return false, nil
	}
	return true, o.closeGroup()
}

// finish ends the result when nothing more is to be read: an aggregate without GROUP BY is one row, also over nothing.
func (o *output) finish() error {
	if !o.sel.Grouped || o.sel.GroupBy > 0 {
		return nil
	}
	if !o.open {
		o.openGroup(nil)
	}
	return o.closeGroup()
}

// emit appends the row in env (or the group's results) to the result, to be sorted by order.
func (o *output) emit(order []byte) error {
	from := len(o.rows)
	if l := o.layouts.of(o.view); l != nil {
		o.appendLaid(l, o.view)
	} else if err := o.appendRow(); err != nil {
		return err
	}
	if err := o.given(1); err != nil {
		return err
	}
	if o.sel.Sort != nil {
		o.keys = append(o.keys, sortKey{key: order, from: from, to: len(o.rows)})
	}
	return nil
}

// given counts the rows that were just appended.
func (o *output) given(rows int) error {
	if len(o.rows) > MaxResult {
		return wire.Errorf(wire.CodeInvalid, "The result is larger than %d MiB: page through it, or give a LIMIT", MaxResult>>20)
	}
	o.count += rows
	o.emitted += rows
	if o.left > 0 && o.sel.Sort == nil {
		o.left -= rows
	}
	return nil
}

// appendRow appends the row in env, value by value.
func (o *output) appendRow() error {
	if o.sel.JSON {
		return o.appendDocument()
	}
	for _, x := range o.sel.Exprs {
		v, err := x.Eval(o.env)
		if err != nil {
			return err
		}
		o.rows = types.AppendElement(o.rows, v)
	}
	if o.count >= emitFrom && !o.sel.Grouped {
		o.layouts.learn(o.sel, o.view)
	}
	return nil
}

// appendDocument appends the row in env as SELECT JSON gives it.
func (o *output) appendDocument() error {
	for i, x := range o.sel.Exprs {
		v, err := x.Eval(o.env)
		if err != nil {
			return err
		}
		o.json[i] = v
	}
	var mark int
	o.rows, mark = types.BeginElement(o.rows)
	o.rows = appendJSON(o.rows, o.sel.Names, o.ts, o.json)
	types.EndElement(o.rows, mark)
	return nil
}
