package metalog

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"nodedb/node/rpc/simnet"
)

// founding is a world whose machines found a cluster while everything fails.
type founding struct {
	*world
	lists [][]int          // of each machine
	seen  map[[16]byte]int // every cluster that ever was, and who belonged to it
}

// look notes the clusters that there are.
func (f *founding) look() {
	for _, m := range f.machines[1:] {
		if m.log != nil && m.log.State() != nil {
			f.seen[m.log.State().ClusterID] = m.i
		}
	}
}

func (f *founding) start(i int) { f.machines[i].on(f.lists[i]...) }

// disturb does one bad thing.
func (f *founding) disturb(cuts bool) {
	n := len(f.machines) - 1
	i := 1 + f.rng.IntN(n)
	m := f.machines[i]
	switch what := f.rng.IntN(8); {
	case what < 2 && cuts:
		var sides [2][]string
		for k := 1; k <= n; k++ {
			side := f.rng.IntN(2)
			sides[side] = append(sides[side], address(k))
		}
		f.net.Partition(sides[:]...)
	case what == 2 && cuts:
		f.net.Cut(address(i), address(1+f.rng.IntN(n)))
	case what == 3:
		f.net.HealAll()
	case what == 4 && cuts:
		f.net.Stall(address(i), time.Duration(f.rng.Int64N(int64(4*time.Second))))
	case what < 7:
		m.store.crashIn(1+f.rng.IntN(4), f.rng.IntN(2) == 0)
	default:
		m.off()
	}
}

// revive starts the machines that are off or crashed, some of them.
func (f *founding) revive(share int) {
	for i, m := range f.machines[1:] {
		select {
		case <-m.died:
			m.off()
		default:
		}
		if m.log == nil && f.rng.IntN(100) < share {
			f.start(i + 1)
		}
	}
}

// foundIn runs a founding. With lists that differ nothing is cut: then machines see each other's lists.
func foundIn(t *testing.T, seed uint64, differ bool) {
	rng := rand.New(rand.NewPCG(seed, 5))
	n := 2 + rng.IntN(6)
	faults := simnet.Faults{MinDelay: time.Millisecond, MaxDelay: time.Duration(2+rng.IntN(100)) * time.Millisecond, Drop: 0.2 * rng.Float64(), Duplicate: 0.1}
	if differ {
		n, faults.Drop = 4+rng.IntN(4), 0.02
	}
	simulate(t, n, seed, faults, func(w *world) {
		f := &founding{world: w, lists: make([][]int, n+1), seen: map[[16]byte]int{}}
		for i := 1; i <= n; i++ {
			left := 0
			if differ { // the halves have a list each, without one of the other half
				left = 1 + n/2
				if i > n/2 {
					left = 1
				}
			}
			for k := 1; k <= n; k++ {
				if k != left {
					f.lists[i] = append(f.lists[i], k)
				}
			}
		}
		for i := 1; i <= n; i++ {
			f.start(i)
			if rng.IntN(2) == 0 {
				time.Sleep(time.Duration(rng.Int64N(int64(2 * time.Second))))
			}
		}
		if differ {
			time.Sleep(time.Duration(rng.Int64N(int64(8 * time.Second))))
		}
		for range 12 {
			time.Sleep(time.Duration(rng.Int64N(int64(1500 * time.Millisecond))))
			f.look()
			f.disturb(!differ)
			f.revive(70)
		}
		f.calm(differ)
		if len(f.seen) > 1 {
			t.Errorf("lists %v: %d clusters were founded: %v", f.lists[1:], len(f.seen), f.seen)
		}
	})
}

// calm ends the faults; with one list all machines have to end in one cluster.
func (f *founding) calm(differ bool) {
	f.net.HealAll()
	f.net.SetFaults(simnet.Faults{MinDelay: time.Millisecond, MaxDelay: 5 * time.Millisecond})
	for _, m := range f.machines[1:] {
		m.store.crashIn(-1, false)
	}
	f.revive(100)
	if differ {
		time.Sleep(time.Minute)
		f.look()
		return
	}
	for _, m := range f.machines[1:] {
		if err := m.in(); err != nil {
			f.t.Error(err)
		}
	}
	f.look()
	if st := f.agree(); st != nil && len(st.Members) != len(f.machines)-1 {
		f.t.Errorf("%d members of %d", len(st.Members), len(f.machines)-1)
	}
}

// TestSimFounding: one list, and whatever is cut and crashes: never two clusters, and one in the end.
func TestSimFounding(t *testing.T) {
	for seed := *firstSeed; seed < *firstSeed+2**seeds; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { foundIn(t, seed, false) })
	}
}

// TestSimFoundingWithListsThatDiffer: each half of the machines has a list without one of the other half, and they see
// each other: at most one cluster.
func TestSimFoundingWithListsThatDiffer(t *testing.T) {
	for seed := *firstSeed; seed < *firstSeed+2**seeds; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { foundIn(t, seed, true) })
	}
}
