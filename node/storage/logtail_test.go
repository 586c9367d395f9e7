package storage

import (
	"bytes"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"nodedb/node/disk"
)

// logOf gives the newest log that a few writes leave, and its number.
func logOf(tb testing.TB) (b []byte, number uint64) {
	fs := disk.Crashable()
	e := openTest(tb, fs)
	for range 20 {
		apply(tb, e, insert(testTable, "k", "a", 1, string(bytes.Repeat([]byte("v"), 5000))))
	}
	clone := fs.CrashClone(vfs.CrashCloneCfg{})
	check(tb, e.Close())
	names, err := clone.List("data")
	check(tb, err)
	for _, name := range names {
		if n, ok := logNumber(name); ok && n > number {
			number, b = n, readFile(tb, clone, "data/"+name)
		}
	}
	end := recordsEnd(b, uint32(number))
	if ahead := b[end:]; len(ahead) == 0 || len(ahead) > 2*memoryAhead || !allZero(ahead) {
		tb.Errorf("%d bytes follow the records", len(ahead))
	}
	return b[:end], number
}

func TestLogTail(t *testing.T) {
	b, number := logOf(t)
	if end := recordsEnd(b, uint32(number)); end != len(b) {
		t.Fatalf("the records of a sound log end at %d of %d", end, len(b))
	}
	if end := recordsEnd(append(bytes.Clone(b), make([]byte, 4096)...), uint32(number)); end != len(b) {
		t.Errorf("preallocated space counts as records: %d of %d", end, len(b))
	}
	if end := recordsEnd(b, uint32(number+1)); end != 0 {
		t.Errorf("another log's records count up to %d", end)
	}
	for cut := range 64 { // torn: never corruption
		torn := b[:len(b)-cut]
		if end := recordsEnd(torn, uint32(number)); furthestWitness(torn[end:], number) > int64(end) {
			t.Errorf("a log without its last %d bytes is called corrupt", cut)
		}
	}
}

func TestWitness(t *testing.T) {
	var b []byte
	b = append(b, "junk "+witnessMagic...)
	b = appendWitness(b, 7, 100)
	b = append(appendWitness(b, 8, 900), witnessMagic...)
	b = appendWitness(b, 7, 300)
	b = appendWitness(b, 7, 200)
	if got := furthestWitness(b, 7); got != 300 {
		t.Errorf("got %d", got)
	}
	flipped := bytes.Clone(b)
	flipped[bytes.LastIndex(b, appendWitness(nil, 7, 300))+20] ^= 1
	if got := furthestWitness(flipped, 7); got != 200 {
		t.Errorf("a flipped witness counts: %d", got)
	}
	if got := furthestWitness(b, 9); got != 0 {
		t.Errorf("another log's witness counts: %d", got)
	}
}

// FuzzLogTail: whatever lies in a log, its end is found, inside.
func FuzzLogTail(f *testing.F) {
	b, number := logOf(f)
	f.Add(b[:200], uint32(number))
	f.Add(b[len(b)-300:], uint32(number))
	f.Add(appendWitness(nil, 3, 1<<62), uint32(3))
	f.Add(make([]byte, 40), uint32(0))
	f.Fuzz(func(t *testing.T, b []byte, number uint32) {
		if end := recordsEnd(b, number); end < 0 || end > len(b) {
			t.Errorf("end at %d of %d", end, len(b))
		}
		furthestWitness(b, uint64(number))
	})
}
