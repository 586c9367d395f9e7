package query

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"nodedb/vnodes"
)

// twin is a deliberately naive table (k, c, d) -> v with a static s, in which statements take effect one after the
// other.
type twin map[int]*twinPartition

type twinPartition struct {
	static *int
	rows   map[[2]int]*twinRow
}

type twinRow struct {
	marker bool
	v      *int
}

func (r *twinRow) exists() bool { return r.marker || r.v != nil }

func (t twin) partition(k int) *twinPartition {
	if t[k] == nil {
		t[k] = &twinPartition{rows: map[[2]int]*twinRow{}}
	}
	return t[k]
}

func (t twin) row(k, c, d int) *twinRow {
	p := t.partition(k)
	if p.rows[[2]int{c, d}] == nil {
		p.rows[[2]int{c, d}] = &twinRow{}
	}
	return p.rows[[2]int{c, d}]
}

// shown is one row of an answer: k, c, d, s, v; nil is null.
type shown [5]*int

func (s shown) String() string {
	var b strings.Builder
	for i, v := range s {
		if i > 0 {
			b.WriteByte(' ')
		}
		if v == nil {
			b.WriteString("null")
		} else {
			fmt.Fprint(&b, *v)
		}
	}
	return b.String()
}

// restriction is one restriction of a query: its CQL, and what it says of a row.
type restriction struct {
	text   string
	holds  func(s shown) bool
	onRows bool
}

// question is a SELECT: its CQL is put together from the same parts that the twin evaluates.
type question struct {
	keys      []int // nil: all
	relations []restriction
	filtering bool
	desc      bool
	per       int
	limit     int
	group     int // 0, or GROUP BY so many key columns
	distinct  bool
	regular   bool // SELECT v: what replicas may pick from rows
}

func (q *question) cql() string {
	what := "k, c, d, s, v"
	switch {
	case q.distinct:
		what = "DISTINCT k, s"
	case q.regular:
		what = "v, v"
	case q.group > 0:
		what = strings.Join([]string{"k", "c", "d"}[:q.group], ", ") + ", count(*), sum(v)"
	}
	var where []string
	if q.keys != nil {
		where = append(where, "k IN ("+strings.Trim(strings.ReplaceAll(fmt.Sprint(q.keys), " ", ", "), "[]")+")")
		if len(q.keys) == 1 {
			where[0] = fmt.Sprintf("k = %d", q.keys[0])
		}
	}
	for _, r := range q.relations {
		where = append(where, r.text)
	}
	s := "SELECT " + what + " FROM t"
	if len(where) > 0 {
		s += " WHERE " + strings.Join(where, " AND ")
	}
	if q.group > 0 {
		s += " GROUP BY " + strings.Join([]string{"k", "c", "d"}[:q.group], ", ")
	}
	if q.desc {
		s += " ORDER BY c DESC"
	}
	if q.per > 0 {
		s += fmt.Sprintf(" PER PARTITION LIMIT %d", q.per)
	}
	if q.limit > 0 {
		s += fmt.Sprintf(" LIMIT %d", q.limit)
	}
	if q.filtering {
		s += " ALLOW FILTERING"
	}
	return s
}

func tokenOf(k int) vnodes.Token {
	return vnodes.PartitionToken(binary.BigEndian.AppendUint32(nil, uint32(int32(k))))
}

// answer is what the twin says, a line a row.
func (t twin) answer(q *question) []string {
	keys := slices.Clone(q.keys)
	if q.keys == nil {
		for k := range t {
			keys = append(keys, k)
		}
		slices.SortFunc(keys, func(a, b int) int { return cmp.Compare(tokenOf(a), tokenOf(b)) })
	} else {
		slices.Sort(keys)
		keys = slices.Compact(keys)
	}
	var out []string
	for _, k := range keys {
		out = append(out, t.partitionAnswer(q, k)...)
	}
	if q.limit > 0 && len(out) > q.limit {
		out = out[:q.limit]
	}
	return out
}

func (t twin) partitionAnswer(q *question, k int) []string {
	p := t[k]
	if p == nil {
		return nil
	}
	var places [][2]int
	for at, r := range p.rows {
		if r.exists() {
			places = append(places, at)
		}
	}
	slices.SortFunc(places, func(a, b [2]int) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(b[1], a[1])) })
	if q.desc {
		slices.Reverse(places)
	}
	onRows := false
	for _, r := range q.relations {
		onRows = onRows || r.onRows
	}
	var rows []shown
	for _, at := range places {
		rows = append(rows, shown{&k, &at[0], &at[1], p.static, p.rows[at].v})
	}
	if q.distinct && len(rows) > 0 {
		rows = []shown{{&k, nil, nil, p.static, nil}}
	}
	if len(rows) == 0 && p.static != nil && !onRows {
		rows = []shown{{&k, nil, nil, p.static, nil}}
	}
	rows = slices.DeleteFunc(rows, func(s shown) bool {
		return slices.ContainsFunc(q.relations, func(r restriction) bool { return !r.holds(s) })
	})
	lines := q.lines(rows)
	if q.per > 0 && len(lines) > q.per {
		lines = lines[:q.per]
	}
	return lines
}

