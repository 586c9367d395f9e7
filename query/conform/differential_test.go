package conform

import (
	"context"
	"flag"
	"slices"
	"strings"
	"testing"
)

var (
	differential = flag.Int("differential", 0, "ask both nodedb and Cassandra (-peer) so many random statements")
	randomSeed   = flag.Uint64("seed", 1, "the first seed of -differential; each table has the next")
)

const (
	// worldSize is the number of statements about one random table.
	worldSize = 200
	// maxDisagreements that are shrunk and shown.
	maxDisagreements = 20
)

// disagrees says whether two answers differ in more than words, and not on purpose.
func disagrees(s *Step, cassandra, nodedb []string) bool {
	t := *s
	t.Answer = cassandra
	return Judge(cassandra, nodedb) == Different && onPurpose(&t, nodedb) == ""
}

// TestDifferential asks Cassandra and nodedb the same random statements. A disagreement is shrunk to the statements it takes, and printed as a script.
func TestDifferential(t *testing.T) {
	if *differential == 0 {
		t.Skip("-differential N asks a Cassandra too")
	}
	addr, found := startNode(t), 0
	for asked, seed := 0, *randomSeed; asked < *differential && found < maxDisagreements; seed++ {
		steps := Random(seed, min(worldSize, *differential-asked))
		asked += len(steps)
		cassandra, err := answers(t.Context(), *peer, "d", steps)
		if err != nil {
			t.Fatal(err)
		}
		nodedb, err := answers(t.Context(), addr, "d", steps)
		if err != nil {
			t.Fatal(err)
		}
		for i := range steps {
			if !disagrees(&steps[i], cassandra[i], nodedb[i]) {
				continue
			}
			found++
			t.Errorf("seed %d, statement %d:\n%s", seed, i, smallest(t.Context(), addr, steps[:i+1]))
			break // what follows may follow from it
		}
		if seed%20 == 0 {
			t.Logf("%d statements asked, %d disagreements", asked, found)
		}
	}
}

// smallest shrinks a script whose last answer is in dispute, and gives it with both answers.
func smallest(ctx context.Context, addr string, steps []Step) []byte {
	last := func(steps []Step) (cassandra, nodedb []string, err error) {
		c, err := answers(ctx, *peer, "d", steps)
		if err != nil {
			return nil, nil, err
		}
		n, err := answers(ctx, addr, "d", steps)
		if err != nil {
			return nil, nil, err
		}
		return c[len(c)-1], n[len(n)-1], nil
	}
	steps = Shrink(slices.Clone(steps), func(less []Step) bool {
		c, n, err := last(less)
		return err == nil && disagrees(&less[len(less)-1], c, n)
	})
	at := &steps[len(steps)-1]
	var err error
	if at.Answer, at.Local, err = last(steps); err != nil {
		return []byte(err.Error())
	}
	at.Reason = Mistake
	return Append(nil, steps)
}

// Random statements are CQL: nodedb understands them all, and most of them do something. No Cassandra is needed.
func TestRandomStatements(t *testing.T) {
	addr := startNode(t)
	fine, all := 0, 0
	for seed := range uint64(3) {
		steps := Random(seed, 100)
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
			case !strings.HasPrefix(text, "error "):
				fine++
			}
		}
		if again := Random(seed, 100); !slices.EqualFunc(steps, again, func(a, b Step) bool { return a.key() == b.key() }) {
			t.Errorf("seed %d gave two scripts", seed)
		}
	}
	if fine < all*2/3 {
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
