package antientropy

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"nodedb/node/row"
	"nodedb/node/storage"
	"nodedb/vnodes"
)

// An agreement is one of certain owners: a replica that owns the range since has not agreed to anything. Neither a record on disk nor one that another node
// tells carries over.
func TestAgreementsEndWithTheirOwners(t *testing.T) {
	bubble(t, 4, func(t *testing.T, c *cluster) {
		c.rf = "2"
		c.setView(4, members(4, vnodes.StateNormal), 0)
		time.Sleep(target)
		agreed := c.nodes[0].repairer.Records()
		if _, never, ranges := c.nodes[0].ages(); never > 0 || ranges == 0 {
			t.Fatalf("%d of %d ranges never agreed", never, ranges)
		}
		c.nodes[0].close()
		c.rf = "3" // a third owner, which holds nothing yet
		c.setView(5, members(4, vnodes.StateNormal), 0)
		c.nodes[0].start()
		for _, old := range agreed {
			if err := c.nodes[0].repairer.told(testTable, old.Append(nil)); err != nil {
				t.Fatal(err)
			}
		}
		for _, r := range c.nodes[0].repairer.Records() {
			if !r.Agreed.IsZero() {
				t.Errorf("%v is said to have agreed at %v, before it had all its owners", r.Range, r.Agreed)
			}
		}
	})
}

// A verification under writes that meets a difference has seen no agreement, even if the row that differed was written to before the second look.
func TestVerificationThatSawADifferenceIsNoAgreement(t *testing.T) {
	bubble(t, 3, func(t *testing.T, c *cluster) {
		time.Sleep(target)
		m := c.quiet(key(1))
		m.write(insert(1, 1, 10, "the others lack this"))
		begun := time.Now()
		stop := make(chan struct{})
		var writer sync.WaitGroup
		writer.Go(func() {
			for n := 1; ; n++ {
				select {
				case <-stop:
					return
				case <-time.After(200 * time.Millisecond):
					m.write(another(1, 1, int64(n)))
				}
			}
		})
		if _, err := m.repairer.Repair(context.Background(), [16]byte{1}, testTable, true, nil); err != nil {
			t.Fatal(err)
		}
		close(stop)
		writer.Wait()
		for _, r := range m.repairer.Records() {
			if r.Range.Contains(vnodes.PartitionToken(key(1))) && !r.Agreed.Before(begun) && !c.same() {
				t.Errorf("agreed at %v, while two owners lacked what one held since %v", r.Agreed, begun)
			}
		}
	})
}

// A verification moves nothing, so what is to be compared soon still is.
func TestVerificationTakesNoUrgencyAway(t *testing.T) {
	bubble(t, 3, func(t *testing.T, c *cluster) {
		time.Sleep(target)
		m := c.quiet(key(1))
		m.write(insert(1, 1, 10, "no hint was kept"))
		m.repairer.Suspect(m.id)
		time.Sleep(m.repairer.Grace)
		agreed, failed := c.verdicts()
		if p, err := m.repairer.Repair(context.Background(), [16]byte{1}, testTable, true, nil); err != nil || p.Rows == 0 {
			t.Fatal(p, err)
		} else if a, f := c.verdicts(); a-agreed != uint64(p.Done-1) || f != failed {
			t.Errorf("of %d ranges, all compared and one of them different, %d are counted as agreed and %d as failed", p.Done, a-agreed, f-failed)
		}
		m.repairer.mu.Lock()
		defer m.repairer.mu.Unlock()
		for _, task := range m.repairer.mu.tasks {
			if task.rng.Contains(vnodes.PartitionToken(key(1))) && (task.urgent.IsZero() || !task.tried.Before(task.urgent)) {
				t.Errorf("after a verification that found a difference: %+v", task)
			}
		}
	})
}

// verdicts sums what the nodes count of the sessions that they drove.
func (c *cluster) verdicts() (agreed, failed uint64) {
	for _, m := range c.nodes {
		agreed, failed = agreed+m.repairer.stats.agreed.Load(), failed+m.repairer.stats.failed.Load()
	}
	return agreed, failed
}

// quiet ends all comparisons that nobody asks for, and gives the node that drives a key's range.
func (c *cluster) quiet(k []byte) *testNode {
	for _, m := range c.nodes {
		m.stop()
		m.ended.Wait()
	}
	return c.nodes[c.view.Load().Ring.Place(vnodes.Replication{Factor: 3}).Replicas(vnodes.PartitionToken(k)).Old[0].ID[15]-1]
}

// another writes a second column of a row.
func another(k, c int, ts int64) row.Mutation {
	var b row.Builder
	b.Add(row.Cell{Column: 2, Timestamp: ts, Value: []byte("w")})
	m := insert(k, c, ts, "")
	m.Rows[0].Fragment = b.Append(nil)
	return m
}

