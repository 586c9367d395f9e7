package storage

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"nodedb/node/disk"
	"nodedb/node/row"
)

// damageable is a store after some crashes, with sstables, manifests and a log of its own, and what it answers.
func damageable(t *testing.T) (*disk.MemFS, []string) {
	t.Helper()
	fs, _ := generations(t)
	e := openTest(t, fs)
	for i := range 150 {
		apply(t, e, insert(testTable, uint32Key(i%7), fmt.Sprintf("c%03d", i), 9, strings.Repeat("v", i%90)))
	}
	want := values(readAll(t, e, ReadSpec{Storage: testTable, Range: everything, Now: testNow}))
	return crashed(t, fs, e), want
}

// damage flips a bit of a file, or cuts its end off. What nobody can know is left out: the newest log behind its last witness (logtail.go), and a
// log that was cut, since it looks like one that was never longer.
func damage(content []byte, name string, newest uint64, rng *rand.Rand) (damaged []byte, what string) {
	limit := len(content)
	number, log := logNumber(name)
	if log && number == newest {
		limit = int(furthestWitness(content, number))
	}
	if limit == 0 {
		return nil, ""
	}
	at := rng.IntN(limit)
	if !log && rng.IntN(4) == 0 {
		return content[:at], fmt.Sprintf("%s cut to %d of %d bytes", name, at, len(content))
	}
	damaged = bytes.Clone(content)
	damaged[at] ^= 1 << rng.IntN(8)
	return damaged, fmt.Sprintf("%s, a bit of byte %d of %d", name, at, len(content))
}

// answer is what a store answers to a full scan, or why it doesn't.
func answer(t *testing.T, fs disk.FS) (rows []string, err error) {
	t.Helper()
	e, err := Open(Options{FS: fs, Dir: "data", CacheBytes: 8 << 20, Fatal: func(error) {}})
	if err != nil {
		return nil, err
	}
	defer func() { _ = e.Close() }() // a stopped engine says so again
	if err := e.SetTables(map[row.StorageID]TableKind{testTable: OnDisk}, 10); err != nil {
		return nil, err
	}
	page, err := e.Read(context.Background(), &ReadSpec{Storage: testTable, Range: everything, Now: testNow}, nil)
	if err != nil {
		return nil, err
	}
	got, _ := parsePage(t, page)
	return values(got), nil
}

// TestFlips is FAULTS.md row 8: whatever is damaged on a stopped node's disk, it refuses to start or to answer, or answers right.
func TestFlips(t *testing.T) {
	fs, want := damageable(t)
	names, err := fs.List("data")
	check(t, err)
	names = slices.DeleteFunc(names, func(n string) bool { return n == "LOCK" })
	slices.Sort(names)
	var newest uint64
	for _, n := range names {
		if number, ok := logNumber(n); ok {
			newest = max(newest, number)
		}
	}
	rng := rand.New(rand.NewPCG(*seed, 8))
	refused, harmless, kinds := 0, 0, map[string]int{}
	for refused+harmless < *clones {
		name := names[rng.IntN(len(names))]
		content := readFile(t, fs, "data/"+name)
		damaged, what := damage(content, name, newest, rng)
		if damaged == nil {
			continue
		}
		broken := fs.CrashClone(vfs.CrashCloneCfg{})
		replaceFile(t, broken, "data/"+name, damaged)
		switch got, err := answer(t, broken); {
		case err != nil:
			refused++
		case !slices.Equal(got, want):
			t.Errorf("%s: %d rows instead of %d, or others, and no error", what, len(got), len(want))
			harmless++
		default:
			harmless++
		}
		kinds[kindOf(name)]++
	}
	if refused == 0 {
		t.Error("no damage was noticed")
	}
	reportRow(t, 8, "%d damages (%v): %d refused, %d harmless, seed %d", refused+harmless, kinds, refused, harmless, *seed)
}

// kindOf is a file's kind: sst, log, MANIFEST, OPTIONS or marker.
func kindOf(name string) string {
	if ext := path.Ext(name); ext != "" && !strings.HasPrefix(name, "marker.") {
		return ext[1:]
	}
	kind, _, _ := strings.Cut(strings.ReplaceAll(name, "-", "."), ".")
	return kind
}
