package check

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"nodedb/coordinator/consistency"
)

// schemas: all sessions make and drop the same tables, race to be the one that makes a table, and make tables and columns of their own. A name has one
// id, whoever asks; one wins a race; what was acknowledged is there.
type schemas struct {
	suite *Suite
	races []int // next race of a session
	made  []int // tables of its own
	mu    struct {
		sync.Mutex
		names map[string]*name
		order []string // of names, as they were first used
		first string   // the first final read
	}
}

const (
	// sharedNames are the tables that are made and dropped all the time.
	sharedNames = 3
	// maxRaces and maxOwn bound the tables of a run.
	maxRaces, maxOwn = 12, 6
)

// name is what is known of a table that is made once and never dropped.
type name struct {
	done, unknown int // CREATE TABLEs
	columns       []string
	id            string // as somebody saw it after an acknowledged CREATE
}

func newSchemas(s *Suite) *schemas {
	w := &schemas{suite: s, races: make([]int, s.o.Sessions), made: make([]int, s.o.Sessions)}
	w.mu.names = map[string]*name{}
	return w
}

func (w *schemas) tables() []string { return nil }

func (w *schemas) prepare(context.Context, *Session) error { return nil }

func (w *schemas) step(ctx context.Context, s *Session) {
	switch turn := s.rand.IntN(4); {
	case turn == 0 && w.races[s.id] < maxRaces:
		w.races[s.id]++
		w.create(ctx, s, fmt.Sprintf("race_%d", w.races[s.id]))
	case turn == 1 && w.made[s.id] < maxOwn:
		w.made[s.id]++
		w.create(ctx, s, fmt.Sprintf("own_%d_%d", s.id, w.made[s.id]))
	case turn == 2 && w.made[s.id] > 0:
		w.alter(ctx, s, fmt.Sprintf("own_%d_%d", s.id, w.made[s.id]))
	default:
		table := fmt.Sprintf("shared_%d", s.rand.IntN(sharedNames))
		text := "CREATE TABLE IF NOT EXISTS " + w.suite.table(table) + " (k int PRIMARY KEY, v text)"
		if s.rand.IntN(2) == 0 {
			text = "DROP TABLE IF EXISTS " + w.suite.table(table)
		}
		w.ddl(ctx, s, table, text)
	}
}

func (w *schemas) ddl(ctx context.Context, s *Session, table, text string) Outcome {
	return s.do(ctx, "table "+table, &Statement{CQL: text, Level: w.suite.o.Level}).Outcome
}

// known is what is known of a name, made if it is new.
func (w *schemas) known(table string) *name {
	n := w.mu.names[table]
	if n == nil {
		n = &name{}
		w.mu.names[table] = n
		w.mu.order = append(w.mu.order, table)
	}
	return n
}

func (w *schemas) create(ctx context.Context, s *Session, table string) {
	outcome := w.ddl(ctx, s, table, "CREATE TABLE "+w.suite.table(table)+" (k int PRIMARY KEY, v text)")
	w.mu.Lock()
	n := w.known(table)
	switch outcome {
	case Done:
		n.done++
	case Unknown:
		n.unknown++
	}
	w.mu.Unlock()
	if outcome != Done {
		return
	}
	ids, ok := w.query(ctx, s, table, fmt.Sprintf("SELECT id FROM system_schema.tables WHERE keyspace_name = '%s' AND table_name = '%s'",
		w.suite.o.Keyspace, table))
	if !ok || len(ids) != 1 { // the node asked may be another, and behind
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	n.id = ids[0]
}

func (w *schemas) alter(ctx context.Context, s *Session, table string) {
	column := fmt.Sprintf("c%d", s.rand.IntN(keySpan))
	if w.ddl(ctx, s, table, "ALTER TABLE "+w.suite.table(table)+" ADD "+column+" int") != Done {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.known(table)
	n.columns = append(n.columns, column)
}

// query reads a system table, of which every node has its own.
func (w *schemas) query(ctx context.Context, s *Session, table, cql string) ([]string, bool) {
	r := s.do(ctx, "table "+table, &Statement{CQL: cql, Level: consistency.One})
	return r.Rows, r.Outcome == Done
}

// final asks one node for all tables and columns. A node that was away may have to learn first, so a difference from what another node said is one only
// if it stays.
func (w *schemas) final(ctx context.Context, s *Session) {
	for attempt := 1; ; attempt++ {
		tables, ok := w.query(ctx, s, "all", fmt.Sprintf("SELECT table_name, id FROM system_schema.tables WHERE keyspace_name = '%s'", w.suite.o.Keyspace))
		columns, ok2 := w.query(ctx, s, "all", fmt.Sprintf("SELECT table_name, column_name FROM system_schema.columns WHERE keyspace_name = '%s'",
			w.suite.o.Keyspace))
		var wrong [][3]string
		if !ok || !ok2 {
			wrong = append(wrong, [3]string{RuleUnreadable, "all", "the schema tables"})
		} else {
			wrong = w.judge(tables, columns)
		}
		if len(wrong) == 0 {
			return
		}
		if attempt == finalAttempts || ctx.Err() != nil {
			for _, v := range wrong {
				w.suite.violation("schemas", v[0], "table "+v[1], v[2])
			}
			return
		}
		s.sleep(ctx, finalPause)
	}
}

// judge gives what is wrong with a node's tables (name|id) and columns (table|column): rule, table, why.
func (w *schemas) judge(tables, columns []string) (wrong [][3]string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	bad := func(rule, table, format string, args ...any) {
		wrong = append(wrong, [3]string{rule, table, fmt.Sprintf(format, args...)})
	}
	slices.Sort(tables)
	slices.Sort(columns)
	ids, holder := map[string]string{}, map[string]string{}
	for _, line := range tables {
		table, id, _ := strings.Cut(line, "|")
		if ids[table] != "" {
			bad("twice", table, "is there twice: %s and %s", ids[table], id)
		}
		if other := holder[id]; other != "" {
			bad("twice", table, "has the id of %s: %s", other, id)
		}
		ids[table], holder[id] = id, table
	}
	for _, table := range w.mu.order {
		n, id := w.mu.names[table], ids[table]
		switch {
		case n.done > 1:
			bad("twice", table, "%d sessions were told that they made it", n.done)
		case n.done == 1 && id == "":
			bad("lost", table, "was made, and isn't there")
		case n.done+n.unknown == 0 && id != "":
			bad("refused", table, "is there, and everybody was refused")
		case n.id != "" && n.id != id:
			bad("differs", table, "has the id %s, and was made with %s", id, n.id)
		}
		for _, c := range n.columns {
			if _, ok := slices.BinarySearch(columns, table+"|"+c); !ok {
				bad("lost", table, "column %s was added, and isn't there", c)
			}
		}
	}
	all := strings.Join(tables, "\n") + "\n" + strings.Join(columns, "\n")
	if w.mu.first == "" && len(wrong) == 0 {
		w.mu.first = all
	}
	if w.mu.first != "" && w.mu.first != all {
		bad("differs", "all", "this node's schema isn't another's:\n%s\nthe other's:\n%s", all, w.mu.first)
	}
	return wrong
}
