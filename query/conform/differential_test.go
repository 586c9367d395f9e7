package conform

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	differential  = flag.Int("differential", 0, "ask both nodedb and Cassandra (-peer) so many random statements")
	randomSeed    = flag.Uint64("seed", 1, "the first seed of -differential; each table has the next")
	disagreements = flag.Int("disagreements", 20, "after so many disagreements -differential ends")
	shrinks       = flag.Bool("shrink", true, "show a disagreement of -differential by the statements that it takes; without, by the table and the statement")
)

const (
	// worldSize is the number of statements about one random table: making the table takes Cassandra as long as hundreds of them.
	worldSize = 1000
	// duelists are the tables asked about at a time, each in a keyspace of its own.
	duelists = 4
)

// duel asks two databases the same random statements, and counts.
type duel struct {
	t      *testing.T
	nodedb string // its address

	shrinking sync.Mutex // one script is shrunk at a time

	mu      sync.Mutex
	seed    uint64 // of the next table
	left    int    // statements to be asked yet
	sum     tally
	reasons map[string]int // of differences on purpose
	refused int            // statements that both refused
	unlike  int            // statements that changed one of the two on purpose: the table was emptied after them
}

// TestDifferential asks Cassandra and nodedb the same random statements. A disagreement is shrunk to the statements it takes, and printed as a script.
func TestDifferential(t *testing.T) {
	if *differential == 0 {
		t.Skip("-differential N asks a Cassandra too")
	}
	began := time.Now()
	d := &duel{t: t, nodedb: startNode(t, ""), seed: *randomSeed, left: *differential, reasons: map[string]int{}}
	var all sync.WaitGroup
	for i := range duelists {
		all.Go(func() {
			if err := d.fight(t.Context(), fmt.Sprintf("d%d", i)); err != nil {
				t.Errorf("keyspace d%d: %v", i, err)
			}
		})
	}
	all.Wait()
	t.Logf("seeds %d to %d, in %s: %s", *randomSeed, d.seed-1, time.Since(began).Round(time.Second), d)
}

// String gives the counts. The caller holds mu, or is alone.
func (d *duel) String() string {
	text := fmt.Sprintf("%s; both refused %d; after %d the table was emptied", d.sum, d.refused, d.unlike)
	for _, reason := range slices.SortedFunc(maps.Keys(d.reasons), func(a, b string) int { return cmp.Compare(d.reasons[b], d.reasons[a]) }) {
		text += fmt.Sprintf("\n        %6d %s", d.reasons[reason], reason)
	}
	return text
}

// take gives the seed of a table and how many statements are to be asked about it; 0: no more.
func (d *duel) take() (seed uint64, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sum.mistakes >= *disagreements {
		return 0, 0
	}
	seed, n = d.seed, min(worldSize, d.left)
	d.seed, d.left = d.seed+1, d.left-n
	if seed%20 == 0 {
		d.t.Logf("before seed %d: %s", seed, d)
	}
	return seed, n
}

// fight asks about one table after the other.
func (d *duel) fight(ctx context.Context, keyspace string) error {
	p, err := d.pair(ctx, keyspace)
	if err != nil {
		return err
	}
	defer p.close()
	for {
		seed, n := d.take()
		if n == 0 {
			return nil
		}
		if err := d.world(ctx, p, seed, n); err != nil {
			return fmt.Errorf("seed %d: %w", seed, err)
		}
	}
}

// world asks about one table. What has changed the two otherwise, on purpose or not, is followed by emptying it, so that nothing follows from it.
func (d *duel) world(ctx context.Context, p *pair, seed uint64, n int) error {
	if err := p.empty(ctx); err != nil {
		return err
	}
	var played []Step
	for _, s := range Random(seed, n) {
		got, err := p.ask(ctx, &s)
		if err != nil {
			return err
		}
		played = append(played, s)
		reason := d.judge(ctx, p, &s, got)
		d.count(&s, reason)
		if reason == Mistake {
			d.show(ctx, seed, played, got)
		}
		if reason == "" || reason == Words || strings.HasPrefix(s.Statement, "SELECT") {
			continue
		}
		if strings.HasPrefix(s.Statement, "ALTER") || strings.HasPrefix(s.Statement, "CREATE") {
			return nil // the tables may differ
		}
		clear := Step{Statement: "TRUNCATE t"}
		if _, err := p.ask(ctx, &clear); err != nil {
			return err
		}
		played = append(played, clear)
	}
	return nil
}

