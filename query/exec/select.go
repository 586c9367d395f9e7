package exec

import (
	"bytes"
	"slices"

	"nodedb/coordinator"
	"nodedb/coordinator/consistency"
	"nodedb/node/fault"
	"nodedb/node/row"
	"nodedb/node/storage"
	"nodedb/query/plan"
	"nodedb/query/schema"
	"nodedb/query/types"
	"nodedb/query/wire"
	"nodedb/vnodes"
)

const cannotSortPages = "Cannot page queries with both ORDER BY and a IN restriction on the partition key; " +
	"you must either remove the ORDER BY or the IN and sort client side, or disable paging for this query"

func (r *request) selectRows(sel *plan.Select) (*Result, error) {
	if err := checkReadLevel(r.params.Level); err != nil {
		return nil, err
	}
	if err := r.guardSelect(sel); err != nil {
		return nil, err
	}
	w := &walk{lends: true}
	err := w.open(r, sel)
	switch {
	case err != nil:
	case sel.Table.Virtual:
		err = r.virtualRows(w)
	default:
		err = w.run()
	}
	w.ahead.drain()
	if err != nil {
		return nil, err
	}
	w.warnOfTombstones()
	res := &Result{}
	w.result(res)
	res.home, res.lent = &r.x.results, w.lent
	w.leaveRoom()
	return res, nil
}

func checkReadLevel(l consistency.Level) error {
	if l == consistency.Any {
		return wire.Errorf(wire.CodeInvalid, "ANY ConsistencyLevel is only supported for writes")
	}
	return nil
}

// open begins a walk: at the start, or where the client's page state says.
func (w *walk) open(r *request, sel *plan.Select) error {
	w.r, w.sel, w.o = r, sel, &w.output
	w.output.init(sel, &r.env)
	r.env.Row.KeyValues = w.keyValues[:0]
	if err := r.limits(w.o); err != nil {
		return err
	}
	if err := sel.Where.Check(&r.env); err != nil {
		return err
	}
	if len(r.params.PageState) > 0 {
		state, err := decodePageState(r.params.PageState, statementHash(r.plan, &r.env))
		if err != nil {
			return err
		}
		w.resume(state)
	}
	return nil
}

// result gives what the walk has gathered.
func (w *walk) result(res *Result) {
	o, r := w.o, w.r
	if w.sel.Sort != nil {
		o.sort()
	}
	*res = Result{Kind: ResultRows, Columns: r.plan.Columns, Rows: o.rows, RowCount: o.count}
	if w.next != nil && o.left != 0 {
		w.next.statement, w.next.left = statementHash(r.plan, &r.env), o.left
		res.PageState = w.next.append(nil)
	}
}

// limits evaluates LIMIT, PER PARTITION LIMIT and the page size.
func (r *request) limits(o *output) (err error) {
	if o.left, err = r.limit(o.sel.Limit, "LIMIT", "limit"); err != nil {
		return err
	}
	if o.perLimit, err = r.limit(o.sel.PerPartition, "PER PARTITION LIMIT", "per partition limit"); err != nil {
		return err
	}
	if r.params.PageSize > 0 {
		o.wanted = r.params.PageSize
	}
	if o.sel.Grouped && o.sel.GroupBy == 0 {
		o.wanted = -1 // one row
	}
	if o.sel.Sort != nil && o.wanted >= 0 {
		o.unsortable = o.left < 0 || o.left > o.wanted
		o.wanted = -1
	}
	return nil
}

func (r *request) limit(x *plan.Expr, name, noun string) (int, error) {
	if x == nil {
		return -1, nil
	}
	v, err := x.Eval(&r.env)
	switch {
	case err != nil:
		return 0, err
	case plan.IsUnset(v):
		return -1, nil
	case len(v) != 4:
		return 0, x.Errorf("Invalid null value of %s", noun)
	}
	n := int(types.Int32(v))
	if n <= 0 {
		return 0, x.Errorf("%s must be strictly positive", name)
	}
	return n, nil
}

