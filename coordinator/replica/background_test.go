package replica

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"nodedb/coordinator"
	"nodedb/coordinator/consistency"
	"nodedb/node/fault"
	"nodedb/node/row"
	"nodedb/node/rpc"
)

// timedStore takes a millisecond for each batch and notes when it began.
type timedStore struct {
	*memStore
	begun []time.Duration // of batches for partition "hint"
	since time.Time
}

func (s *timedStore) Apply(ms []row.Mutation, done func(error)) {
	if string(ms[0].Key) == "hint" {
		s.begun = append(s.begun, time.Since(s.since))
	}
	time.Sleep(time.Millisecond)
	s.memStore.Apply(ms, done)
}

// What no client waits for follows at once on an idle node, and gets a twentieth of the writer beside requests; a request never waits for more than one of them.
func TestBackgroundWritesMakeWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &timedStore{memStore: &memStore{}, since: time.Now()}
		w := newWriter(store, nil)
		refused, written := 0, 0
		hint := func(err error) {
			var re *rpc.RemoteError
			switch {
			case err == nil:
				written++
			case errors.As(err, &re) && re.Code == rpc.CodeOverloaded:
				refused++
			default:
				t.Error(err)
			}
		}
		add := func(n int) {
			for range n {
				w.addBackground(queued{ms: []row.Mutation{mutation("hint", 1, "a", 10)}, done: hint})
			}
		}
		add(10)
		time.Sleep(11 * time.Millisecond)
		synctest.Wait()
		if written != 10 {
			t.Errorf("%d of 10 written on an idle node after 11 ms", written)
		}
		w.add(queued{ms: []row.Mutation{mutation("request", 1, "a", 10)}, done: func(error) {}})
		synctest.Wait() // the writer is busy with it
		add(maxQueuedBackground + 4)
		if refused != 4 {
			t.Errorf("%d refused, want those beyond %d", refused, maxQueuedBackground)
		}
		slowest := time.Duration(0)
		for range 100 {
			at := time.Now()
			w.add(queued{ms: []row.Mutation{mutation("request", 1, "a", 10)}, done: func(error) { slowest = max(slowest, time.Since(at)) }})
			time.Sleep(5 * time.Millisecond)
		}
		synctest.Wait()
		if slowest > 3*time.Millisecond {
			t.Errorf("a request took %v; what is under way, one background write and its own take 3 ms", slowest)
		}
		for i := 11; i < len(store.begun); i++ {
			if rest := store.begun[i] - store.begun[i-1]; rest < (1+backgroundRest)*time.Millisecond || rest > (4+backgroundRest)*time.Millisecond {
				t.Errorf("background write %d begins %v after the one before", i, rest)
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if written != 10+maxQueuedBackground {
			t.Errorf("%d written, want all but the refused", written)
		}
		w.close()
	})
}

// stuckStore hangs in its first batch.
type stuckStore struct {
	*memStore
	stuck bool
}

func (s *stuckStore) Apply(ms []row.Mutation, done func(error)) {
	if !s.stuck {
		s.stuck = true
		time.Sleep(5 * time.Second)
	}
	s.memStore.Apply(ms, done)
}

// A disk that hung for some seconds must not keep hints waiting for minutes: their senders would take that for failures.
func TestBackgroundRestsForABoundedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWriter(&stuckStore{memStore: &memStore{}}, nil)
		w.addBackground(queued{ms: []row.Mutation{mutation("hint", 1, "a", 10)}, done: func(error) {}})
		time.Sleep(4950 * time.Millisecond)
		w.add(queued{ms: []row.Mutation{mutation("request", 1, "a", 10)}, done: func(error) {}})
		time.Sleep(time.Second)
		at, took := time.Now(), time.Duration(0)
		w.addBackground(queued{ms: []row.Mutation{mutation("hint", 1, "b", 10)}, done: func(error) { took = time.Since(at) }})
		time.Sleep(maxRest)
		synctest.Wait()
		if took == 0 {
			t.Error("a hint waits for more than a second after the disk hung")
		}
		w.close()
	})
}

// Every replica of a request has it, whoever coordinates: what makes way for requests must see it; a moment later there are none.
func TestRequested(t *testing.T) {
	bubble(t, 3, 3, func(t *testing.T, c *testCluster) {
		requested := func(want bool, after string) {
			t.Helper()
			synctest.Wait()
			for i, n := range c.nodes {
				if n.replica.Requested() != want {
					t.Errorf("after %s: node %d has requests: %v, want %v", after, i, !want, want)
				}
			}
		}
		requested(false, "the start")
		if err := c.nodes[0].write(consistency.All, mutation("k", 1, "a", 10)); err != nil {
			t.Fatal(err)
		}
		requested(true, "a write")
		time.Sleep(requestsLast)
		requested(false, "a pause")
		if _, err := c.nodes[0].read(consistency.All, "k"); err != nil {
			t.Fatal(err)
		}
		requested(true, "a read")
	})
}

// A write whose answer is lost is a timeout to its client, and done.
func TestFaultBeforeAnswer(t *testing.T) {
	bubble(t, 3, 3, func(t *testing.T, c *testCluster) {
		disable, err := fault.Enable("coordinator/before-answer", func() error { return errors.New("lost") })
		if err != nil {
			t.Fatal(err)
		}
		err = c.nodes[0].write(consistency.Quorum, mutation("k", 1, "a", 10))
		disable()
		if timeout := (*coordinator.Timeout)(nil); !errors.As(err, &timeout) {
			t.Errorf("the write gave %v, want a timeout", err)
		}
		if got, err := c.nodes[1].read(consistency.Quorum, "k"); err != nil || len(got) != 1 {
			t.Errorf("read %q, %v", got, err)
		}
	})
}
