package replica

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"nodedb/coordinator"
	"nodedb/coordinator/consistency"
	"nodedb/node/row"
	"nodedb/node/rpc"
	"nodedb/node/storage"
	"nodedb/vnodes"
)

func bubble(t *testing.T, n, factor int, f func(t *testing.T, c *testCluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newTestCluster(t, n, factor)) })
}

func TestWriteReachesAllReplicasAndAnyNodeReadsIt(t *testing.T) {
	bubble(t, 3, 3, func(t *testing.T, c *testCluster) {
		if err := c.nodes[0].write(consistency.Quorum, mutation("k", 1, "a", 10)); err != nil {
			t.Fatal(err)
		}
		for _, m := range c.nodes {
			got, err := m.read(consistency.Quorum, "k")
			if err != nil || !slices.Equal(got, []string{"k/1=a"}) {
				t.Errorf("node %d reads %v, %v", m.index, got, err)
			}
		}
	})
}

func TestADeadReplicaGetsAHintAndNoMessage(t *testing.T) {
	bubble(t, 3, 3, func(t *testing.T, c *testCluster) {
		c.kill(2)
		if err := c.nodes[0].write(consistency.Quorum, mutation("k", 1, "a", 10)); err != nil {
			t.Fatal(err)
		}
		if got := c.nodes[0].hinted(2); got != 1 {
			t.Errorf("%d hints for the dead node, want 1", got)
		}
		if got := c.sent(rpc.VerbWrite, 2); got != 0 {
			t.Errorf("%d messages to the dead node, want none", got)
		}
	})
}

func TestUnavailableWritesNothing(t *testing.T) {
	bubble(t, 3, 3, func(t *testing.T, c *testCluster) {
		c.kill(1, 2)
		err := c.nodes[0].write(consistency.Quorum, mutation("k", 1, "a", 10))
		var u *coordinator.Unavailable
		if !errors.As(err, &u) || u.Required != 2 || u.Alive != 1 {
			t.Fatalf("want Unavailable{2 required, 1 alive}, got %v", err)
		}
		c.revive()
		if got, err := c.nodes[0].read(consistency.All, "k"); err != nil || len(got) != 0 {
			t.Errorf("a refused write left %v, %v", got, err)
		}
		if c.nodes[0].hinted(1)+c.nodes[0].hinted(2) != 0 {
			t.Error("a refused write left hints")
		}
	})
}