func (q *question) lines(rows []shown) (out []string) {
	if q.distinct {
		for _, r := range rows {
			out = append(out, fmt.Sprint(shown{r[0]}.first(), " ", shown{r[3]}.first()))
		}
		return out
	}
	if q.group == 0 {
		for _, r := range rows {
			if out = append(out, r.String()); q.regular {
				v := shown{r[4]}.first()
				out[len(out)-1] = v + " " + v
			}
		}
		return out
	}
	last, count, sum := "", 0, 0
	flush := func() {
		if count > 0 {
			out = append(out, fmt.Sprintf("%s %d %d", last, count, sum))
		}
	}
	for _, r := range rows {
		key := strings.Join(strings.Fields(r.String())[:q.group], " ")
		if key != last || count == 0 {
			flush()
			last, count, sum = key, 0, 0
		}
		count++
		if r[4] != nil {
			sum += *r[4]
		}
	}
	flush()
	return out
}

func (s shown) first() string { return strings.Fields(s.String())[0] }

func compareOp(op string, a, b int) bool {
	switch op {
	case "=":
		return a == b
	case "<":
		return a < b
	case "<=":
		return a <= b
	case ">":
		return a > b
	}
	return a >= b
}

func onColumn(i int, name, op string, n int, onRows bool) restriction {
	return restriction{text: fmt.Sprintf("%s %s %d", name, op, n), onRows: onRows,
		holds: func(s shown) bool { return s[i] != nil && compareOp(op, *s[i], n) }}
}

// clusteringRelations draws restrictions that follow the clustering key.
func clusteringRelations(t *rapid.T) []restriction {
	n := rapid.IntRange(0, 4)
	slice := rapid.SampledFrom([]string{"<", "<=", ">", ">="})
	switch rapid.IntRange(0, 6).Draw(t, "shape") {
	case 0:
		return []restriction{onColumn(1, "c", slice.Draw(t, "op"), n.Draw(t, "n"), true)}
	case 1:
		return []restriction{onColumn(1, "c", ">=", n.Draw(t, "lo"), true), onColumn(1, "c", "<", n.Draw(t, "hi"), true)}
	case 2:
		return []restriction{onColumn(1, "c", "=", n.Draw(t, "c"), true), onColumn(2, "d", slice.Draw(t, "op"), n.Draw(t, "d"), true)}
	case 3, 4:
		op, c, d := slice.Draw(t, "op"), n.Draw(t, "c"), n.Draw(t, "d")
		out := []restriction{{text: fmt.Sprintf("(c, d) %s (%d, %d)", op, c, d), onRows: true,
			holds: func(s shown) bool { return s[1] != nil && compareOp(op, *s[1]*100+*s[2], c*100+d) }}}
		if op[0] == '>' && rapid.Bool().Draw(t, "two") {
			out = append(out, restriction{text: fmt.Sprintf("(c) <= (%d)", c+2), onRows: true, holds: func(s shown) bool { return *s[1] <= c+2 }})
		}
		return out
	case 5:
		a, b, d := n.Draw(t, "a"), n.Draw(t, "b"), n.Draw(t, "d")
		return []restriction{{text: fmt.Sprintf("c IN (%d, %d)", a, b), onRows: true, holds: func(s shown) bool { return s[1] != nil && (*s[1] == a || *s[1] == b) }},
			onColumn(2, "d", "<=", d, true)}
	}
	return nil
}

func drawQuestion(t *rapid.T) *question {
	q := &question{}
	if rapid.Bool().Draw(t, "byKey") {
		q.keys = rapid.SliceOfN(rapid.IntRange(0, 4), 1, 3).Draw(t, "keys")
	}
	if q.keys == nil || len(q.keys) > 1 {
		q.desc = false
	} else {
		q.desc = rapid.Bool().Draw(t, "desc")
	}
	switch rapid.IntRange(0, 4).Draw(t, "kind") {
	case 0:
		q.group = rapid.IntRange(1, 3).Draw(t, "group")
	case 1:
		q.distinct, q.desc = true, false
	case 2, 3:
		q.regular = true
	}
	if q.keys != nil && !q.distinct {
		q.relations = clusteringRelations(t)
	}
	if !q.distinct && rapid.IntRange(0, 3).Draw(t, "filter") == 0 {
		q.filtering = true
		q.relations = append(q.relations, onColumn(4, "v", ">=", rapid.IntRange(0, 9).Draw(t, "v"), true))
	}
	if rapid.IntRange(0, 3).Draw(t, "fstatic") == 0 {
		q.filtering = true
		q.relations = append(q.relations, onColumn(3, "s", "<", rapid.IntRange(0, 9).Draw(t, "s"), false))
	}
	if !q.distinct && rapid.Bool().Draw(t, "per") {
		q.per = rapid.IntRange(1, 4).Draw(t, "perLimit")
	}
	if rapid.Bool().Draw(t, "limited") {
		q.limit = rapid.IntRange(1, 8).Draw(t, "limit")
	}
	return q
}

