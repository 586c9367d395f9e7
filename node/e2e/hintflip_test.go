package e2e

import (
	encoding "encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"nodedb/coordinator/consistency"
	"nodedb/node"
	"nodedb/node/proc"
)

// hintStore is three stopped nodes: the first two hold rows, and the first hints of them for the third, which missed them.
func hintStore(t *testing.T) (c *proc.Cluster, want []string) {
	t.Helper()
	c = startCluster(t, 3)
	client := dial(t, c.Nodes[0])
	exec1(t, client, "CREATE KEYSPACE h"+simpleRF3, "CREATE TABLE h.t (k int PRIMARY KEY, v text)")
	kill(t, c.Nodes[2])
	for i := range 300 {
		row := fmt.Sprintf("%d|value %d", i, i)
		want = append(want, row)
		st := fmt.Sprintf("INSERT INTO h.t (k, v) VALUES (%d, 'value %d')", i, i)
		if _, err := proc.Ask(deadline(t, wait), client, consistency.Quorum, st); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(want)
	eventually(t, func() string { return not(pendingHints(t, c.Nodes[0]) >= 300, "300 hints") })
	kill(t, c.Nodes[:2]...)
	return c, want
}

// TestRow8Hints: one bit of a hint file is flipped, or the file cut short, while all nodes are down. Afterwards the node that the hints are for holds no
// row that was never written; it misses some only if the holder says that it lost hints, or kept a damaged file, or if the file was cut exactly between two
// hints, where nothing tells that more followed; and at QUORUM every row is there.
func TestRow8Hints(t *testing.T) {
	campaignOnly(t, time.Minute)
	t.Parallel()
	began, rounds := begins(), count(1, 100)
	c, want := hintStore(t)
	whole := t.TempDir()
	data := func(n *proc.Node) string { return filepath.Join(n.Dir, "data") }
	for _, n := range c.Nodes {
		copyDir(t, data(n), filepath.Join(whole, itoa(n.Index)))
	}
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	complete, counted, silent := 0, 0, 0
	for range rounds {
		for _, n := range c.Nodes {
			copyDir(t, filepath.Join(whole, itoa(n.Index)), data(n))
		}
		d := drawDamage(t, rng, data(c.Nodes[0]), "hints")
		d.apply(t)
		before := len(readLog(t, c.Nodes[0]))
		start(t, c, c.Nodes...)
		drained(t, deadline(t, 2*wait), c)
		got := ask(t, c.Nodes[2], consistency.One, "SELECT k, v FROM h.t")
		said := readLog(t, c.Nodes[0])[before:]
		switch missing := len(want) - len(got); {
		case !subset(got, want):
			t.Errorf("%s: %s", d, proc.Difference(got, want, false))
		case missing == 0:
			complete++
		case strings.Contains(said, filepath.Base(d.path)) || lostHints(t, c.Nodes[0]) > 0:
			counted++
		case d.size >= 0 && betweenHints(t, filepath.Join(whole, "1", "hints", filepath.Base(d.path)), d.size):
			silent++
			t.Logf("%s, the end of a hint: %d hints are gone, and nobody can say so", d, missing)
		default:
			t.Errorf("%s: %d hints are gone, and nobody says so", d, missing)
		}
		wantRows(t, ask(t, c.Nodes[2], consistency.Quorum, "SELECT k, v FROM h.t"), want)
		kill(t, c.Nodes...)
	}
	report(t, 8, began, "%d damages of hints: %d delivered whole, %d lost some and said so, %d were cut exactly between two hints; all right at QUORUM", rounds,
		complete, counted, silent)
}

// betweenHints says whether a whole segment, cut to so many bytes, ends where one of its hints does, or its header, or with nothing: what is left shows no damage.
// The header takes 24 bytes, a hint 16 and as many as its first four say (hints/record.go).
func betweenHints(t *testing.T, segment string, size int64) bool {
	t.Helper()
	b, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	at, next := int64(0), int64(24)
	for at < size {
		at = next
		if at+4 > int64(len(b)) {
			break
		}
		next = at + 16 + int64(encoding.LittleEndian.Uint32(b[at:]))
	}
	return at == size
}

func subset(got, want []string) bool {
	for _, r := range got {
		if _, ok := slices.BinarySearch(want, r); !ok {
			return false
		}
	}
	return true
}

// lostHints is how many hints the nodes say that they lost.
func lostHints(t *testing.T, n *proc.Node) (count int64) {
	t.Helper()
	err := n.Await(deadline(t, wait), func(s node.Status) bool {
		count = 0
		for i := range s.Nodes {
			count += s.Nodes[i].LostHints
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return count
}