func TestALostMessageBecomesAHintAfterTheAnswer(t *testing.T) {
	bubble(t, 3, 3, func(t *testing.T, c *testCluster) {
		c.lose(func(_, to, _ int) bool { return to == 1 })
		begun := time.Now()
		if err := c.nodes[0].write(consistency.Quorum, mutation("k", 1, "a", 10)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > 100*time.Millisecond {
			t.Errorf("the answer waited %s for a replica it did not need", took)
		}
		time.Sleep(3 * time.Second) // virtual: the lost message's timeout
		if got := c.nodes[0].hinted(1); got != 1 {
			t.Errorf("%d hints, want 1", got)
		}
	})
}

func TestTimeoutSaysHowManyAnswered(t *testing.T) {
	bubble(t, 3, 3, func(t *testing.T, c *testCluster) {
		c.lose(func(_, to, _ int) bool { return to == 1 })
		err := c.nodes[0].write(consistency.All, mutation("k", 1, "a", 10))
		var to *coordinator.Timeout
		if !errors.As(err, &to) || to.Received != 2 || to.BlockFor != 3 || !to.Write {
			t.Fatalf("want a write timeout with 2 of 3, got %v", err)
		}
	})
}

func TestAReplicaThatFailsIsAFailure(t *testing.T) {
	bubble(t, 3, 3, func(t *testing.T, c *testCluster) {
		for _, m := range c.nodes[1:] {
			m.store.fail = storage.ErrDiskFull
		}
		err := c.nodes[0].write(consistency.Quorum, mutation("k", 1, "a", 10))
		var f *coordinator.Failure
		if !errors.As(err, &f) || f.Failed != 2 || f.Received != 1 {
			t.Fatalf("want a failure of 2 with 1 received, got %v", err)
		}
		slices.Sort(f.Nodes)
		if want := []string{"10.0.0.2", "10.0.0.3"}; !slices.Equal(f.Nodes, want) {
			t.Errorf("the nodes that failed are %v, want %v", f.Nodes, want)
		}
	})
}

func TestAnyIsMetByAHint(t *testing.T) {
	bubble(t, 4, 1, func(t *testing.T, c *testCluster) {
		key := []byte("k")
		place, _, _ := c.nodes[0].view.Placement("ks")
		owner := place.Replicas(vnodes.PartitionToken(key)).Read()[0].ID
		dead := int(owner[15]) - 1
		c.kill(dead)
		from := c.nodes[(dead+1)%4]
		if err := from.write(consistency.Any, mutation("k", 1, "a", 10)); err != nil {
			t.Fatal(err)
		}
		if from.hinted(dead) != 1 {
			t.Error("no hint for the dead owner")
		}
		if err := from.write(consistency.One, mutation("k", 1, "a", 10)); err == nil {
			t.Error("ONE was met by a hint")
		}
	})
}

func TestReadRepairsBeforeItAnswers(t *testing.T) {
	bubble(t, 3, 3, func(t *testing.T, c *testCluster) {
		c.kill(2)
		if err := c.nodes[0].write(consistency.Quorum, mutation("k", 1, "a", 10)); err != nil {
			t.Fatal(err)
		}
		c.revive()
		got, err := c.nodes[2].read(consistency.All, "k")
		if err != nil || !slices.Equal(got, []string{"k/1=a"}) {
			t.Fatalf("read %v, %v", got, err)
		}
		c.kill(0, 1)
		got, err = c.nodes[2].read(consistency.One, "k")
		if err != nil || !slices.Equal(got, []string{"k/1=a"}) {
			t.Errorf("the replica that lacked the row has %v, %v after the read was answered", got, err)
		}
	})
}

// TestAReplicaThatCannotBeRepaired: a replica that lacks a row takes no writes (its disk is full). The other two hold it, and a read at QUORUM that
// heard the first and one of these is answered at once.
func TestAReplicaThatCannotBeRepaired(t *testing.T) {
	bubble(t, 3, 3, func(t *testing.T, c *testCluster) {
		for _, m := range c.nodes[:2] {
			m.store.Apply([]row.Mutation{mutation("k", 1, "a", 10)}, func(err error) {
				if err != nil {
					t.Error(err)
				}
			})
		}
		c.nodes[2].handlers[rpc.VerbWrite] = func(in *rpc.Inbound) { in.Reply(nil, &rpc.RemoteError{Code: rpc.CodeDiskFull, Message: "disk full"}) }
		c.mu.Lock()
		c.mu.wait = func(to int) time.Duration { // node 2 answers first
			return map[bool]time.Duration{true: time.Millisecond, false: 5 * time.Millisecond}[to == 2]
		}
		c.mu.Unlock()
		read := func() ([]string, error) {
			began := time.Now()
			got, err := c.nodes[0].read(consistency.Quorum, "k")
			if took := time.Since(began); took > time.Second {
				t.Errorf("%v, %v took %v", got, err, took)
			}
			return got, err
		}
		for range 10 {
			if got, err := read(); err != nil || !slices.Equal(got, []string{"k/1=a"}) {
				t.Errorf("read %v, %v", got, err)
			}
		}
		if c.nodes[0].coordinator.Stats().Mismatches.Load() == 0 {
			t.Error("node 2 was never asked")
		}
		c.kill(1) // now node 2 is needed: that it can't be repaired is said at once
		if got, err := read(); err == nil {
			t.Errorf("read %v, though only one node holds it", got)
		}
	})
}

// TestALimitAPartitionDoesNotBringRowsBack: with PER PARTITION LIMIT 1 replica 1 shows only the row whose deletion it missed, and is silent about the next
// one, which it knows to be deleted.
func TestALimitAPartitionDoesNotBringRowsBack(t *testing.T) {
	bubble(t, 3, 3, func(t *testing.T, c *testCluster) {
		do := func(level consistency.Level, m row.Mutation) {
			t.Helper()
			if err := c.nodes[2].write(level, m); err != nil {
				t.Fatal(err)
			}
		}
		do(consistency.All, mutation("k", 1, "a", 10))
		do(consistency.All, mutation("k", 2, "b", 10))
		c.kill(1)
		do(consistency.Quorum, deletion("k", 1, 20))
		c.revive()
		c.kill(0)
		do(consistency.Quorum, deletion("k", 2, 20))
		c.revive()
		c.kill(2)
		key := []byte("k")
		rows, _, err := c.nodes[0].page(consistency.Quorum, storage.ReadSpec{
			Storage: testStorage, Key: key, Token: vnodes.PartitionToken(key), Now: 1, PartitionRows: 1,
		})
		if err != nil || len(rows) != 0 {
			t.Errorf("deleted rows are back: %v, %v", rows, err)
		}
	})
}

func TestASlowReplicaIsOvertakenByASpare(t *testing.T) {
	bubble(t, 3, 3, func(t *testing.T, c *testCluster) {
		if err := c.nodes[0].write(consistency.All, mutation("k", 1, "a", 10)); err != nil {
			t.Fatal(err)
		}
		c.mu.Lock()
		c.mu.wait = func(to int) time.Duration {
			if to == 1 {
				return 4 * time.Second
			}
			return time.Millisecond
		}
		c.mu.Unlock()
		for range 20 {
			begun := time.Now()
			if _, err := c.nodes[0].read(consistency.Quorum, "k"); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begun); took > time.Second {
				t.Fatalf("a read waited %s for a slow replica", took)
			}
		}
	})
}

