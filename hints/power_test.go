package hints

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"nodedb/node/disk"
	"nodedb/vnodes"
)

var (
	clones = flag.Int("clones", 500, "crash clones that TestPowerLoss takes and opens")
	seed   = flag.Uint64("seed", 1, "seed of TestPowerLoss")
)

// powerLoss is one disk, the store on it, and the peers' side, up to some crashes.
type powerLoss struct {
	mem   *disk.MemFS
	rng   *rand.Rand
	left  int // places until the next crash
	acked map[vnodes.HostID][]string
	got   map[vnodes.HostID]map[string]bool // by the peers, over all lives
	all   []powerCrash

	mu sync.Mutex
}

// powerCrash is what a crash left, and what was acknowledged before and not delivered.
type powerCrash struct {
	place string
	fs    *disk.MemFS
	owed  map[vnodes.HostID][]string
}

const (
	powerGap      = 12 // places between two crashes, at most
	unsyncedShare = 4  // crashes in so many keep some or all of what was not synced
)

// at takes a crash clone at some places.
func (p *powerLoss) at(op disk.Op) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left--; p.left > 0 {
		return nil
	}
	p.left = 1 + p.rng.IntN(powerGap)
	kind := strings.TrimPrefix(filepath.Ext(op.Name), ".")
	if kind == "" {
		kind = "directory"
	}
	keep := 0
	if p.rng.IntN(unsyncedShare) == 0 {
		keep = p.rng.IntN(101)
	}
	owed := p.owed()
	p.all = append(p.all, powerCrash{kind + " " + op.Kind, p.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: keep, RNG: p.rng}), owed})
	return nil
}

// owed is what was acknowledged and not delivered. REQUIRES: mu.
func (p *powerLoss) owed() map[vnodes.HostID][]string {
	owed := map[vnodes.HostID][]string{}
	for id, acked := range p.acked {
		for _, h := range acked {
			if !p.got[id][h] {
				owed[id] = append(owed[id], h)
			}
		}
	}
	return owed
}

func (p *powerLoss) deliver(to vnodes.HostID, mutations [][]byte, done func(int, error)) {
	for i, m := range mutations {
		p.mu.Lock()
		if p.got[to] == nil {
			p.got[to] = map[string]bool{}
		}
		fails := p.rng.IntN(10) == 0
		if !fails {
			p.got[to][string(m)] = true
		}
		p.mu.Unlock()
		if fails {
			done(i, ErrOverloaded)
		} else {
			done(i, nil)
		}
	}
}

// round adds, replays and reopens, on small segments, with crashes inside all of it.
func (p *powerLoss) round(t *testing.T) {
	p.mu.Lock()
	p.left = 1 + p.rng.IntN(powerGap)
	o := Options{FS: disk.Watch(p.mem, p.at), Dir: "hints", Deliver: p.deliver, Alive: func(vnodes.HostID) bool { return true },
		Segment: []int64{60, 200, 1000}[p.rng.IntN(3)], BatchBytes: 100, BytesPerSecond: 1000}
	p.mu.Unlock()
	for life := range 2 {
		s := open(t, o)
		var adders sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		adders.Go(func() { s.Run(ctx) })
		for n := range 20 {
			id, h := host(byte(1+n%3)), fmt.Sprintf("life %d hint %04d", life, n)
			s.Add(id, []byte(h), func(err error) {
				p.mu.Lock()
				defer p.mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				p.acked[id] = append(p.acked[id], h)
			})
			if n%7 == 0 {
				s.Wake(id)
				time.Sleep(10 * time.Millisecond)
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		cancel()
		adders.Wait()
		closeStore(t, s)
	}
}

// verify opens what a crash left, and delivers it.
func (c *powerCrash) verify(t *testing.T) {
	p := newPeers()
	s, err := Open(testOptions(c.fs, p))
	if err != nil {
		t.Errorf("%s: the store does not open: %v", c.place, err)
		return
	}
	run(s, 3*time.Second)
	for id, owed := range c.owed {
		got := p.delivered(id)
		for _, h := range owed {
			if !slices.Contains(got, h) {
				t.Errorf("%s: %s never gets %q, which was acknowledged", c.place, id, h)
			}
		}
	}
	want(t, c.place+": pending", s.PendingAll(), map[vnodes.HostID]int64{})
	closeStore(t, s)
}

// TestPowerLoss (FAULTS row 3) crashes inside the n-th change of the disk, n by the seed: segments, progress files, the directory; while hints are added, replayed and
// segments removed. Each clone must open and deliver all that was acknowledged and not delivered.
func TestPowerLoss(t *testing.T) {
	rng := rand.New(rand.NewPCG(*seed, 5))
	places := map[string]int{}
	taken, owed := 0, 0
	for number := 0; taken < *clones; number++ {
		synctest.Test(t, func(t *testing.T) {
			p := &powerLoss{mem: disk.Crashable(), rng: rng, acked: map[vnodes.HostID][]string{}, got: map[vnodes.HostID]map[string]bool{}}
			p.round(t)
			for i := range p.all {
				c := &p.all[i]
				places[c.place]++
				for _, hs := range c.owed {
					owed += len(hs)
				}
				c.verify(t)
			}
			taken += len(p.all)
		})
		if t.Failed() {
			t.Fatalf("seed %d, round %d", *seed, number)
		}
	}
	var by []string
	for _, place := range slices.Sorted(maps.Keys(places)) {
		by = append(by, fmt.Sprintf("%s %d", place, places[place]))
	}
	reportRow(t, 3, "%d crash clones opened, %d acknowledged hints looked for, 0 lost; crashed in %s", taken, owed, strings.Join(by, ", "))
}
