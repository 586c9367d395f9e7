package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"nodedb/coordinator"
	"nodedb/coordinator/consistency"
	"nodedb/node/row"
	"nodedb/node/rpc"
	"nodedb/node/storage"
	"nodedb/vnodes"
)

// memSystem is a naive system key space.
type memSystem struct {
	mu   sync.Mutex
	held map[string][]byte
	fail error
}

func (s *memSystem) GetSystem(key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.held[key]), nil
}

func (s *memSystem) ScanSystem(string, func(string, []byte) bool) error { return nil }

func (s *memSystem) ApplySystem(pairs []storage.Pair, done func(error)) {
	s.mu.Lock()
	for _, p := range pairs {
		if s.fail == nil {
			s.held[p.Key] = slices.Clone(p.Value)
		}
	}
	err := s.fail
	s.mu.Unlock()
	done(err)
}

// batch writes rows (key, 1) = value of some partitions as one logged batch.
func (m *testNode) batch(level consistency.Level, value string, timestamp int64, keys ...string) error {
	r := &coordinator.WriteRequest{Level: level, Kind: coordinator.WriteBatch}
	for _, k := range keys {
		r.Writes = append(r.Writes, coordinator.Write{Table: m.c.table, Mutation: mutation(k, 1, value, timestamp)})
	}
	ch := make(chan error, 1)
	m.coordinator.Write(context.Background(), r, func(err error) { ch <- err })
	return <-ch
}

// replay lets all batch logs but some nodes' write again what is due, for a while.
func (c *testCluster) replay(long time.Duration, but ...int) {
	ctx, cancel := context.WithTimeout(context.Background(), long)
	defer cancel()
	var running sync.WaitGroup
	for _, m := range c.nodes {
		if !slices.Contains(but, m.index) {
			running.Go(func() { m.batches.Run(ctx) })
		}
	}
	running.Wait()
}

// open is how many entries all nodes keep.
func (c *testCluster) open() (n int) {
	for _, m := range c.nodes {
		n += m.batches.Len()
	}
	return n
}

var batchKeys = []string{"a", "b", "c"}

