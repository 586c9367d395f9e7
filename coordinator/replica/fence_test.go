package replica

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"nodedb/coordinator"
	"nodedb/coordinator/consistency"
	"nodedb/node/row"
	"nodedb/query/schema"
	"nodedb/vnodes"
)

func viewOf(t *testing.T, epoch uint64, factor int, nodes ...vnodes.Node) *coordinator.View {
	return coordinator.NewView(epoch, vnodes.NewRing(epoch, nodes), catalogOf(t, factor))
}

// A stale coordinator with one stale former owner: acked by {0 current, 2 former}.
func TestStaleCoordinatorWrite(t *testing.T) {
	bubble(t, 4, 3, func(t *testing.T, c *testCluster) {
		ms := members(4)
		old := viewOf(t, 3, 3, ms[0], ms[1], ms[2])
		now := viewOf(t, 9, 3, ms[0], ms[1], ms[3]) // 2 has left, every step long applied by 0, 1, 3
		for i, m := range c.nodes {
			m.setView(map[bool]*coordinator.View{true: old, false: now}[i == 2])
		}
		// 2 was partitioned while it was moved out; its link to 0 heals first.
		c.lose(func(from, to, _ int) bool { return (from == 2) != (to == 2) && from != 0 && to != 0 })
		err := c.nodes[2].write(consistency.Quorum, mutation("k", 1, "a", 10))
		t.Logf("write at QUORUM by the stale coordinator: %v", err)
		if err != nil {
			return
		}
		c.lose(func(from, to, _ int) bool { return to == 0 || to == 2 || from == 2 }) // 0 is slow now
		got, err := c.nodes[1].read(consistency.Quorum, "k")
		if err != nil || !slices.Equal(got, []string{"k/1=a"}) {
			t.Errorf("acknowledged at QUORUM, but QUORUM under the current ring reads %v, %v", got, err)
		}
	})
}

// acked by former owners alone: two moves, nodes 1 and 2 are former owners; 1 has not applied the second move.
func TestFormerOwnersAlone(t *testing.T) {
	bubble(t, 5, 3, func(t *testing.T, c *testCluster) {
		ms := members(5)
		v1 := viewOf(t, 3, 3, ms[0], ms[1], ms[2])
		v2 := viewOf(t, 7, 3, ms[0], ms[1], ms[3])
		v3 := viewOf(t, 11, 3, ms[0], ms[3], ms[4])
		for i, v := range []*coordinator.View{v3, v2, v1, v3, v3} {
			c.nodes[i].setView(v)
		}
		c.lose(func(from, to, _ int) bool { return from == 2 && to == 0 })
		err := c.nodes[2].write(consistency.Quorum, mutation("k", 1, "a", 10))
		t.Logf("write at QUORUM: %v", err)
		if err != nil {
			return
		}
		c.revive()
		got, err := c.nodes[3].read(consistency.All, "k")
		if err != nil || !slices.Equal(got, []string{"k/1=a"}) {
			t.Errorf("acknowledged at QUORUM, but ALL under the current ring reads %v, %v", got, err)
		}
	})
}

// Stale read.
func TestStaleRead(t *testing.T) {
	bubble(t, 4, 3, func(t *testing.T, c *testCluster) {
		ms := members(4)
		old := viewOf(t, 3, 3, ms[0], ms[1], ms[2])
		now := viewOf(t, 9, 3, ms[0], ms[1], ms[3])
		for i, m := range c.nodes {
			m.setView(map[bool]*coordinator.View{true: old, false: now}[i == 2])
		}
		c.lose(func(from, to, _ int) bool { return from == 1 && to == 0 }) // the new write reaches 1 and 3
		if err := c.nodes[1].write(consistency.Quorum, mutation("k", 1, "a", 10)); err != nil {
			t.Fatal(err)
		}
		c.lose(func(from, to, _ int) bool { return from == 2 && to == 1 })
		got, err := c.nodes[2].read(consistency.Quorum, "k")
		if err == nil && len(got) == 0 {
			t.Errorf("QUORUM read by a stale coordinator misses what QUORUM acknowledged: %v", got)
		}
	})
}

