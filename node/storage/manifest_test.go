package storage

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"nodedb/node/disk"
	"nodedb/node/row"
)

// generations is what a store holds that overwrote its rows three times and crashed each time: an open writes what the log holds to an sstable, and
// deletes the log. The directory is as the last crash leaves it.
func generations(t *testing.T) (fs *disk.MemFS, want []string) {
	t.Helper()
	fs = disk.Crashable()
	for n := range 3 {
		e := openTest(t, fs)
		for k := range 5 {
			apply(t, e, insert(testTable, uint32Key(k), "a", int64(n+1), fmt.Sprint(n)))
		}
		fs = crashed(t, fs, e)
	}
	e := openTest(t, fs)
	want = values(readAll(t, e, ReadSpec{Storage: testTable, Range: everything, Now: testNow}))
	apply(t, e, insert(testTable, "tail", "a", 1, "")) // a log of its own that is not flushed
	return crashed(t, fs, e), want
}

// crashed is the file system after a crash of an engine, with all deletions done and durable.
func crashed(t *testing.T, fs *disk.MemFS, e *Engine) *disk.MemFS {
	t.Helper()
	e.db.TestOnlyWaitForCleaning()
	check(t, syncDir(fs, "data"))
	clone := fs.CrashClone(vfs.CrashCloneCfg{})
	check(t, e.Close())
	return clone
}

// named gives the file whose name has a prefix: the newest.
func named(t *testing.T, fs vfs.FS, prefix string) string {
	t.Helper()
	names, err := fs.List("data")
	check(t, err)
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, prefix) })
	if len(names) == 0 {
		t.Fatalf("no file begins with %s", prefix)
	}
	return "data/" + slices.Max(names)
}

// replaceFile gives a file other bytes.
func replaceFile(t *testing.T, fs vfs.FS, path string, b []byte) {
	t.Helper()
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	check(t, err)
	_, err = f.Write(b)
	check(t, errors.Join(err, f.Sync(), f.Close()))
}

// opensRight opens a store: true if it is refused as corrupt or has what is wanted.
func opensRight(t *testing.T, fs vfs.FS, want []string) (refused bool, got []string) {
	t.Helper()
	e, err := Open(Options{FS: fs, Dir: "data", CacheBytes: 8 << 20, Fatal: func(error) {}})
	if err != nil {
		return true, nil
	}
	defer func() { check(t, e.Close()) }()
	check(t, e.SetTables(map[row.StorageID]TableKind{testTable: OnDisk}, 10))
	for _, v := range values(readAll(t, e, ReadSpec{Storage: testTable, Range: everything, Now: testNow})) {
		if !strings.HasPrefix(v, "tail") {
			got = append(got, v)
		}
	}
	return false, got
}

// TestDamagedManifest flips a bit of each byte of a manifest, and cuts it short at each: old values, or none, are never read. (Found by node/e2e's
// TestRow8Flips: node/sim/BUGS.md.)
func TestDamagedManifest(t *testing.T) {
	base, want := generations(t)
	path := named(t, base, "MANIFEST-")
	sound := readFile(t, base, path)
	if refused, got := opensRight(t, base.CrashClone(vfs.CrashCloneCfg{}), want); refused || !slices.Equal(got, want) {
		t.Fatalf("undamaged: refused %v, %v, want %v", refused, got, want)
	}
	refusals := 0
	for i := range sound {
		for _, damaged := range [][]byte{flipBit(sound, i), sound[:i]} {
			fs := base.CrashClone(vfs.CrashCloneCfg{})
			replaceFile(t, fs, path, damaged)
			refused, got := opensRight(t, fs, want)
			if !refused && !slices.Equal(got, want) {
				t.Errorf("byte %d of %d, %d left: %v is read, want %v", i, len(sound), len(damaged), got, want)
			}
			refusals += b2i(refused)
		}
	}
	if refusals < len(sound) {
		t.Errorf("only %d of %d damages were refused", refusals, 2*len(sound))
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func flipBit(b []byte, i int) []byte {
	b = slices.Clone(b)
	b[i] ^= 1 << (i % 8)
	return b
}

// TestDamagedManifestWitness: what is damaged there vouches for nothing, and does no harm.
func TestDamagedManifestWitness(t *testing.T) {
	base, want := generations(t)
	path := named(t, base, manifestWitnessFile)
	sound := readFile(t, base, path)
	for i := range sound {
		for _, damaged := range [][]byte{flipBit(sound, i), sound[:i]} {
			fs := base.CrashClone(vfs.CrashCloneCfg{})
			replaceFile(t, fs, path, damaged)
			if refused, got := opensRight(t, fs, want); refused || !slices.Equal(got, want) {
				t.Errorf("byte %d: refused %v, %v, want %v", i, refused, got, want)
			}
		}
	}
}

func TestManifestWitnesses(t *testing.T) {
	var b []byte
	b = appendManifestWitness(b, 7, 100)
	b = appendManifestWitness(b, 7, 300)
	b = appendManifestWitness(b, 8, 900)
	for number, want := range map[uint64]int64{7: 300, 8: 900, 9: 0} {
		if got := furthestManifestWitness(b, number); got != want {
			t.Errorf("manifest %d: %d, want %d", number, got, want)
		}
	}
	if got := furthestManifestWitness(b[:len(b)-1], 8); got != 0 {
		t.Errorf("a torn witness counts: %d", got)
	}
}