// everywhere gives what each node itself holds of the batch's rows.
func (c *testCluster) everywhere(t *testing.T) (held []string) {
	t.Helper()
	for _, m := range c.nodes {
		var rows []string
		for _, k := range batchKeys {
			page, err := m.store.Read(context.Background(), &storage.ReadSpec{Storage: testStorage, Key: []byte(k), Token: vnodes.PartitionToken([]byte(k)), Now: 1}, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, _, err := rowsOf(t, page)
			if err != nil {
				t.Fatal(err)
			}
			rows = append(rows, got...)
		}
		held = append(held, strings.Join(rows, " "))
	}
	return held
}

// Nothing of a batch is sent before two other nodes keep it, and it is forgotten once it is written.
func TestABatchIsKeptByTwoOthersFirst(t *testing.T) {
	bubble(t, 4, 3, func(t *testing.T, c *testCluster) {
		early := false
		c.lose(func(_, _, verb int) bool {
			kept := 0
			for _, m := range c.nodes[1:] {
				kept += m.batches.Len()
			}
			early = early || rpc.Verb(verb) == rpc.VerbWrite && kept < 2
			return false
		})
		if err := c.nodes[0].batch(consistency.Quorum, "x", 10, batchKeys...); err != nil {
			t.Fatal(err)
		}
		if early {
			t.Error("a replica was sent to while fewer than two nodes kept the batch")
		}
		if c.sent(rpc.VerbBatchLog, 0) != 0 || c.nodes[0].batches.Len() != 0 {
			t.Error("the coordinator keeps the batch itself")
		}
		c.calls.Wait()
		if n := c.open(); n != 0 {
			t.Errorf("%d entries are open after the batch was acknowledged", n)
		}
	})
}

// One mutation is atomic without a log, and an unlogged batch has none.
func TestWhatNeedsNoBatchLog(t *testing.T) {
	bubble(t, 3, 3, func(t *testing.T, c *testCluster) {
		if err := c.nodes[0].batch(consistency.Quorum, "x", 10, "a"); err != nil {
			t.Fatal(err)
		}
		r := &coordinator.WriteRequest{Level: consistency.Quorum, Kind: coordinator.WriteUnloggedBatch, Writes: []coordinator.Write{
			{Table: c.table, Mutation: mutation("a", 1, "y", 11)}, {Table: c.table, Mutation: mutation("b", 1, "y", 11)}}}
		ch := make(chan error, 1)
		c.nodes[0].coordinator.Write(context.Background(), r, func(err error) { ch <- err })
		if err := <-ch; err != nil {
			t.Fatal(err)
		}
		if n := c.sent(rpc.VerbBatchLog, 1) + c.sent(rpc.VerbBatchLog, 2); n != 0 {
			t.Errorf("%d messages to batch logs, want none", n)
		}
	})
}

// The coordinator dies at each of its messages in turn: what it sent before arrives, the rest never. A minute later either all of the batch is at all other
// replicas, or nothing of it anywhere.
func TestABatchWhoseCoordinatorDiesIsAllThereOrNotAtAll(t *testing.T) {
	outcomes := map[string]int{}
	for died := range 12 {
		bubble(t, 4, 3, func(t *testing.T, c *testCluster) {
			var mu sync.Mutex
			sent := 0
			c.lose(func(from, _, _ int) bool {
				mu.Lock()
				defer mu.Unlock()
				if from != 0 {
					return false
				}
				sent++
				return sent > died
			})
			keys := c.unowned()
			err := c.nodes[0].batch(consistency.Quorum, "x", 10, keys...)
			c.mu.Lock()
			c.mu.dead[nodeID(0)] = true
			clear(c.nodes[0].hints) // it never comes back, and what it kept doesn't
			c.mu.Unlock()
			c.replay(60*time.Second, 0)
			held := c.survivors(t, keys)
			want := strings.Join(keys, "/1=x ") + "/1=x"
			if held != "" && held != want || err == nil && held != want {
				t.Errorf("dead after %d messages, the client was told %v: the others hold %q", died, err, held)
			}
			if held == want {
				outcomes["all"]++
			} else {
				outcomes["none"]++
			}
			if n := c.open() - c.nodes[0].batches.Len(); n != 0 {
				t.Errorf("dead after %d messages: %d entries are still open", died, n)
			}
		})
	}
	if outcomes["all"] == 0 || outcomes["none"] == 0 {
		t.Errorf("the crashes led to %v: both should be met", outcomes)
	}
}

// unowned gives for each node a key that it has no replica of: who was reached alone holds a part of their batch.
func (c *testCluster) unowned() (keys []string) {
	place, _, _ := c.nodes[0].View().Placement("ks")
	for i := 0; len(keys) < len(c.nodes); i++ {
		k := fmt.Sprint("key", i)
		if !place.Replicas(vnodes.PartitionToken([]byte(k))).Contains(nodeID(len(keys))) {
			keys = append(keys, k)
		}
	}
	return keys
}

// survivors reads the batch's rows at QUORUM through the last node. The first one is dead: of most partitions that is both replicas that are left.
func (c *testCluster) survivors(t *testing.T, keys []string) string {
	t.Helper()
	var rows []string
	for _, k := range keys {
		got, err := c.nodes[3].read(consistency.Quorum, k)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, got...)
	}
	return strings.Join(rows, " ")
}

// A batch that is written again keeps its timestamps: what was written after it stays.
func TestABatchWrittenAgainCoversNothingNewer(t *testing.T) {
	bubble(t, 3, 3, func(t *testing.T, c *testCluster) {
		c.lose(func(_, _, verb int) bool { return rpc.Verb(verb) == rpc.VerbBatchDone })
		if err := c.nodes[0].batch(consistency.Quorum, "old", 10, batchKeys...); err != nil {
			t.Fatal(err)
		}
		if err := c.nodes[1].write(consistency.All, mutation("b", 1, "new", 20)); err != nil {
			t.Fatal(err)
		}
		if err := c.nodes[1].write(consistency.All, deletion("c", 1, 20)); err != nil {
			t.Fatal(err)
		}
		if c.open() != 2 {
			t.Fatalf("%d entries are open, want 2: nobody ended them", c.open())
		}
		c.replay(10 * time.Second)
		for i, held := range c.everywhere(t) {
			if held != "a/1=old b/1=new" {
				t.Errorf("node %d holds %q", i, held)
			}
		}
		if c.open() != 0 {
			t.Errorf("%d entries are open after they were written again", c.open())
		}
	})
}