// drawWrite draws a write, gives its CQL and has the twin follow.
func drawWrite(t *rapid.T, w twin) string {
	small := rapid.IntRange(0, 4)
	k, c, d, v := small.Draw(t, "k"), small.Draw(t, "c"), small.Draw(t, "d"), rapid.IntRange(0, 9).Draw(t, "v")
	switch rapid.IntRange(0, 9).Draw(t, "write") {
	case 0:
		r := w.row(k, c, d)
		r.v = &v
		return fmt.Sprintf("UPDATE t SET v = %d WHERE k = %d AND c = %d AND d = %d", v, k, c, d)
	case 1:
		w.row(k, c, d).v = nil
		return fmt.Sprintf("UPDATE t SET v = null WHERE k = %d AND c = %d AND d = %d", k, c, d)
	case 2:
		delete(w.partition(k).rows, [2]int{c, d})
		return fmt.Sprintf("DELETE FROM t WHERE k = %d AND c = %d AND d = %d", k, c, d)
	case 3:
		for at := range w.partition(k).rows {
			if at[0] == c && at[1] > d {
				delete(w[k].rows, at)
			}
		}
		return fmt.Sprintf("DELETE FROM t WHERE k = %d AND c = %d AND d > %d", k, c, d)
	case 4:
		if v > 2 {
			w.partition(k).static = &v
			return fmt.Sprintf("INSERT INTO t (k, s) VALUES (%d, %d)", k, v)
		}
		w.partition(k).static = nil
		return fmt.Sprintf("DELETE s FROM t WHERE k = %d", k)
	case 5:
		if v == 0 {
			delete(w, k)
			return fmt.Sprintf("DELETE FROM t WHERE k = %d", k)
		}
		w.row(k, c, d).marker = true
		return fmt.Sprintf("INSERT INTO t (k, c, d) VALUES (%d, %d, %d)", k, c, d)
	}
	r := w.row(k, c, d)
	r.marker, r.v = true, &v
	return fmt.Sprintf("INSERT INTO t (k, c, d, v) VALUES (%d, %d, %d, %d)", k, c, d, v)
}

// ask runs a query and gives its rows as lines: all pages of it. run is one of the ways to have it answered.
func ask(t interface{ Fatalf(string, ...any) }, run func(text string, p *Params) (*Result, error), text string, page int) (out []string) {
	p := testParams()
	p.PageSize = page
	for pages := 0; ; pages++ {
		res, err := run(text, p)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if page > 0 && res.RowCount > page {
			t.Fatalf("%s: a page of %d rows, asked for %d", text, res.RowCount, page)
		}
		rows := res.Rows
		for range res.RowCount {
			var cells []string
			for _, c := range res.Columns {
				var v []byte
				v, rows = nextBytes(rows)
				cells = append(cells, string(c.Type.AppendText(nil, v)))
			}
			out = append(out, strings.Join(cells, " "))
		}
		if res.PageState == nil {
			return out
		}
		if p.PageState = res.PageState; pages > 1000 {
			t.Fatalf("%s: pages never end", text)
		}
	}
}

func TestSelectAgainstTwin(t *testing.T) {
	e, n := testEngine(t)
	s := &Session{}
	query := func(text string, p *Params) (*Result, error) { return e.Query(context.Background(), s, text, p) }
	begun := 0
	start := func(text string, p *Params) (*Result, error) {
		prepared, err := e.Prepare(context.Background(), s, text, "")
		if err != nil {
			return nil, err
		}
		res, started, err := startOrExecute(e, s, prepared.ID, p)
		if started {
			begun++
		}
		return res, err
	}
	run := func(text string) {
		if _, err := start(text, testParams()); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	run("CREATE KEYSPACE ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
	run("USE ks")
	run("CREATE TABLE t (k int, c int, d int, s int static, v int, PRIMARY KEY (k, c, d)) WITH CLUSTERING ORDER BY (c ASC, d DESC)")
	rapid.Check(t, func(t *rapid.T) {
		run("TRUNCATE t")
		w := twin{}
		for range rapid.IntRange(0, 40).Draw(t, "writes") {
			run(drawWrite(t, w))
		}
		for range 6 {
			q := drawQuestion(t)
			bytes := rapid.SampledFrom([]int{0, 0, 1, 40, 90}).Draw(t, "bytes")
			work := rapid.SampledFrom([]int{0, 0, 1, 3}).Draw(t, "work")
			n.mu.Lock() // not across a draw: rapid leaves those by a panic
			n.mu.byteLimit, n.mu.workLimit = bytes, work
			n.mu.Unlock()
			want := w.answer(q)
			for _, page := range []int{0, rapid.IntRange(1, 5).Draw(t, "page")} {
				for _, way := range []func(string, *Params) (*Result, error){query, start} {
					if got := ask(t, way, q.cql(), page); !slices.Equal(got, want) {
						t.Fatalf("%s\npages of %d\ngot\n%s\nwant\n%s", q.cql(), page, strings.Join(got, "\n"), strings.Join(want, "\n"))
					}
				}
			}
		}
	})
	if begun == 0 {
		t.Error("nothing was started")
	}
}