// walk reads what a SELECT asks for, page by page, and feeds its output.
type walk struct {
	r   *request
	sel *plan.Select
	o   *output

	// Room of o and of the partition key's values.
	output    output
	rows      []byte  // of output.rows, or nil
	lends     bool    // the result can be released: its rows may lie in what another left
	lent      *[]byte // where they lie
	keyValues [2][]byte

	after *row.Position // where the next read goes on
	last  place         // behind the last row that is in the output
	next  *pageState    // where the client's next page goes on; nil: there is none

	// The partition being walked. It may span several reads. key aliases a page.
	inside  bool
	token   vnodes.Token
	key     []byte
	sawRow  bool // it has live rows
	statics bool // it has live statics

	reader row.PageReader
	ahead  *ahead // nil: pages are read one after the other
	room   *room  // where the page lies; nil: in memory of its own
	arena  []byte
	reads  int

	tombstones int  // met so far, of an aggregate in this page of the replicas
	dropped    bool // the table has had columns that are gone: their cells don't make a row live
	wantKey    bool
	wantRows   bool // clustering values are looked at

	rank map[string]int // of a system table: the order of the partitions that IN names; nil without
}

// place is a position, and what a page that begins there has to know of its partition.
type place struct {
	row.Position
	sawRow  bool
	emitted int
}

// resume goes on from a client's page state.
func (w *walk) resume(s *pageState) {
	w.after, w.o.left = &s.position, s.left
	w.last = place{s.position, s.sawRow, s.emitted}
	if s.position.Done || s.position.Clustering == nil {
		return
	}
	w.inside, w.token, w.key = true, s.position.Token, s.position.Key
	w.sawRow, w.o.emitted = s.sawRow, s.emitted
}

// onlyRow is the slice of the one row that a partition without clustering columns has.
var onlyRow = []storage.Slice{{Start: []byte{}, End: []byte{0}}}

func (w *walk) run() error {
	if w.sel.Where.Keys == nil {
		return w.tokens()
	}
	partitions, err := w.partitions() // before the rows' restrictions: what names no partition is an answer, whatever is null behind it
	if err != nil || len(partitions) == 0 {
		return w.end(err)
	}
	var spec storage.ReadSpec
	empty, err := w.specify(&spec)
	if err != nil || empty {
		return w.end(err)
	}
	if w.o.unsortable {
		return wire.Errorf(wire.CodeInvalid, cannotSortPages)
	}
	for _, p := range partitions {
		spec.Token, spec.Key = p.Token, p.Key
		stopped, err := w.read(&spec)
		if err != nil || stopped {
			return err
		}
	}
	return w.end(nil)
}

// tokens walks a range of tokens.
func (w *walk) tokens() error {
	var spec storage.ReadSpec
	empty, err := w.specify(&spec)
	if err != nil || empty {
		return w.end(err)
	}
	if spec.Range, empty, err = w.sel.Where.Range(&w.r.env); err != nil || empty {
		return w.end(err)
	}
	w.readAhead(&spec)
	stopped, err := w.read(&spec)
	if err != nil || stopped {
		return err
	}
	return w.end(nil)
}

// specify says what is read of each partition. empty: nothing of any.
func (w *walk) specify(spec *storage.ReadSpec) (empty bool, err error) {
	t := w.sel.Table
	w.dropped = int(t.NextColumn)-1 != len(t.Statics)+len(t.Regulars)
	w.wantKey, w.wantRows = w.sel.UsesKey, w.sel.UsesClustering
	w.o.straight = w.everyRow() && !w.sel.Distinct && w.o.perLimit < 0
	w.r.env.Row.Table, w.r.env.Row.Now = t, w.r.env.Now
	if err := w.goOnInside(); err != nil {
		return false, err
	}
	*spec = storage.ReadSpec{Storage: t.Storage, NoRows: w.sel.Distinct, Reverse: w.sel.Reverse, Now: w.r.env.Now,
		Count: w.sel.Counts && !w.dropped}
	if w.o.straight {
		spec.Columns = w.sel.Regulars
	}
	if spec.Slices, empty, err = w.sel.Where.Slices(&w.r.env); err == nil && w.sel.Where.Keys != nil && len(t.Clustering) == 0 {
		spec.Slices = onlyRow
	}
	return empty, err
}

// goOnInside gives env the partition that the client's page goes on in: its row may still be owed, by a DISTINCT, when nothing more is read of it.
func (w *walk) goOnInside() (err error) {
	if !w.inside {
		return nil
	}
	r := &w.r.env.Row
	if r.Token, r.Key = w.token, w.key; w.wantKey {
		r.KeyValues, err = w.sel.Table.SplitPartitionKey(r.KeyValues, w.key)
	}
	return err
}

// partitions are those that are named and that earlier pages have not read.
func (w *walk) partitions() ([]plan.Partition, error) {
	partitions, err := w.sel.Where.Partitions(&w.r.env)
	if err != nil {
		return nil, err
	}
	return w.remaining(partitions)
}

