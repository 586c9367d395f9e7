package replica

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"nodedb/coordinator"
	"nodedb/coordinator/consistency"
	"nodedb/node/row"
	"nodedb/node/rpc"
)

// laggingStore takes a while for each batch, now and then longer than a write's timeout, and answers some with an error.
type laggingStore struct {
	*memStore
	drawing sync.Mutex
	random  *rand.Rand
}

func (s *laggingStore) draw(n int) int {
	s.drawing.Lock()
	defer s.drawing.Unlock()
	return s.random.IntN(n)
}

func (s *laggingStore) Apply(ms []row.Mutation, done func(error)) {
	switch s.draw(20) {
	case 0:
		time.Sleep(3 * time.Second)
	case 1:
		done(errors.New("bad disk"))
		return
	}
	time.Sleep(time.Duration(s.draw(5)) * time.Millisecond)
	s.memStore.Apply(ms, done)
}

// Whatever answers come late or never, replicas are down or slow, and whoever answers: a write is answered once, and what a request's mutations lie in is given
// back, after its answer, only when nobody reads it any more. It is overwritten then, and that must show nowhere.
func TestSpentWritesAreUsedByNobody(t *testing.T) {
	for seed := range uint64(4) {
		bubble(t, 4, 3, func(t *testing.T, c *testCluster) {
			random, choice := rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 2)) // random under c.mu
			for i, m := range c.nodes {
				m.replica.writer.store = &laggingStore{memStore: m.store, random: rand.New(rand.NewPCG(seed, uint64(i)))}
			}
			c.mu.wait = func(int) time.Duration { return time.Duration(random.IntN(8)) * time.Millisecond }
			c.mu.drop = func(_, _, verb int) bool { return rpc.Verb(verb) == rpc.VerbWrite && random.IntN(20) == 0 }
			c.kill(3)
			levels := []consistency.Level{consistency.One, consistency.Quorum, consistency.All, consistency.Any}
			spent, moved := atomic.Int64{}, viewOf(t, 9, 3, members(4)...)
			for round := range 20 {
				if round == 7 {
					c.nodes[1].setView(moved) // the others hear of it by being refused, and begin anew
				}
				var all sync.WaitGroup
				for i := range 20 {
					all.Add(1)
					poisonedWrite(t, c.nodes[i%3], levels[choice.IntN(len(levels))], choice.IntN(1000), &spent, all.Done)
				}
				all.Wait()
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if n := spent.Load(); n < 20 {
				t.Errorf("%d of 400 requests were given back", n)
			}
			c.noPoison(t)
		})
	}
}

// poisonedWrite writes a row whose bytes are overwritten once they are spent.
func poisonedWrite(t *testing.T, m *testNode, level consistency.Level, k int, spent *atomic.Int64, answered func()) {
	mut := mutation(fmt.Sprint("key", k), 1, "value", 10)
	var ended, gone atomic.Int32
	r := &coordinator.WriteRequest{Level: level, Kind: coordinator.WriteSimple, Writes: []coordinator.Write{{Table: m.c.table, Mutation: mut}}}
	r.Spent = func() {
		if ended.Load() != 1 || gone.Add(1) != 1 {
			t.Errorf("spent %d times, answered %d times", gone.Load(), ended.Load())
		}
		spent.Add(1)
		for _, b := range [][]byte{mut.Key, mut.Rows[0].Clustering, mut.Rows[0].Fragment} {
			for i := range b {
				b[i] = poison
			}
		}
	}
	m.coordinator.Write(context.Background(), r, func(error) {
		if ended.Add(1) != 1 {
			t.Error("answered twice")
		}
		answered()
	})
}

const poison = 0xEE

// noPoison checks that neither replicas nor hints hold overwritten bytes.
func (c *testCluster) noPoison(t *testing.T) {
	t.Helper()
	rows := 0
	for i, m := range c.nodes {
		for _, p := range m.store.partitions {
			for _, e := range p.rows {
				if rows++; p.key[0] == poison || e.Clustering[0] == poison || e.Fragment[0] == poison {
					t.Errorf("node %d holds overwritten bytes: %x %x %x", i, p.key, e.Clustering, e.Fragment)
				}
			}
		}
		for to, list := range m.hints {
			for _, h := range list {
				if mut, _, err := row.DecodeMutation(h); err != nil || mut.Key[0] == poison {
					t.Errorf("node %d holds a hint for %v of overwritten bytes: %x", i, to, h)
				}
			}
		}
	}
	if rows == 0 {
		t.Error("nothing was written")
	}
}