// Owners that are down when a batch is written again get hints; the entry is kept until those are durable.
func TestABatchWrittenAgainLeavesHints(t *testing.T) {
	bubble(t, 4, 3, func(t *testing.T, c *testCluster) {
		c.lose(func(_, _, verb int) bool { return rpc.Verb(verb) == rpc.VerbWrite })
		if err := c.nodes[0].batch(consistency.All, "x", 10, batchKeys...); err == nil {
			t.Fatal("the batch was acknowledged though no replica was reached")
		}
		c.lose(nil)
		c.kill(0)
		c.replay(20*time.Second, 0)
		owned := 0
		for _, k := range batchKeys {
			place, _, _ := c.nodes[1].View().Placement("ks")
			if place.Replicas(vnodes.PartitionToken([]byte(k))).Contains(nodeID(0)) {
				owned++
			}
		}
		hints := c.nodes[1].hinted(0) + c.nodes[2].hinted(0) + c.nodes[3].hinted(0)
		if owned == 0 || hints < owned {
			t.Errorf("the dead node owns %d of the partitions, and %d hints are kept for it", owned, hints)
		}
		if c.open() != 0 {
			t.Errorf("%d entries are open", c.open())
		}
	})
}

// A table that was truncated meanwhile is left out, and the rest of the batch is written.
func TestABatchWrittenAgainLeavesDroppedTablesOut(t *testing.T) {
	bubble(t, 3, 3, func(t *testing.T, c *testCluster) {
		entry := append([]byte{1}, mutationOf(t, "a", testStorage+100)...)
		other := mutation("b", 1, "x", 10)
		entry = other.Append(entry)
		ch := make(chan error, 1)
		c.nodes[0].coordinator.Redeliver(entry, func(err error) { ch <- err })
		if err := <-ch; err == nil {
			t.Error("a batch for a table that is not known yet was dropped")
		}
		entry = append([]byte{1}, mutationOf(t, "a", 0)...) // an id below the highest that is in use no more
		entry = other.Append(entry)
		c.nodes[0].coordinator.Redeliver(entry, func(err error) { ch <- err })
		if err := <-ch; err != nil {
			t.Fatal(err)
		}
		for i, held := range c.everywhere(t) {
			if held != "b/1=x" {
				t.Errorf("node %d holds %q", i, held)
			}
		}
	})
}

func mutationOf(t *testing.T, key string, id row.StorageID) []byte {
	t.Helper()
	m := mutation(key, 1, "x", 10)
	m.Storage = id
	return m.Append(nil)
}

func TestErrorsOfBatches(t *testing.T) {
	lose := func(verb rpc.Verb) func(int, int, int) bool {
		return func(_, _, v int) bool { return rpc.Verb(v) == verb }
	}
	for _, tc := range []struct {
		name          string
		nodes, factor int
		level         consistency.Level
		drop          func(from, to, verb int) bool
		dead          []int
		want          string
	}{
		{"all well", 3, 3, consistency.Quorum, nil, nil, "<nil>"},
		{"a single node keeps its own", 1, 1, consistency.One, nil, nil, "<nil>"},
		{"one other is enough if there is no more", 3, 3, consistency.Quorum, nil, []int{2}, "<nil>"},
		{"nobody to keep it", 3, 1, consistency.One, nil, []int{1, 2}, "unavailable ONE 1/0"},
		{"the level is looked at first", 3, 3, consistency.Quorum, nil, []int{1, 2}, "unavailable QUORUM 2/1"},
		{"ANY keeps it itself", 3, 3, consistency.Any, nil, []int{1, 2}, "<nil>"},
		{"no holder answers", 3, 3, consistency.Quorum, lose(rpc.VerbBatchLog), nil, "timeout BATCH_LOG TWO 0/2"},
		{"the only holder does not answer", 3, 3, consistency.Quorum, lose(rpc.VerbBatchLog), []int{2}, "timeout BATCH_LOG ONE 0/1"},
		{"no replica answers", 3, 3, consistency.Quorum, lose(rpc.VerbWrite), nil, "timeout BATCH QUORUM 1/2"},
		{"a slow holder is one too few", 3, 3, consistency.Quorum, func(_, to, v int) bool { return to == 1 && rpc.Verb(v) == rpc.VerbBatchLog }, nil, "<nil>"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, tc.nodes, tc.factor, func(t *testing.T, c *testCluster) {
				keys := batchKeys
				if tc.factor < tc.nodes {
					keys = c.ownedBy(0, 2)
				}
				c.lose(tc.drop)
				c.kill(tc.dead...)
				if got := textOf(c.nodes[0].batch(tc.level, "x", 10, keys...)); got != tc.want {
					t.Errorf("got %s, want %s", got, tc.want)
				}
			})
		})
	}
}