// onePartition is the only partition, and what is read of it. False: there is none or there are several, or the statement is refused.
func (w *walk) onePartition(spec *storage.ReadSpec) (p plan.Partition, ok bool) {
	if empty, err := w.specify(spec); empty || err != nil {
		return p, false
	}
	if w.after == nil && len(w.sel.Where.Tokens) == 0 {
		p, ok, err := w.sel.Where.Single(&w.r.env)
		return p, ok && err == nil
	}
	partitions, err := w.partitions()
	if err != nil || len(partitions) != 1 {
		return p, false
	}
	return partitions[0], true
}

// end finishes the output when everything was read.
func (w *walk) end(err error) error {
	if err != nil {
		return err
	}
	return w.o.finish()
}

// remaining leaves out the partitions that earlier pages read.
func (w *walk) remaining(list []plan.Partition) ([]plan.Partition, error) {
	if w.after == nil {
		return list, nil
	}
	i := slices.IndexFunc(list, func(p plan.Partition) bool { return bytes.Equal(p.Key, w.after.Key) })
	if i < 0 {
		return nil, badState("it names a partition that the statement doesn't")
	}
	if w.after.Done {
		w.after = nil
		i++
	}
	return list[i:], nil
}

// read walks one partition, or a range of tokens, to its end. stopped says that the client's page ends before it.
func (w *walk) read(spec *storage.ReadSpec) (stopped bool, err error) {
	for ended := false; !ended; {
		w.shape(spec)
		page, err := w.fetch(spec)
		if err != nil {
			return false, err
		}
		if ended, stopped, err = w.take(page); err != nil {
			return true, err
		}
	}
	return stopped, nil
}

// take takes one page of a partition or range. ended: no more is needed of it, stopped: because the client's page ends before it.
func (w *walk) take(page []byte) (ended, stopped bool, err error) {
	stop, full, err := w.page(page)
	if err != nil || full {
		return true, true, err
	}
	if w.after = stop; stop == nil || fault.Planted("exec/short-page-ends-the-read") {
		stopped, err = w.leave()
		return true, stopped, err
	}
	if w.exhausted() {
		w.pause(place{*stop, w.sawRow, w.o.emitted})
		return true, true, nil
	}
	return false, false, nil
}

// exhausted reports whether a paged SELECT has read so much that its page ends short rather than late.
func (w *walk) exhausted() bool {
	return w.o.wanted >= 0 && w.reads >= MaxReads && !w.o.open
}

// shape gives a read its limits: replicas stop early only where each live row of theirs is a row of the result.
func (w *walk) shape(spec *storage.ReadSpec) {
	spec.After, spec.RowLimit, spec.PartitionRows = w.after, 0, 0
	if !w.everyRow() {
		return
	}
	if w.o.wanted >= 0 {
		spec.RowLimit = w.o.wanted - w.o.count + 1 // one more tells whether there is another page
	}
	if w.o.left >= 0 && (spec.RowLimit == 0 || w.o.left < spec.RowLimit) {
		spec.RowLimit = w.o.left
	}
	if w.o.perLimit > 0 {
		spec.PartitionRows = w.o.perLimit
	}
}

// everyRow reports whether each live row that is read is a row of the result, in this order.
func (w *walk) everyRow() bool {
	return !w.sel.Grouped && len(w.sel.Where.Filters) == 0 && !w.dropped && w.sel.Sort == nil
}

// fetch reads the next page.
func (w *walk) fetch(spec *storage.ReadSpec) ([]byte, error) {
	if err := w.r.ctx.Err(); err != nil {
		return nil, err
	}
	if w.reads++; w.sel.Grouped {
		w.tombstones = 0 // else no large table could be counted
	}
	w.moveOut()
	if w.ahead != nil {
		return w.ahead.fetch(spec)
	}
	return w.await(w.begin(spec))
}

// reading is a page that is being read.
type reading struct {
	wait *waiter
	in   *room // nil: memory of its own
}

// begin asks for a page.
func (w *walk) begin(spec *storage.ReadSpec) (r reading) {
	req := coordinator.ReadRequest{Level: w.r.params.Level, Table: w.sel.Table, Spec: *spec, Trace: w.r.trace}
	if w.sel.Sort == nil { // else the rows' keys are looked at when all pages were read
		if r.in = w.r.x.rooms.take(spec); r.in != nil {
			req.Room = r.in.bytes
		}
	}
	r.wait = w.r.x.newWaiter()
	w.r.x.cluster.Read(w.r.ctx, &req, r.wait.onRead)
	return r
}

