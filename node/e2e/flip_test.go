package e2e

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nodedb/coordinator/consistency"
	"nodedb/node/proc"
)

// damage is one change of one file of a stopped node.
type damage struct {
	path string
	bit  int64 // flipped; or
	size int64 // the file is cut to so many bytes; -1: it isn't
}

func (d damage) String() string {
	if d.size >= 0 {
		return fmt.Sprintf("%s cut to %d bytes", filepath.Base(d.path), d.size)
	}
	return fmt.Sprintf("bit %d of byte %d of %s flipped", d.bit%8, d.bit/8, filepath.Base(d.path))
}

// kindOfFile is what FAULTS.md calls a file of a data directory; "" are files that aren't read (options, locks).
func kindOfFile(path string) string {
	base := filepath.Base(path)
	switch {
	case strings.HasSuffix(base, ".sst"):
		return "sstable"
	case strings.HasSuffix(base, ".log"):
		return "log"
	case strings.HasPrefix(base, "MANIFEST-"):
		return "manifest"
	case filepath.Base(filepath.Dir(path)) == "hints":
		return "hints"
	}
	return ""
}

// drawDamage draws a damage of some file of a kind. A quarter are cuts.
func drawDamage(t *testing.T, rng *rand.Rand, dir, kind string) damage {
	t.Helper()
	var paths []string
	var sizes []int64
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || kindOfFile(path) != kind {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Size() > 0 {
			paths, sizes = append(paths, path), append(sizes, info.Size())
		}
		return err
	})
	if err != nil || len(paths) == 0 {
		t.Fatalf("no file of kind %s in %s: %v", kind, dir, err)
	}
	i := rng.IntN(len(paths))
	if rng.IntN(4) == 0 {
		return damage{path: paths[i], size: rng.Int64N(sizes[i])}
	}
	return damage{path: paths[i], bit: rng.Int64N(8 * sizes[i]), size: -1}
}

func (d damage) apply(t *testing.T) {
	t.Helper()
	if d.size >= 0 {
		if err := os.Truncate(d.path, d.size); err != nil {
			t.Fatal(err)
		}
		return
	}
	f, err := os.OpenFile(d.path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], d.bit/8); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1 << (d.bit % 8)
	if _, err := f.WriteAt(b[:], d.bit/8); err != nil {
		t.Fatal(err)
	}
}

// copyDir makes to a copy of from.
func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-a", "--sparse=always", from, to).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
}

const (
	flipRows = 2000
	// lastEvery: the last generation writes every third row once more.
	lastEvery = 3
)

// flipRow is row i after so many writes.
func flipRow(i, writes int) string {
	return fmt.Sprintf("%d|%d|value %d, written %d times", i%50, i, i, writes)
}

// writeFlipRows writes every so manieth row once more.
func writeFlipRows(t *testing.T, n *proc.Node, writes []int, every int) {
	t.Helper()
	var csv strings.Builder
	csv.WriteString("p,c,v\n")
	for i := 0; i < len(writes); i += every {
		writes[i]++
		p, rest, _ := strings.Cut(flipRow(i, writes[i]), "|")
		c, v, _ := strings.Cut(rest, "|")
		fmt.Fprintf(&csv, "%s,%s,%q\n", p, c, v)
	}
	loadRows(t, n, "f.t", csv.String())
}

// flipStore is a stopped node with one replica of everything: rows in three generations of sstables, and some in the log, followed by others that are not
// looked at. (Of the last group commit in a log nothing can tell that it was synced: node/storage/logtail.go.)
func flipStore(t *testing.T) (c *proc.Cluster, want []string) {
	t.Helper()
	c = startCluster(t, 1)
	n := c.Nodes[0]
	exec1(t, dial(t, n), "CREATE KEYSPACE f WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
		"CREATE TABLE f.t (p int, c int, v text, PRIMARY KEY (p, c))", "CREATE TABLE f.tail (k int PRIMARY KEY, v text)")
	writes := make([]int, flipRows)
	for _, every := range []int{1, 5, 7, lastEvery} {
		writeFlipRows(t, n, writes, every)
		if every != lastEvery { // a start writes what the log holds to an sstable
			kill(t, n)
			start(t, c, n)
		}
	}
	client := dial(t, n)
	for i := range 50 {
		exec1(t, client, fmt.Sprintf("INSERT INTO f.tail (k, v) VALUES (%d, 'x')", i))
	}
	for i, times := range writes {
		want = append(want, flipRow(i, times))
	}
	slices.Sort(want)
	wantRows(t, ask(t, n, consistency.One, "SELECT p, c, v FROM f.t"), want)
	kill(t, n)
	return c, want
}