// judge gives the class of a difference: "" for none, Words, Mistake, or a reason. Where Cassandra fails at pages, both are asked for the whole.
func (d *duel) judge(ctx context.Context, p *pair, s *Step, got []string) string {
	reason := class(s, got)
	if reason == Mistake && strings.HasPrefix(s.Statement, "SELECT") && strings.Contains(s.Options, "now=") && contradicts(ctx, p, s, got) {
		return "skipped-cells"
	}
	if reason != "fails-inside" || !strings.Contains(s.Options, "page=") {
		return reason
	}
	whole := Step{Statement: s.Statement, Values: s.Values, Options: withoutPages(s.Options)}
	all, err := p.ask(ctx, &whole)
	if err != nil || class(&whole, all) == Mistake || !slices.Equal(rows(all), rows(got)) {
		return Mistake
	}
	return reason
}

// class gives the class of a difference between a step's answer, which is Cassandra's, and nodedb's.
func class(s *Step, nodedb []string) string {
	switch Judge(s.Answer, nodedb) {
	case Identical, Placed:
		return ""
	case Worded:
		return Words
	}
	return cmp.Or(onPurpose(s, nodedb), Mistake)
}

// contradicts says whether Cassandra itself has nodedb's rows once the statement selects all columns, too.
func contradicts(ctx context.Context, p *pair, s *Step, nodedb []string) bool {
	table := Step{Statement: "SELECT * FROM t LIMIT 1"}
	head, err := p.ask(ctx, &table)
	what, rest, ok := strings.Cut(s.Statement, " FROM t")
	if err != nil || !ok || strings.HasSuffix(what, "*") {
		return false
	}
	for _, line := range head {
		if _, columns, ok := strings.Cut(line, ".t: "); ok {
			for c := range strings.SplitSeq(columns, " | ") {
				name, _, _ := strings.Cut(c, " ")
				what += ", " + name
			}
		}
	}
	wide := Step{Statement: what + " FROM t" + rest, Values: s.Values, Options: s.Options}
	got, err := p.ask(ctx, &wide)
	if err != nil || class(&wide, got) == Mistake {
		return false
	}
	return slices.EqualFunc(rows(wide.Answer), rows(nodedb), func(wide, narrow string) bool {
		wide, narrow = trailingZeros.ReplaceAllString(wide, "$1"), trailingZeros.ReplaceAllString(narrow, "$1")
		document, ok := strings.CutSuffix(narrow, "}'")
		return strings.HasPrefix(wide, narrow+" | ") || ok && strings.HasPrefix(wide, document+", ")
	})
}

func withoutPages(options string) string {
	return strings.Join(slices.DeleteFunc(strings.Fields(options), func(o string) bool { return strings.HasPrefix(o, "page=") }), " ")
}

func (d *duel) count(s *Step, reason string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s.Reason = reason
	d.sum.add(count([]Step{*s}))
	if reason != "" && reason != Words && reason != Mistake {
		d.reasons[reason]++
		if !strings.HasPrefix(s.Statement, "SELECT") {
			d.unlike++
		}
	}
	if (reason == "" || reason == Words) && strings.HasPrefix(s.Answer[len(s.Answer)-1], "error ") {
		d.refused++
	}
}

// show prints a disagreement, which the last of the steps is.
func (d *duel) show(ctx context.Context, seed uint64, steps []Step, nodedb []string) {
	d.mu.Lock()
	enough := d.sum.mistakes > *disagreements
	d.mu.Unlock()
	if enough {
		return
	}
	last := steps[len(steps)-1]
	last.Reason, last.Local = Mistake, nodedb
	script := Append(nil, []Step{steps[1], last})
	if *shrinks {
		d.shrinking.Lock()
		defer d.shrinking.Unlock()
		script = d.smallest(ctx, steps)
	}
	d.t.Errorf("seed %d, statement %d:\n%s", seed, len(steps)-1, script)
}

