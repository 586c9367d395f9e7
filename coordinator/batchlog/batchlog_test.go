package batchlog

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"nodedb/coordinator"
	"nodedb/node/clock"
	"nodedb/node/disk"
	"nodedb/node/row"
	"nodedb/node/rpc"
	"nodedb/node/storage"
)

var update = flag.Bool("update", false, "rewrite the golden in testdata/batchlog: only when the format gets a new version")

// kit is a log on a store in memory, and who writes its entries again.
type kit struct {
	t    *testing.T
	log  *Log
	mu   sync.Mutex
	wait chan struct{} // nil: the store answers at once
	fail error         // of the store
	held map[string][]byte
	// deliver answers a try; nil: well done.
	deliver func(entry string) error
	tries   []string
}

func newKit(t *testing.T, change ...func(*Options)) *kit {
	t.Helper()
	k := &kit{t: t, held: map[string][]byte{}}
	k.open(change...)
	return k
}

func (k *kit) open(change ...func(*Options)) {
	k.t.Helper()
	c, err := clock.New(clock.Options{})
	if err != nil {
		k.t.Fatal(err)
	}
	o := Options{Store: k, Clock: c, Deliver: k.try}
	for _, f := range change {
		f(&o)
	}
	if k.log, err = Open(o); err != nil {
		k.t.Fatal(err)
	}
}

func (k *kit) try(entry []byte, done func(error)) {
	k.mu.Lock()
	name := nameOf(k.t, entry)
	k.tries = append(k.tries, name)
	deliver := k.deliver
	k.mu.Unlock()
	if deliver == nil {
		done(nil)
		return
	}
	done(deliver(name))
}

func (k *kit) GetSystem(key string) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.held[key]), nil
}

func (k *kit) ScanSystem(prefix string, f func(string, []byte) bool) error {
	for key, v := range k.held {
		if strings.HasPrefix(key, prefix) {
			f(key, v)
		}
	}
	return nil
}

func (k *kit) ApplySystem(pairs []storage.Pair, done func(error)) {
	k.mu.Lock()
	wait, err := k.wait, k.fail
	k.mu.Unlock()
	if wait != nil {
		<-wait
	}
	k.mu.Lock()
	for _, p := range pairs {
		switch {
		case err != nil:
		case p.Value == nil:
			delete(k.held, p.Key)
		default:
			k.held[p.Key] = slices.Clone(p.Value)
		}
	}
	k.mu.Unlock()
	done(err)
}

// keys is how many entries the store has.
func (k *kit) keys() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.held)
}

// run has entries written again for a while.
func (k *kit) run(long time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), long)
	defer cancel()
	k.log.Run(ctx)
}

// entryOf is an entry of one mutation of a partition.
func entryOf(key string) []byte {
	var b row.Builder
	b.Add(row.Cell{Column: row.Marker, Timestamp: 10})
	m := row.Mutation{Storage: 1, Token: 42, Key: []byte(key), Rows: []row.Entry{{Clustering: []byte{}, Fragment: b.Append(nil)}}}
	return m.Append([]byte{1})
}

func nameOf(t *testing.T, entry []byte) string {
	t.Helper()
	m, _, err := row.DecodeMutation(entry[1:])
	if err != nil {
		t.Error(err)
	}
	return string(m.Key)
}

func message(key string) *coordinator.BatchMessage {
	m := &coordinator.BatchMessage{Entry: entryOf(key)}
	copy(m.ID[:], key)
	return m
}

func (k *kit) put(key string) error {
	done := make(chan error, 1)
	k.log.Put(message(key), func(err error) { done <- err })
	return <-done
}

func (k *kit) mustPut(keys ...string) {
	k.t.Helper()
	for _, key := range keys {
		if err := k.put(key); err != nil {
			k.t.Fatal(err)
		}
	}
}

func (k *kit) tried(want ...string) {
	k.t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if !slices.Equal(k.tries, want) {
		k.t.Errorf("written again: %v, want %v", k.tries, want)
	}
}

func TestWhatIsEndedIsNotWrittenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t)
		defer k.log.Close()
		k.mustPut("a", "b", "c")
		k.log.Remove([]coordinator.BatchID{message("b").ID, message("nobody's").ID})
		k.run(3900 * time.Millisecond)
		k.tried()
		k.run(2 * time.Second)
		k.tried("a", "c")
		k.run(20 * time.Second)
		k.tried("a", "c")
		if k.log.Len() != 0 || k.keys() != 0 {
			t.Errorf("%d entries and %d keys are left", k.log.Len(), k.keys())
		}
	})
}

func TestATryThatFailsIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t)
		defer k.log.Close()
		left := 2
		k.deliver = func(entry string) error {
			if left--; entry == "a" && left >= 0 {
				return errors.New("not now")
			}
			return nil
		}
		k.mustPut("a")
		k.run(30 * time.Second)
		k.tried("a", "a", "a")
	})
}

// An entry that ends while it waits for the disk must not be written behind its deletion.
func TestEndedBeforeItIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t)
		k.wait = make(chan struct{})
		answers := make(chan error, 3)
		for _, key := range []string{"a", "b", "c"} {
			k.log.Put(message(key), func(err error) { answers <- err })
			synctest.Wait() // the first is stuck in the store, the others wait behind it
		}
		k.log.Remove([]coordinator.BatchID{message("a").ID, message("b").ID})
		close(k.wait)
		for range 3 {
			if err := <-answers; err != nil {
				t.Error(err)
			}
		}
		k.log.Close()
		if k.keys() != 1 || k.held[keyOf(message("c").ID)] == nil {
			t.Errorf("the store keeps %d entries, want c alone", k.keys())
		}
	})
}

// TestAMessageThatComesTwice: of the second, behind the end, an entry stayed that nobody could write again or end (BUGS.md 25).
func TestAMessageThatComesTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t)
		defer k.log.Close()
		k.mustPut("a")
		k.log.Remove([]coordinator.BatchID{message("a").ID})
		k.mustPut("a")
		k.run(20 * time.Second)
		k.tried()
		if k.log.Len() != 0 || k.keys() != 0 {
			t.Errorf("%d entries and %d keys are left", k.log.Len(), k.keys())
		}
	})
}

// What was acknowledged is kept, though its message comes again and is refused then.
func TestARefusedRepetitionEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t)
		defer k.log.Close()
		k.mustPut("a")
		k.fail = storage.ErrDiskFull
		if err := k.put("a"); err == nil {
			t.Error("kept on a full disk")
		}
		k.fail = nil
		k.run(20 * time.Second)
		k.tried("a")
	})
}

// An entry that the disk takes longer for than its coordinator has is not taken for an ended one.
func TestDueBeforeItIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t)
		defer k.log.Close()
		k.wait = make(chan struct{})
		answer := make(chan error, 1)
		k.log.Put(message("a"), func(err error) { answer <- err })
		k.run(10 * time.Second)
		close(k.wait)
		if err := <-answer; err != nil {
			t.Fatal(err)
		}
		k.run(10 * time.Second)
		k.tried("a")
	})
}