// older reports whether rows are those of an earlier moment: all that the sstables have, and of the last generation, which the log alone has, some are missing.
// Which were the last to come is not known: they come over several connections.
func older(got, want []string) bool {
	var writes [flipRows]int
	for _, r := range want {
		i, times, ok := parseFlipRow(r)
		if !ok {
			return false
		}
		writes[i] = times
	}
	for _, r := range got {
		i, times, ok := parseFlipRow(r)
		if !ok || times != writes[i] && (i%lastEvery != 0 || times != writes[i]-1) {
			return false
		}
	}
	return len(got) == len(want)
}

// parseFlipRow reads a row: its number, and how many times it was written.
func parseFlipRow(r string) (i, times int, ok bool) {
	var p, c int
	_, err := fmt.Sscanf(r, "%d|%d|value %d, written %d times", &p, &c, &i, &times)
	return i, times, err == nil && i >= 0 && i < flipRows && r == flipRow(i, times)
}

// verdict is what came of a damage.
type verdict uint8

const (
	refused verdict = iota // the node didn't start, or stopped, and named the file
	right                  // it answers, and right
	shorter                // a log was cut: the last writes are missing, and nothing else
	wrong
)

// outcome starts a damaged node and asks it for everything.
func outcome(t *testing.T, n *proc.Node, d damage, want []string) (verdict, string) {
	t.Helper()
	before := len(readLog(t, n))
	startErr := n.Start(deadline(t, wait))
	var got []string
	var askErr error
	if startErr == nil {
		if got, askErr = tryAsk(t, n, consistency.One, "SELECT p, c, v FROM f.t"); askErr == nil {
			kill(t, n)
			slices.Sort(got)
			switch {
			case slices.Equal(got, want):
				return right, ""
			case d.size >= 0 && kindOfFile(d.path) == "log" && older(got, want):
				return shorter, proc.Difference(got, want, true)
			}
			return wrong, proc.Difference(got, want, true)
		}
	}
	ended := false
	select {
	case <-n.Exited():
		ended = true
	case <-deadline(t, wait).Done():
		kill(t, n)
	}
	log := readLog(t, n)[before:]
	if ended && strings.Contains(log, filepath.Base(d.path)) {
		return refused, ""
	}
	return wrong, fmt.Sprintf("start: %v, query: %v, ended: %v, log: %s", startErr, askErr, ended, log[max(0, len(log)-1500):])
}

// TestRow8Flips: one bit of a stopped node's files is flipped, or a file is cut short. The node refuses to start, or stops when it comes upon it, and names
// the file; or it answers right. A log that was cut is the exception: its end looks as it would after a power loss before a sync. With one replica, as here, nobody
// can tell, and the node answers as of an earlier moment; the other replicas of a row know better (TestRow8Hints reads at QUORUM).
func TestRow8Flips(t *testing.T) {
	t.Parallel()
	began, rounds := begins(), count(3, 400)
	c, want := flipStore(t)
	n := c.Nodes[0]
	whole := filepath.Join(t.TempDir(), "whole")
	copyDir(t, filepath.Join(n.Dir, "data"), whole)
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	kinds := []string{"sstable", "log", "sstable", "log", "manifest"}
	var counts [wrong + 1]int
	for i := range rounds {
		copyDir(t, whole, filepath.Join(n.Dir, "data"))
		d := drawDamage(t, rng, filepath.Join(n.Dir, "data"), kinds[i%len(kinds)])
		d.apply(t)
		v, why := outcome(t, n, d, want)
		counts[v]++
		if v == wrong {
			t.Errorf("%s: %s", d, why)
		}
	}
	report(t, 8, began, "%d damages of sstables, log and manifest: %d refused, %d answered right, %d logs cut to an earlier end, which one replica can't tell, %d wrong", rounds,
		counts[refused], counts[right], counts[shorter], counts[wrong])
}
