package replica

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"nodedb/coordinator"
	"nodedb/coordinator/consistency"
	"nodedb/node/row"
	"nodedb/node/rpc"
	"nodedb/node/storage"
	"nodedb/query/schema"
	"nodedb/vnodes"
)

type slowReads struct {
	*memStore
	gate chan struct{}
}

func (s *slowReads) Read(ctx context.Context, spec *storage.ReadSpec, buf []byte) ([]byte, error) {
	<-s.gate
	return s.memStore.Read(ctx, spec, buf)
}

// A local disk that stalls in a read holds the caller beyond the read's timeout, though two replicas have answered.
func TestLocalReadStall(t *testing.T) {
	bubble(t, 3, 3, func(t *testing.T, c *testCluster) {
		gate := make(chan struct{})
		c.nodes[0].replica.Store = &slowReads{c.nodes[0].store, gate}
		time.AfterFunc(time.Minute, func() { close(gate) })
		begun := time.Now()
		_, err := c.nodes[0].read(consistency.Quorum, "k")
		if took := time.Since(begun); took > 6*time.Second {
			t.Errorf("the client waited %s (%v)", took, err)
		}
	})
}

// A local stall that overflows the writer's queue: the local replica misses acknowledged writes and gets no hint.
func TestLocalOverloadNoHint(t *testing.T) {
	bubble(t, 3, 3, func(t *testing.T, c *testCluster) {
		gate := make(chan struct{})
		c.nodes[0].replica.writer.store = &slowStore{c.nodes[0].store, gate}
		acked := 0
		for i := range maxQueuedWrites + 500 {
			if c.nodes[0].write(consistency.Quorum, mutation(fmt.Sprint("k", i), 1, "a", 10)) == nil {
				acked++
			}
		}
		close(gate)
		time.Sleep(time.Minute)
		c.nodes[0].store.mu.Lock()
		has := len(c.nodes[0].store.partitions)
		c.nodes[0].store.mu.Unlock()
		if hinted := c.nodes[0].hinted(0); has+hinted < acked {
			t.Errorf("%d acknowledged, the local replica has %d, hints for it %d", acked, has, hinted)
		}
	})
}

// A write after Close panics.
func TestWriteAfterClose(t *testing.T) {
	bubble(t, 1, 1, func(t *testing.T, c *testCluster) {
		r := New(Options{Self: nodeID(0), Store: &memStore{}, Cluster: c.nodes[0], Clock: c.nodes[0].clock, Admission: &coordinator.Admission{}})
		r.Close()
		defer func() {
			if p := recover(); p != nil {
				t.Errorf("panic: %v", p)
			}
		}()
		r.writer.add(queued{done: func(error) {}})
	})
}

// A SERIAL read that finds replicas to differ while the range moves is refused.
func TestSerialReadDuringMove(t *testing.T) {
	bubble(t, 4, 3, func(t *testing.T, c *testCluster) {
		ms := members(4)
		j := ms[3]
		j.State = vnodes.StateJoining
		v := viewOf(t, 4, 3, ms[0], ms[1], ms[2], j)
		for _, m := range c.nodes {
			m.setView(v)
		}
		for i := range 30 {
			k := fmt.Sprint("k", i)
			c.nodes[0].store.Apply([]row.Mutation{mutation(k, 1, "a", 10)}, func(error) {})
			if _, err := c.nodes[0].read(consistency.Serial, k); err != nil {
				t.Fatalf("%s: %v", k, err)
			}
		}
	})
}

// The data replica (oneself) fails at once; the digests come later and meet the level; nobody asks for data.
func TestEachQuorumDigestsLater(t *testing.T) {
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
		c.nodes[0].store.fail = errors.New("bad disk")
		for range 40 {
			begun := time.Now()
			if _, err := c.nodes[0].read(consistency.EachQuorum, "k"); err != nil {
				t.Fatalf("%v after %v: 4 of 5 replicas are well", err, time.Since(begun))
			}
		}
	})
}

// OVERLOADED says that nothing was done, and yet the write is applied: by a hint, and by the replica that had not answered.
func TestOverloadedTakesEffect(t *testing.T) {
	bubble(t, 4, 3, func(t *testing.T, c *testCluster) {
		from := -1
		place, _, _ := c.nodes[0].view.Placement("ks")
		r := place.Replicas(vnodes.PartitionToken([]byte("k")))
		var own []int
		for i := range 4 {
			if r.Contains(nodeID(i)) {
				own = append(own, i)
			} else {
				from = i
			}
		}
		for _, i := range own[:2] {
			c.nodes[i].store.fail = &rpc.RemoteError{Code: rpc.CodeOverloaded, Message: "busy"}
		}
		c.mu.wait = func(to int) time.Duration {
			return map[bool]time.Duration{true: 50 * time.Millisecond, false: time.Millisecond}[to == own[2]]
		}
		err := c.nodes[from].write(consistency.Quorum, mutation("k", 1, "a", 10))
		time.Sleep(time.Minute)
		var o *coordinator.Overloaded
		if errors.As(err, &o) {
			t.Errorf("answered %v; replica %d has %d partitions, hints left: %d", err, own[2], len(c.nodes[own[2]].store.partitions),
				c.nodes[from].hinted(own[0])+c.nodes[from].hinted(own[1]))
		}
	})
}