// ownedBy gives keys whose only replica is a node.
func (c *testCluster) ownedBy(node, n int) (keys []string) {
	place, _, _ := c.nodes[0].View().Placement("ks")
	for i := 0; len(keys) < n; i++ {
		k := fmt.Sprint("key", i)
		if place.Replicas(vnodes.PartitionToken([]byte(k))).Contains(nodeID(node)) {
			keys = append(keys, k)
		}
	}
	return keys
}

func textOf(err error) string {
	var u *coordinator.Unavailable
	var to *coordinator.Timeout
	switch {
	case errors.As(err, &u):
		return fmt.Sprintf("unavailable %s %d/%d", u.Level, u.Required, u.Alive)
	case errors.As(err, &to):
		return fmt.Sprintf("timeout %s %s %d/%d", to.Kind, to.Level, to.Received, to.BlockFor)
	}
	return fmt.Sprint(err)
}

// A holder that is slow or refuses is replaced: the batch is kept by two, and acknowledged in time.
func TestAnotherHolderIsAsked(t *testing.T) {
	bubble(t, 4, 4, func(t *testing.T, c *testCluster) {
		for slow := 1; slow <= 3; slow++ {
			c.lose(func(_, to, v int) bool { return to == slow && rpc.Verb(v) == rpc.VerbBatchLog })
			begun, before := time.Now(), c.sent(rpc.VerbBatchLog, 1)+c.sent(rpc.VerbBatchLog, 2)+c.sent(rpc.VerbBatchLog, 3)
			if err := c.nodes[0].batch(consistency.Quorum, "x", int64(slow), batchKeys...); err != nil {
				t.Fatal(err)
			}
			asked := c.sent(rpc.VerbBatchLog, 1) + c.sent(rpc.VerbBatchLog, 2) + c.sent(rpc.VerbBatchLog, 3) - before
			if took := time.Since(begun); asked == 3 && (took < 500*time.Millisecond || took > time.Second) || asked == 2 && took > 100*time.Millisecond {
				t.Errorf("node %d does not answer: %d holders asked, and it took %v", slow, asked, took)
			}
		}
	})
}

// Holders refuse a coordinator whose clock is far ahead: written again later, its batch would win over what others write until then.
func TestABatchWithAWrongClockIsNotKept(t *testing.T) {
	bubble(t, 4, 3, func(t *testing.T, c *testCluster) {
		wallOf(t, c.nodes[0], time.Hour)
		wallOf(t, c.nodes[1], time.Hour) // one that shares it is outvoted
		if err := c.nodes[0].batch(consistency.One, "x", 10, batchKeys...); err == nil {
			t.Fatal("a batch of a coordinator whose clock is an hour ahead was acknowledged")
		}
		c.replay(20 * time.Second)
		for i, held := range c.everywhere(t) {
			if held != "" {
				t.Errorf("node %d holds %q", i, held)
			}
		}
	})
}

// A write that began again on a newer ring may have been applied by its first attempt: nobody may be told that nothing was written.
func TestUnavailableAfterAMoveIsATimeout(t *testing.T) {
	bubble(t, 3, 3, func(t *testing.T, c *testCluster) {
		newer := viewOf(t, 9, 3, members(3)...)
		c.nodes[1].setView(newer)
		c.mu.wait = func(to int) time.Duration { return time.Duration(1+50*(to/2)) * time.Millisecond } // the last one is slow
		c.lose(func(_, to, _ int) bool {
			if to == 1 { // while the first attempt is under way
				c.mu.dead[nodeID(1)], c.mu.dead[nodeID(2)] = true, true
			}
			return false
		})
		err := c.nodes[0].write(consistency.Quorum, mutation("k", 1, "a", 10))
		if got := textOf(err); got != "timeout SIMPLE QUORUM 0/2" {
			t.Errorf("got %s", got)
		}
	})
}