// Read repair while a range moves leaves the new owner out: a value read at QUORUM is gone after the move.
func TestReadRepairDuringMove(t *testing.T) {
	bubble(t, 4, 3, func(t *testing.T, c *testCluster) {
		ms := members(4)
		before := viewOf(t, 3, 3, ms[0], ms[1], ms[2])
		j, jr := ms[3], ms[3]
		j.State, jr.State = vnodes.StateJoining, vnodes.StateJoiningRead
		// pick a key that moves from some old owner to 3
		joining := viewOf(t, 4, 3, ms[0], ms[1], ms[2], j)
		joiningRead := viewOf(t, 5, 3, ms[0], ms[1], ms[2], jr)
		normal := viewOf(t, 6, 3, ms[0], ms[1], ms[2], ms[3])
		_ = joiningRead
		var key string
		var out int
		for i := 0; key == ""; i++ {
			k := string(rune('a' + i))
			place, _, _ := joining.Placement("ks")
			r := place.Replicas(vnodes.PartitionToken([]byte(k)))
			if r.Moving() {
				key = k
				for o := range 3 {
					if !slices.ContainsFunc(r.New, func(n *vnodes.Node) bool { return n.ID == nodeID(o) }) {
						out = o
					}
				}
			}
		}
		var stay []int
		for o := range 3 {
			if o != out {
				stay = append(stay, o)
			}
		}
		for _, m := range c.nodes {
			m.setView(before)
		}
		// a write that timed out reached only the node that will lose the range
		c.nodes[out].store.Apply([]row.Mutation{mutation(key, 1, "a", 10)}, func(error) {})
		for _, m := range c.nodes {
			m.setView(joining)
		}
		// node 3 streams from the quorum of the others now: nothing there. Then a client reads at QUORUM through out+one other.
		c.lose(func(from, to, _ int) bool { return to == stay[1] && from != to })
		got, err := c.nodes[out].read(consistency.Quorum, key)
		t.Logf("QUORUM read during the move: %v %v", got, err)
		c.revive()
		for _, m := range c.nodes {
			m.setView(normal)
		}
		c.lose(func(from, to, _ int) bool { return to == stay[0] && from != to })
		after, err := c.nodes[stay[1]].read(consistency.Quorum, key)
		if err != nil || !slices.Equal(got, after) {
			t.Errorf("QUORUM read %v during the move and %v, %v after it", got, after, err)
		}
	})
}

type slowStore struct {
	*memStore
	gate chan struct{}
}

func (s *slowStore) Apply(ms []row.Mutation, done func(error)) {
	<-s.gate
	s.memStore.Apply(ms, done)
}

// WhenDrained says nothing of a replica's own writes in progress: stream misses a write acked afterwards.
func TestAppliedIgnoresReplicaWrites(t *testing.T) {
	bubble(t, 4, 3, func(t *testing.T, c *testCluster) {
		ms := members(4)
		old := viewOf(t, 3, 3, ms[0], ms[1], ms[2])
		j := ms[3]
		j.State = vnodes.StateJoining
		joining := viewOf(t, 4, 3, ms[0], ms[1], ms[2], j)
		for _, m := range c.nodes {
			m.setView(old)
		}
		gate := make(chan struct{})
		c.nodes[0].replica.writer.store = &slowStore{c.nodes[0].store, gate}
		c.lose(func(from, to, _ int) bool { return to == 1 })
		result := make(chan error, 1)
		go func() { result <- c.nodes[2].write(consistency.Quorum, mutation("k", 1, "a", 10)) }()
		time.Sleep(100 * time.Millisecond) // 2 (local) has it; it sits in 0's store, admitted under the old ring
		c.nodes[0].setView(joining)
		c.nodes[1].setView(joining)
		drained := 0
		for _, i := range []int{0, 1} { // VerbApplied at 0 and 1: a majority of the old owners
			c.nodes[i].admission.WhenDrained(4, func() { drained++ })
		}
		if drained == 2 {
			t.Errorf("a majority of the old owners says it has ended the requests of older rings")
			if len(c.nodes[0].store.partitions)+len(c.nodes[1].store.partitions) == 0 {
				t.Errorf("the stream reads from 0 and 1 now and finds nothing")
			}
			close(gate)
			t.Errorf("then the write is acknowledged at QUORUM under the old ring: %v", <-result)
			return
		}
		close(gate)
		<-result
	})
}