// await gives the page that was asked for. It lies in w.room, or in memory of its own.
func (w *walk) await(r reading) ([]byte, error) {
	page, err := r.wait.wait()
	switch {
	case r.in == nil:
	case err == nil && r.in.holds(page):
		w.room = r.in
	default:
		w.r.x.rooms.leave(r.in, false)
	}
	return page, err
}

// page walks one page. stop is where it ended early; full says that the client's page ends here.
func (w *walk) page(page []byte) (stop *row.Position, full bool, err error) {
	w.reader.Reset(page)
	if w.o.rows == nil && !w.sel.Grouped {
		w.o.rows = w.roomForRows(w.o.sizeOf(page))
	}
	for !full && err == nil {
		var event row.Event
		if event, err = w.reader.Next(); err != nil {
			break
		}
		switch event {
		case row.PagePartition:
			full, err = w.enter()
		case row.PageRow:
			full, err = w.row()
		case row.PageCount:
			full, err = w.counted(w.reader.Count)
		case row.PagePicked:
			full, err = w.picked()
		case row.PageEnd:
			if stop = w.reader.Stop(); stop == nil && w.ahead != nil {
				stop = w.ahead.partEnd()
			}
			if stop != nil && w.inside && (stop.Done || stop.Token != w.token || !bytes.Equal(stop.Key, w.key)) {
				full, err = w.leave()
			}
			return stop, full, err
		}
	}
	return nil, full, err
}

// pause ends the client's page at a place.
func (w *walk) pause(p place) {
	w.next = &pageState{sawRow: p.sawRow, emitted: p.emitted, position: p.Position}
}

// enter begins a partition, or goes on with the one that the last page ended in.
func (w *walk) enter() (full bool, err error) {
	if !w.inside || w.reader.Token != w.token || !bytes.Equal(w.reader.Key, w.key) {
		if full, err = w.leave(); err != nil || full {
			return full, err
		}
		w.inside, w.sawRow, w.token = true, false, w.reader.Token
		w.o.emitted = 0
		if n := len(w.reader.Header.Ranges); n > 0 {
			if err := w.buried(n); err != nil {
				return false, err
			}
		}
	}
	w.key = w.reader.Key
	r := &w.r.env.Row
	r.Token, r.Key, r.Clustering = w.token, w.key, nil
	r.Static = w.reader.Header.Static.Index()
	w.statics = w.live(&r.Static, w.reader.Header.Static)
	if w.wantKey {
		r.KeyValues, err = w.sel.Table.SplitPartitionKey(r.KeyValues, w.key)
	}
	return false, err
}

// leave ends a partition. One without live rows is a row all the same when it has statics and the statement asks for
// whole partitions.
func (w *walk) leave() (full bool, err error) {
	if !w.inside {
		return false, nil
	}
	w.inside = false
	done := place{Position: row.Position{Token: w.token, Key: w.key, Done: true}}
	if w.sel.Distinct && (w.sawRow || w.statics) || !w.sawRow && w.statics && !w.sel.Where.OnRows {
		if w.o.full() && !w.o.open {
			if fault.Planted("exec/static-row-lost-at-page-edge") {
				w.last = done
			}
			w.pause(w.last)
			return true, nil
		}
		r := &w.r.env.Row
		r.Clustering, r.Cells, w.o.view, w.o.order = nil, row.View(nil).Index(), nil, nil
		if _, err := w.o.add(nil); err != nil {
			return false, err
		}
		w.last = done
	}
	closed, err := w.o.endPartition()
	if closed {
		w.last = done
	}
	return w.o.left == 0, err
}

// row takes one row of the current partition.
func (w *walk) row() (full bool, err error) {
	if w.o.straight {
		if l := w.o.layouts.of(w.reader.Row); l != nil {
			return w.laid(l)
		}
	}
	r := &w.r.env.Row
	w.o.view = w.reader.Row
	r.Cells.Reset(w.reader.Row)
	if !w.live(&r.Cells, w.reader.Row) {
		return false, w.buried(1)
	}
	w.sawRow = true
	if w.sel.Distinct || w.o.skipsPartition() {
		return false, nil
	}
	if w.o.full() && !w.o.open {
		w.endBeforeRow()
		return true, nil
	}
	if err = w.splitClustering(); err != nil {
		return false, err
	}
	if err = w.sortKey(w.reader.Clustering); err != nil {
		return false, err
	}
	prefix, err := w.groupPrefix()
	if err != nil {
		return false, err
	}
	count := w.o.count
	before, err := w.o.add(prefix)
	if err != nil {
		return false, err
	}
	if before {
		w.pause(place{row.Position{Token: w.token, Key: w.key, Clustering: w.reader.Clustering, Inclusive: true}, true, w.o.emitted})
		return true, nil
	}
	if w.o.count > count {
		w.noteLast()
	}
	return w.o.left == 0, nil
}