// A range that can't be compared at the moment, since its table or ring changes, waits a little: it must not keep a processor busy.
func TestRangesThatMovedAwayWait(t *testing.T) {
	bubble(t, 3, func(t *testing.T, c *cluster) {
		m := c.nodes[0]
		time.Sleep(target)
		m.stop()
		m.ended.Wait()
		if err := m.engine.SetTables(map[row.StorageID]storage.TableKind{}, 9); err != nil { // the store knows of the drop, the catalog not yet
			t.Fatal(err)
		}
		m.repairer.Suspect(m.id)
		time.Sleep(m.repairer.Grace)
		for tries := 0; ; tries++ {
			task, wait := m.repairer.next()
			if task == nil {
				if wait <= 0 {
					t.Error("nothing to do, and no wait")
				}
				break
			}
			if _, err := m.repairer.drive(context.Background(), task, nil); err == nil {
				t.Fatal("compared a dropped table")
			}
			if tries > 20 {
				t.Fatal("the same ranges are tried again and again without a pause")
			}
		}
	})
}

// Hints lost for a node that is down change nothing: it is looked at when it is back.
func TestLostHintsOfADeadNodeWaitForIt(t *testing.T) {
	bubble(t, 3, func(t *testing.T, c *cluster) {
		time.Sleep(target)
		c.nodes[2].close()
		c.setDead(2, true)
		time.Sleep(time.Minute)
		before := c.nodes[0].repairer.stats.sessions.Load()
		for range 20 { // hints expire now and then
			c.nodes[0].repairer.Suspect(nodeID(2))
			time.Sleep(30 * time.Second)
		}
		if n := c.nodes[0].repairer.stats.sessions.Load() - before; n > 20 { // a round of about 8 takes 15 minutes
			t.Errorf("%d sessions in ten minutes: all ranges are compared again and again for a node that is down", n)
		}
	})
}

// Ranges whose comparison keeps failing, however long it takes, leave every second turn to the others.
func TestFailingRangesLeaveTurnsToOthers(t *testing.T) {
	bubble(t, 3, func(t *testing.T, c *cluster) {
		m := c.nodes[0]
		time.Sleep(target)
		m.stop()
		m.ended.Wait()
		r := m.repairer
		tasks := map[*task]bool{}
		r.mu.Lock()
		for _, t := range r.mu.tasks {
			if t.drives(r.Self, r.Alive) {
				tasks[t] = true
			}
		}
		r.mu.Unlock()
		var healthy *task
		for t := range tasks {
			if healthy == nil || t.key.start < healthy.key.start {
				healthy = t
			}
		}
		for turn := 0; ; turn++ {
			time.Sleep(target) // that long a session takes
			r.mu.Lock()
			for t := range tasks {
				if t.busy = false; t != healthy {
					t.urgent = r.Now()
				}
			}
			r.mu.Unlock()
			picked, _ := r.next()
			if picked == healthy {
				return
			}
			picked.tried = r.Now()
			if turn > 2*len(tasks) {
				t.Fatal("a range is never compared, since others fail")
			}
		}
	})
}

// A job's ranges are put in order while sessions go on. (For the race detector.)
func TestJobsBeginBesideSessions(t *testing.T) {
	bubble(t, 3, func(t *testing.T, c *cluster) {
		r := c.nodes[0].repairer
		for n := range 100 {
			id := [16]byte{1, byte(n)}
			r.Suspect(r.Self)
			time.Sleep(r.Grace)
			if err := r.begin(id, testTable, false, nil); err != nil {
				t.Fatal(err)
			}
			if _, err := r.run(&runRequest{Op: runCancel, Job: id}); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Differences are told when a job has ended, not with each look at it.
func TestDifferencesAreToldOnce(t *testing.T) {
	r := &Repairer{}
	r.jobs.byID = map[[16]byte]*job{}
	j := &job{}
	j.mu.progress.Differences = slices.Repeat([]Difference{{Key: make([]byte, 1<<10)}}, maxListed)
	r.jobs.byID[[16]byte{1}] = j
	for _, ended := range []bool{false, true} {
		j.mu.progress.Ended = ended
		reply, err := r.run(&runRequest{Op: runAsk, Job: [16]byte{1}})
		if err != nil || (len(reply.Progress.Differences) > 0) != ended {
			t.Errorf("ended %v: %d differences, %v", ended, len(reply.Progress.Differences), err)
		}
	}
}

// TestTotalsDontGoBack: who drove a session had lost what it knew of the range's earlier ones.
func TestTotalsDontGoBack(t *testing.T) {
	p := newPlanner(t, 3)
	rec := p.Records()[0]
	rec.Compared, rec.TotalRows, rec.TotalSent, rec.TotalReceived = p.now, 7, 700, 70
	if err := p.told(rec.Table, rec.Append(nil)); err != nil {
		t.Fatal(err)
	}
	rec.Compared, rec.TotalRows, rec.TotalSent, rec.TotalReceived = p.now.Add(time.Second), 3, 300, 30
	if err := p.told(rec.Table, rec.Append(nil)); err != nil {
		t.Fatal(err)
	}
	got := p.Records()[0]
	if !got.Compared.Equal(rec.Compared) || got.TotalRows != 7 || got.TotalSent != 700 || got.TotalReceived != 70 {
		t.Errorf("after a session whose driver knew less: %+v", got)
	}
}