// A replica that says "not owner" after the client was answered gets no hint, and neither does who owns the range now.
func TestLateNotOwnerNoHint(t *testing.T) {
	bubble(t, 4, 3, func(t *testing.T, c *testCluster) {
		ms := members(4)
		old := viewOf(t, 3, 3, ms[0], ms[1], ms[2])
		now := viewOf(t, 9, 3, ms[0], ms[1], ms[3])
		for _, m := range c.nodes {
			m.setView(old)
		}
		c.nodes[2].setView(now)
		if err := c.nodes[0].write(consistency.One, mutation("k", 1, "a", 10)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		total := 0
		for to := range 4 {
			total += c.nodes[0].hinted(to)
		}
		if total == 0 {
			t.Errorf("node 2 refused, node 3 owns it now: stores %d %d, hints %d", len(c.nodes[2].store.partitions), len(c.nodes[3].store.partitions), total)
		}
	})
}

// A local disk that stalls holds the caller beyond the write's timeout.
func TestLocalStall(t *testing.T) {
	bubble(t, 3, 3, func(t *testing.T, c *testCluster) {
		gate := make(chan struct{})
		c.nodes[0].replica.writer.store = &slowStore{c.nodes[0].store, gate}
		time.AfterFunc(time.Minute, func() { close(gate) })
		begun := time.Now()
		err := c.nodes[0].write(consistency.Quorum, mutation("k", 1, "a", 10))
		if took := time.Since(begun); took > 3*time.Second {
			t.Errorf("two other replicas answered within 2 ms; the client waited %s (%v)", took, err)
		}
	})
}
func TestEachQuorumDigestsOnly(t *testing.T) {
	bubble(t, 5, 3, func(t *testing.T, c *testCluster) {
		ms := members(5)
		ms[3].DC, ms[4].DC = "dc2", "dc2"
		cat, _, err := c.nodes[0].view.Catalog.Apply(&schema.Change{Op: schema.AlterKeyspace, Keyspace: "ks", Class: "NetworkTopologyStrategy",
			Replication: map[string]string{"dc1": "3", "dc2": "2"}}, 3)
		if err != nil {
			t.Fatal(err)
		}
		v := coordinator.NewView(4, vnodes.NewRing(4, ms), cat)
		for _, m := range c.nodes {
			m.setView(v)
		}
		if err := c.nodes[0].write(consistency.All, mutation("k", 1, "a", 10)); err != nil {
			t.Fatal(err)
		}
		c.nodes[3].store.fail = nil
		bad := 0
		for range 300 {
			for i := range 3 {
				c.nodes[i].store.mu.Lock()
				c.nodes[i].store.fail = nil
				c.nodes[i].store.mu.Unlock()
			}
			c.nodes[1].store.mu.Lock()
			c.nodes[1].store.fail = errors.New("bad disk")
			c.nodes[1].store.mu.Unlock()
			begun := time.Now()
			if _, err := c.nodes[0].read(consistency.EachQuorum, "k"); err != nil || time.Since(begun) > 2*time.Second {
				bad++
				t.Logf("%v after %v", err, time.Since(begun))
				break
			}
		}
		if bad > 0 {
			t.Error("4 of 5 replicas are well: dc1 has a quorum and dc2 both")
		}
	})
}
func TestRaceSpeculate(t *testing.T) {
	bubble(t, 5, 5, func(t *testing.T, c *testCluster) {
		c.mu.Lock()
		c.mu.wait = func(to int) time.Duration { return 10 * time.Millisecond }
		c.mu.Unlock()
		c.nodes[0].coordinator.SpeculateAfter = 10 * time.Millisecond
		for i := range 2000 {
			k := fmt.Sprint("k", i)
			c.nodes[i%5].store.Apply([]row.Mutation{mutation(k, 1, "a", 10)}, func(error) {})
			_, err := c.nodes[0].read(consistency.Quorum, k)
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}