func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, func(o *Options) { o.MaxBytes = int64(2 * len(entryOf("a"))) })
		code := func(err error) rpc.Code {
			var re *rpc.RemoteError
			if !errors.As(err, &re) {
				return 0
			}
			return re.Code
		}
		k.mustPut("a", "b", "a") // one that comes twice is one
		if err := k.put("c"); code(err) != rpc.CodeOverloaded {
			t.Errorf("beyond the bound: %v", err)
		}
		k.log.Remove([]coordinator.BatchID{message("a").ID})
		k.fail = storage.ErrDiskFull
		if err := k.put("c"); code(err) != rpc.CodeDiskFull {
			t.Errorf("on a full disk: %v", err)
		}
		k.fail = nil
		k.run(2 * time.Second)
		if k.keys() != 1 {
			t.Errorf("%d keys are left: the end of an entry was lost with the burst that the disk refused", k.keys())
		}
		k.mustPut("c")
		bad := message("d")
		bad.Entry = bad.Entry[:len(bad.Entry)-1]
		done := make(chan error, 1)
		k.log.Put(bad, func(err error) { done <- err })
		if err := <-done; code(err) != rpc.CodeInvalid {
			t.Errorf("an entry cut short: %v", err)
		}
		late := message("e")
		late.Clock = time.Now().Add(time.Hour).UnixMicro()
		k.log.Put(late, func(err error) { done <- err })
		if err := <-done; code(err) != rpc.CodeClock {
			t.Errorf("an hour ahead: %v", err)
		}
		k.log.Close()
		if err := k.put("f"); code(err) != rpc.CodeNotReady {
			t.Errorf("after Close: %v", err)
		}
	})
}

// Written again is so many bytes a second, one entry at least.
func TestReplayIsThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, func(o *Options) { o.BytesPerSecond = int64(3 * len(entryOf("a0"))) })
		defer k.log.Close()
		for i := range 30 {
			k.mustPut(fmt.Sprintf("a%02d", i))
		}
		k.run(5*time.Second - 1)
		if n := len(k.tries); n == 0 || n > 8 {
			t.Errorf("%d of 30 entries were written again in the first second that they were due", n)
		}
		k.run(20 * time.Second)
		if len(k.tries) != 30 {
			t.Errorf("%d of 30 entries were written again", len(k.tries))
		}
	})
}

// Entries that come and go leave nothing in memory.
func TestEndedEntriesTakeNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t)
		defer k.log.Close()
		for i := range 5 * compactSlack {
			m := message(fmt.Sprint("k", i))
			k.mustPut(fmt.Sprint("k", i))
			k.log.Remove([]coordinator.BatchID{m.ID})
		}
		if n := len(k.log.mu.due); n > compactSlack {
			t.Errorf("%d ended entries are remembered", n)
		}
		if n := k.keys(); n > 2 {
			t.Errorf("%d keys of ended entries are in the store", n)
		}
	})
}

// A power loss takes nothing that was acknowledged, on the real engine: what comes back is written again.
func TestPowerLossKeepsAcknowledgedBatches(t *testing.T) {
	fs := disk.Crashable()
	open := func(fs disk.FS) (*storage.Engine, *kit) {
		e, err := storage.Open(storage.Options{FS: fs, Dir: "data", CacheBytes: 8 << 20, Fatal: func(err error) { t.Errorf("fatal: %v", err) }})
		if err != nil {
			t.Fatal(err)
		}
		k := &kit{t: t}
		k.open(func(o *Options) { o.Store, o.After = e, time.Nanosecond })
		return e, k
	}
	e, k := open(fs)
	k.mustPut("a", "b", "c")
	k.log.Remove([]coordinator.BatchID{message("b").ID})
	k.mustPut("d")
	lost := fs.CrashClone(vfs.CrashCloneCfg{})
	k.log.Close()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e, k = open(lost)
	ctx, cancel := context.WithCancel(context.Background())
	k.deliver = func(string) error {
		k.mu.Lock()
		defer k.mu.Unlock()
		if len(k.tries) == 3 {
			cancel()
		}
		return nil
	}
	k.log.Run(ctx)
	slices.Sort(k.tries)
	k.tried("a", "c", "d") // b went with d's burst
	k.log.Close()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// The bytes of an entry as they are on disks out there.
func TestGolden(t *testing.T) {
	path := filepath.Join("..", "testdata", "batchlog", "entry.hex")
	got := []byte(keyOf(coordinator.BatchID{1, 2, 0xfe}) + "\n" + hex.Dump(append(entryOf("first"), entryOf("second")[1:]...)))
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("bytes are\n%swant\n%s", got, want)
	}
}