// endBeforeRow ends the client's page in front of the row at hand, which is beyond it.
func (w *walk) endBeforeRow() {
	if fault.Planted("exec/page-state-skips-a-row") {
		w.noteLast()
	}
	w.pause(w.last)
}

// splitClustering gives env the clustering values of the row at hand, where they are looked at.
func (w *walk) splitClustering() (err error) {
	if w.wantRows {
		r := &w.r.env.Row
		r.Clustering, w.arena, err = w.sel.Table.SplitClusteringInto(r.Clustering, w.arena[:0], w.reader.Clustering)
	}
	return err
}

// counted takes live rows of the current partition that a replica counted: the first as any row, the others by their number.
func (w *walk) counted(rows int) (full bool, err error) {
	w.sawRow = true
	if w.o.full() && !w.o.open { // there is a group beyond the page
		w.pause(w.last)
		return true, nil
	}
	if _, err := w.o.fold(nil); err != nil { // groups end with their partitions: no other one is open
		return false, err
	}
	for i := range w.o.accumulators {
		w.o.accumulators[i].AddCounted(rows - 1)
	}
	return false, nil
}

// noteLast remembers the place behind the row just given. It writes few pointers: each costs a write barrier while the
// collector runs.
func (w *walk) noteLast() {
	if !w.last.sawRow || w.last.Done || w.last.Token != w.token || !sameBytes(w.last.Key, w.key) {
		w.last = place{row.Position{Token: w.token, Key: w.key}, true, 0}
	}
	w.last.Clustering, w.last.Inclusive, w.last.emitted = w.reader.Clustering, fault.Planted("exec/page-state-repeats-a-row"), w.o.emitted
}

// sameBytes reports whether two slices are the same memory.
func sameBytes(a, b []byte) bool { return len(a) == len(b) && len(a) > 0 && &a[0] == &b[0] }

// sortKey notes what the row at hand is sorted by.
func (w *walk) sortKey(clustering []byte) (err error) {
	if w.sel.Sort != nil {
		w.o.order, err = prefixOf(w.sel.Table, clustering, w.sel.Sort[len(w.sel.Sort)-1]+1)
	}
	return err
}

// groupPrefix is the part of the clustering key that GROUP BY looks at.
func (w *walk) groupPrefix() ([]byte, error) {
	n := w.sel.GroupBy - len(w.sel.Table.PartitionKey)
	if n <= 0 {
		return nil, nil
	}
	return prefixOf(w.sel.Table, w.reader.Clustering, n)
}

// prefixOf gives the encoding of the first n clustering columns.
func prefixOf(t *schema.Table, key []byte, n int) ([]byte, error) {
	rest := key
	for _, c := range t.Clustering[:n] {
		var err error
		if _, rest, err = c.Type.DecodeKey(rest, c.Desc); err != nil {
			return nil, err
		}
	}
	return key[:len(key)-len(rest)], nil
}

// live reports whether a row exists now. Cells of dropped columns don't count.
func (w *walk) live(x *row.Index, v row.View) bool {
	if len(v) == 0 {
		return false
	}
	if !w.dropped {
		return x.LiveAt(w.r.env.Now)
	}
	for i := range x.Len() {
		cell := x.At(i)
		if _, known := w.sel.Table.ColumnByID(cell.Column); (known || cell.Column == row.Marker) && cell.LiveAt(w.r.env.Now) {
			return true
		}
	}
	return false
}

// sort puts the rows of several partitions in order, and applies LIMIT.
func (o *output) sort() {
	slices.SortStableFunc(o.keys, func(a, b sortKey) int {
		if o.sel.Reverse {
			return bytes.Compare(b.key, a.key)
		}
		return bytes.Compare(a.key, b.key)
	})
	if o.left >= 0 && len(o.keys) > o.left {
		o.keys = o.keys[:o.left]
	}
	sorted := make([]byte, 0, len(o.rows))
	for _, k := range o.keys {
		sorted = append(sorted, o.rows[k.from:k.to]...)
	}
	o.rows, o.count = sorted, len(o.keys)
}
