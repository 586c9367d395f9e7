package hints

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"nodedb/node/disk"
	"nodedb/node/fault"
	"nodedb/vnodes"
)

// Whatever a peer will not get from here is counted, and Options.Lost is told of the peer: it is what anti-entropy goes by.
func TestLostHintsAreTold(t *testing.T) {
	for name, c := range map[string]struct {
		lose  func(t *testing.T, fs disk.FS, p *peers, o Options) *Store // gives the store that should tell
		count int
	}{
		"overflow":         {loseByOverflow, 2},
		"too old, dead":    {loseByAge(true), 3},
		"too old, replay":  {loseByAge(false), 3},
		"refused for good": {loseByRefusal, 2},
		"disk full":        {loseByDisk, 1},
		"damaged":          {loseByDamage(headerBytes+recordBytes+1, 0), 1},
		"torn":             {loseByDamage(-1, 3), 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fs, p := disk.Crashable(), newPeers()
				o := testOptions(fs, p)
				var told []vnodes.HostID
				o.Lost = func(id vnodes.HostID) { told = append(told, id) }
				s := c.lose(t, fs, p, o)
				add(t, s, host(2), "another peer's hint")
				p.set(func() { p.down[host(2)] = true })
				run(s, 3*ReplayInterval)
				want(t, "lost", s.Lost(), map[vnodes.HostID]int64{host(1): int64(c.count)})
				want(t, "told", told, []vnodes.HostID{host(1)})
				if err := s.Forget(host(1)); err != nil {
					t.Fatal(err)
				}
				want(t, "lost after the peer was removed", s.Lost(), map[vnodes.HostID]int64{})
				closeStore(t, s)
			})
		})
	}
}

func loseByOverflow(t *testing.T, _ disk.FS, _ *peers, o Options) *Store {
	o.MaxBytes = headerBytes + 2*(recordBytes+9)
	s := open(t, o)
	for i, h := range numbered(0, 4) {
		if err := tryAdd(s, host(1), h); (err != nil) != (i >= 2) {
			t.Fatalf("hint %d: %v", i, err)
		}
	}
	return s
}

func loseByAge(dead bool) func(*testing.T, disk.FS, *peers, Options) *Store {
	return func(t *testing.T, _ disk.FS, p *peers, o Options) *Store {
		s := open(t, o)
		for _, h := range numbered(0, 3) {
			add(t, s, host(1), h)
		}
		p.set(func() { p.down[host(1)] = dead })
		time.Sleep(s.o.MaxAge)
		return s
	}
}

func loseByRefusal(t *testing.T, _ disk.FS, p *peers, o Options) *Store {
	s := open(t, o)
	p.answer = func(_ vnodes.HostID, h string) error {
		if h > "hint 0000" {
			return ErrRefused
		}
		return nil
	}
	for _, h := range numbered(0, 3) {
		add(t, s, host(1), h)
	}
	return s
}

func loseByDisk(t *testing.T, _ disk.FS, _ *peers, o Options) *Store {
	s := open(t, o)
	disable, err := fault.Enable("hints/write", func() error { return errors.New("no space left on device") })
	if err != nil {
		t.Fatal(err)
	}
	defer disable()
	if err := tryAdd(s, host(1), "lost"); err == nil {
		t.Fatal("a write failed, and the hint was acknowledged")
	}
	want(t, "counted", s.Stats().Unwritten, 1)
	return s
}

// loseByDamage flips the byte at an offset (none: -1) of a closed store's segment, and cuts some bytes off its end.
func loseByDamage(flip, cut int) func(*testing.T, disk.FS, *peers, Options) *Store {
	return func(t *testing.T, fs disk.FS, _ *peers, o Options) *Store {
		s := open(t, o)
		for _, h := range numbered(0, 3) {
			add(t, s, host(1), h)
		}
		closeStore(t, s)
		name := segmentFiles(t, fs, host(1))[0]
		content := slices.Clone(readAll(t, fs, name))
		if flip >= 0 {
			content[flip] ^= 1
		}
		writeAll(t, fs, name, content[:len(content)-cut])
		return open(t, o)
	}
}