func TestAReplicaWithANewerRingSendsTheCoordinatorThere(t *testing.T) {
	bubble(t, 4, 3, func(t *testing.T, c *testCluster) {
		// Node 3 leaves the ring; the coordinator does not know yet.
		old := c.nodes[0].View()
		nodes := members(4)[:3]
		next := coordinator.NewView(9, vnodes.NewRing(9, nodes), old.Catalog)
		for _, m := range c.nodes[1:] {
			m.setView(next)
		}
		for i := range 20 {
			c.nodes[0].setView(old)
			k := fmt.Sprint("k", i)
			if err := c.nodes[0].write(consistency.All, mutation(k, 1, "a", 10)); err != nil {
				t.Fatal(err)
			}
			for _, m := range c.nodes[:3] {
				page, err := m.store.Read(t.Context(), &storage.ReadSpec{Key: []byte(k)}, nil)
				if err != nil {
					t.Fatal(err)
				}
				if got, _, err := rowsOf(t, page); err != nil || len(got) != 1 {
					t.Errorf("owner %d holds %v of %s after a write at ALL (%v)", m.index, got, k, err)
				}
			}
		}
	})
}

func TestAReplicaThatLagsAsksTheSender(t *testing.T) {
	bubble(t, 3, 3, func(t *testing.T, c *testCluster) {
		v := c.nodes[0].View()
		c.nodes[0].setView(coordinator.NewView(8, vnodes.NewRing(8, members(3)), v.Catalog))
		if err := c.nodes[0].write(consistency.All, mutation("k", 1, "a", 10)); err != nil {
			t.Fatal(err)
		}
		for _, m := range c.nodes {
			if m.View().Epoch != 8 {
				t.Errorf("node %d is at epoch %d", m.index, m.View().Epoch)
			}
		}
	})
}

func TestARangeIsReadOverAllOwnersOnce(t *testing.T) {
	bubble(t, 5, 2, func(t *testing.T, c *testCluster) {
		want := map[string]bool{}
		for i := range 200 {
			k := fmt.Sprint("key", i)
			want[k+"/1=v"] = true
			if err := c.nodes[i%5].write(consistency.All, mutation(k, 1, "v", 10)); err != nil {
				t.Fatal(err)
			}
		}
		spec := storage.ReadSpec{Storage: testStorage, Range: vnodes.Range{Start: vnodes.MinToken, End: vnodes.MaxToken}, Now: 1, RowLimit: 7}
		pages := 0
		for {
			rows, stop, err := c.nodes[0].page(consistency.Quorum, spec)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rows {
				if !want[r] {
					t.Fatalf("%s read twice, or never written", r)
				}
				delete(want, r)
			}
			if pages++; stop == nil {
				break
			}
			spec.After = stop
		}
		if len(want) > 0 {
			t.Errorf("%d rows were not read, in %d pages", len(want), pages)
		}
	})
}

// TestQuorumsOverlap is the promise itself: under random loss and deaths, a QUORUM read sees every write that was acknowledged at QUORUM.
func TestQuorumsOverlap(t *testing.T) {
	for seed := range uint64(30) {
		bubble(t, 4, 3, func(t *testing.T, c *testCluster) {
			rng, loss := rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 2)) // loss is guarded by the cluster's mutex
			acked := map[string]int64{}
			for step := range int64(40) {
				c.revive()
				c.kill(rng.IntN(4))
				bad := rng.IntN(4)
				c.lose(func(from, to, _ int) bool { return (to == bad || from == bad) && loss.IntN(2) == 0 })
				m := c.nodes[rng.IntN(4)]
				k := fmt.Sprint("k", rng.IntN(3))
				if rng.IntN(2) == 0 {
					if err := m.write(consistency.Quorum, mutation(k, 1, fmt.Sprintf("%05d", step), step+1)); err == nil {
						acked[k] = step
					}
					continue
				}
				got, err := m.read(consistency.Quorum, k)
				if err != nil {
					continue
				}
				want := fmt.Sprintf("%s/1=%05d", k, acked[k])
				if _, written := acked[k]; written && (len(got) != 1 || got[0] < want) {
					t.Fatalf("seed %d step %d: read %v, but %s was acknowledged", seed, step, got, want)
				}
			}
		})
	}
}

func TestMalformedMessagesAreRefused(t *testing.T) {
	bubble(t, 1, 1, func(t *testing.T, c *testCluster) {
		m := c.nodes[0]
		for _, v := range []rpc.Verb{rpc.VerbWrite, rpc.VerbRead} {
			for _, body := range [][]byte{nil, {1}, {0xff, 0xff}, []byte("hello, replica")} {
				var got error
				m.handlers[v](&rpc.Inbound{Verb: v, Body: body, Deadline: time.Now().Add(time.Second), Reply: func(_ []byte, err error) { got = err }})
				var re *rpc.RemoteError
				if !errors.As(got, &re) || re.Code != rpc.CodeInvalid {
					t.Errorf("verb %d with body %q: %v", v, body, got)
				}
			}
		}
	})
}

func FuzzDecodeMessages(f *testing.F) {
	f.Add([]byte{1, 2, 3, 0xc0, 0x90})
	f.Fuzz(func(t *testing.T, body []byte) {
		if m, err := coordinator.DecodeWrite(body); err == nil {
			for _, b := range m.Mutations {
				_, _, _ = row.DecodeMutation(b)
			}
		}
		_, _ = coordinator.DecodeRead(body)
		_, _ = coordinator.DecodeReadReply(body)
	})
}