// smallest shrinks a script whose last answer is in dispute, and gives it with both answers.
func (d *duel) smallest(ctx context.Context, steps []Step) []byte {
	p, err := d.pair(ctx, "shrink")
	if err != nil {
		return []byte(err.Error())
	}
	defer p.close()
	last := func(steps []Step) (s Step, got []string, err error) {
		if err := p.empty(ctx); err != nil {
			return s, nil, err
		}
		for _, s = range steps {
			if got, err = p.ask(ctx, &s); err != nil {
				return s, nil, err
			}
		}
		return s, got, nil
	}
	wrong := func(less []Step) bool {
		s, got, err := last(less)
		return err == nil && d.judge(ctx, p, &s, got) == Mistake
	}
	reads := func(s Step) bool { return strings.HasPrefix(s.Statement, "SELECT") }
	if less := append(slices.DeleteFunc(slices.Clone(steps[:len(steps)-1]), reads), steps[len(steps)-1]); wrong(less) {
		steps = less
	}
	steps = slices.Clone(Shrink(steps, wrong))
	at := &steps[len(steps)-1]
	if *at, at.Local, err = last(steps); err != nil {
		return []byte(err.Error())
	}
	at.Reason = Mistake
	for i := range steps[:len(steps)-1] {
		steps[i].Answer = nil
	}
	return Append(nil, steps)
}

// pair is a connection to each of the two, in a keyspace of their own.
type pair struct{ cassandra, nodedb *Runner }

func (d *duel) pair(ctx context.Context, keyspace string) (*pair, error) {
	p := &pair{}
	for addr, r := range map[string]**Runner{*peer: &p.cassandra, d.nodedb: &p.nodedb} {
		var err error
		if *r, err = NewRunner(ctx, addr); err != nil {
			return nil, err
		}
		if _, err = (*r).Answer(ctx, &Step{Statement: "DROP KEYSPACE IF EXISTS " + keyspace}); err != nil {
			return nil, err
		}
		if err = (*r).Enter(ctx, keyspace); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *pair) close() {
	p.cassandra.Close()
	p.nodedb.Close()
}

// ask asks both at once: the step gets Cassandra's answer.
func (p *pair) ask(ctx context.Context, s *Step) (nodedb []string, err error) {
	var other error
	var done sync.WaitGroup
	mine := *s
	done.Go(func() { nodedb, other = p.nodedb.Answer(ctx, &mine) })
	s.Answer, err = p.cassandra.Answer(ctx, s)
	done.Wait()
	return nodedb, cmp.Or(err, other)
}

// empty drops what an earlier script has made.
func (p *pair) empty(ctx context.Context) error {
	for _, statement := range []string{"DROP TABLE IF EXISTS t", "DROP TYPE IF EXISTS u"} {
		s := Step{Statement: statement}
		got, err := p.ask(ctx, &s)
		if err != nil {
			return err
		}
		if strings.HasPrefix(s.Answer[0]+got[0], "error ") {
			return fmt.Errorf("%s: %v, %v", statement, s.Answer, got)
		}
	}
	return nil
}

// Random statements are CQL: nodedb understands them all, and most of them do something. No Cassandra is needed.
func TestRandomStatements(t *testing.T) {
	addr := startNode(t, "")
	fine, all := 0, 0
	for seed := range uint64(3) {
		steps := Random(seed, 200)
		got, err := answers(t.Context(), addr, "d", steps)
		if err != nil {
			t.Fatal(err)
		}
		for i, a := range got {
			all++
			text := strings.Join(a, "\n")
			switch {
			case strings.HasPrefix(text, "error 0x0000"), strings.HasPrefix(text, "error 0x2000"):
				t.Errorf("seed %d: %s\n  %s", seed, steps[i].Statement, text)
			case !strings.Contains(text, "error 0x"):
				fine++
			}
		}
		if again := Random(seed, 200); !slices.EqualFunc(steps, again, func(a, b Step) bool { return a.key() == b.key() && a.Options == b.Options }) {
			t.Errorf("seed %d gave two scripts", seed)
		}
	}
	if fine < all*3/5 {
		t.Errorf("%d of %d random statements were refused", all-fine, all)
	}
}

func TestShrink(t *testing.T) {
	var steps []Step
	for _, s := range strings.Fields("a b c d e f g h") {
		steps = append(steps, Step{Statement: s})
	}
	got := Shrink(steps, func(less []Step) bool { // c and f are to blame, h shows it
		return slices.ContainsFunc(less, func(s Step) bool { return s.Statement == "c" }) && slices.ContainsFunc(less, func(s Step) bool { return s.Statement == "f" }) && less[len(less)-1].Statement == "h"
	})
	if len(got) != 3 {
		t.Errorf("shrunk to %v", got)
	}
}
