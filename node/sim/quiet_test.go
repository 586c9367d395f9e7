package sim

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"nodedb/coordinator/consistency"
	"nodedb/node"
	"nodedb/node/check"
)

// Bounds of the liveness phase, in virtual time.
const (
	startBound = 60 * time.Second  // until every node has started
	batchBound = 60 * time.Second  // until every logged batch is there as a whole, or not at all (row 29)
	quietBound = 120 * time.Second // until nodes see each other, have one schema and no hints
	poll       = 500*time.Millisecond + 7
	// slowly: what lasts longer is looked at less often: a look at what thousands of ranges agreed on is a good part of a seed's CPU.
	slowly = 5 * time.Second
)

// await polls until why is "", or the bound is over and the reason is a failure.
func (w *world) await(bound time.Duration, what string, why func() string) bool {
	begun := time.Now()
	for {
		reason := why()
		if reason == "" {
			w.history.say("%s after %v", what, time.Since(begun))
			return true
		}
		if time.Since(begun) > bound {
			w.fail("not %s after %v: %s", what, bound, reason)
			return false
		}
		if time.Since(begun) < slowly {
			time.Sleep(poll)
		} else {
			time.Sleep(4 * poll)
		}
	}
}

// nodes gives the running nodes; why not, if one is missing.
func (w *world) nodes() (list []*node.Node, why string) { return running(w.machines) }

func running(machines []*machine) (list []*node.Node, why string) {
	for _, m := range machines {
		l := m.alive()
		if l == nil {
			return nil, fmt.Sprintf("machine %d is off", m.i)
		}
		n := l.running()
		if n == nil {
			return nil, fmt.Sprintf("machine %d has not started", m.i)
		}
		list = append(list, n)
	}
	return list, ""
}

// ready waits until the nodes of some machines have started and are full members, and there are no others.
func (w *world) ready(machines []*machine, bound time.Duration) bool {
	return w.await(bound, "up", func() string {
		list, why := running(machines)
		for i, n := range list {
			s := n.Status()
			for _, m := range s.Nodes {
				if m.State != "up" {
					why = fmt.Sprintf("machine %d sees %s %s", i+1, m.Address, m.State)
				}
			}
			if len(s.Nodes) != len(machines) {
				why = fmt.Sprintf("machine %d sees %d members", i+1, len(s.Nodes))
			}
		}
		return why
	})
}

// liveness: with nothing wrong any more everything must become quiet and equal, nothing acknowledged may be missing, and new writes succeed.
func (w *world) liveness(clients []check.Client) {
	ctx := context.Background()
	if w.family.agree > 0 && !w.await(w.family.agree, "agreed", w.disagree) || !w.await(batchBound, "without an open batch", w.openBatches) ||
		!w.await(quietBound, "quiet", w.unquiet) {
		return
	}
	first := clients[w.seed%uint64(len(clients))]
	if slices.Contains(w.conf.loads, "memory") && !w.refilled() {
		w.fail("memory tables have not their rows again after %v", refillWait)
		return
	}
	if !w.equal(ctx, first) {
		return
	}
	tables := w.tables(ctx, first)
	w.readAll(ctx, first, tables)
	if !w.await(quietBound, "equal", func() string { return w.unequal(ctx, tables) }) {
		return
	}
	for _, c := range clients {
		for _, v := range w.suite.Check(ctx, c) {
			w.fail("%v", v)
		}
	}
	for i, c := range clients {
		if r := c.Run(ctx, &check.Statement{CQL: fmt.Sprintf("INSERT INTO check.appends (s, p, c, v) VALUES (-1, -1, %d, 'after')", i),
			Level: consistency.All}); r.Err != nil && (w.conf.loads == nil || slices.Contains(w.conf.loads, "appends")) {
			w.fail("a write at ALL through machine %d after all is well: %v", i+1, r.Err)
		}
	}
}

// disagree says who is not up, or behind, in somebody's view.
func (w *world) disagree() string {
	list, why := w.nodes()
	for i := range list {
		e, _ := list[i].Metadata()
		if first, _ := list[0].Metadata(); e != first {
			return fmt.Sprintf("machine %d is at epoch %d, machine 1 at %d", i+1, e, first)
		}
		for _, m := range list[i].Status().Nodes {
			if m.State != "up" {
				return fmt.Sprintf("machine %d sees %s %s", i+1, m.Address, m.State)
			}
		}
	}
	return why
}

// openBatches says who keeps a logged batch that is not known to be written.
func (w *world) openBatches() string {
	list, why := w.nodes()
	if why != "" {
		return why
	}
	for _, m := range list[0].Status().Nodes {
		if m.OpenBatches > 0 {
			return fmt.Sprintf("%s keeps %d batches", m.Address, m.OpenBatches)
		}
	}
	return ""
}

// unquiet says what still goes on: "" once all nodes are at one epoch with one schema and ring, and no hint waits anywhere.
func (w *world) unquiet() string {
	list, why := w.nodes()
	if why != "" {
		return why
	}
	epoch, digest := list[0].Metadata()
	for i, n := range list {
		if e, d := n.Metadata(); e != epoch {
			return fmt.Sprintf("machine %d is at epoch %d, machine 1 at %d", i+1, e, epoch)
		} else if d != digest {
			w.fail("at epoch %d the metadata of machine %d differs from machine 1's", e, i+1)
			return ""
		}
		for _, m := range n.Status().Nodes {
			if m.State != "up" || m.PendingHints > 0 {
				return fmt.Sprintf("machine %d sees %s %s with %d hints", i+1, m.Address, m.State, m.PendingHints)
			}
		}
	}
	return ""
}

// tables lists the suite's.
func (w *world) tables(ctx context.Context, c check.Client) []string {
	r := c.Run(ctx, &check.Statement{CQL: "SELECT table_name FROM system_schema.tables WHERE keyspace_name = 'check'", Level: consistency.One})
	if r.Err != nil {
		w.fail("the list of tables: %v", r.Err)
	}
	return r.Rows
}

// readAll repairs by reading everything at ALL.
func (w *world) readAll(ctx context.Context, c check.Client, tables []string) {
	for _, t := range tables {
		if why := w.scan(ctx, c, t); why != "" {
			w.fail("a scan of %s at ALL after all is well: %s", t, why)
		}
	}
}

// scan reads a whole table at ALL; it says why it can't.
func (w *world) scan(ctx context.Context, c check.Client, table string) string {
	s := check.Statement{CQL: "SELECT * FROM check." + table, Level: consistency.All, PageSize: 500}
	for {
		page := s
		r := c.Run(ctx, &page)
		if r.Err != nil {
			return r.Err.Error()
		}
		if s.PageState = r.PageState; s.PageState == nil {
			return ""
		}
	}
}

// unequal compares what the replicas of each range hold, byte by byte.
func (w *world) unequal(ctx context.Context, tables []string) string {
	list, why := w.nodes()
	if why != "" {
		return why
	}
	now := time.Now().Unix()
	for _, t := range tables {
		held := map[string][]string{} // by range: digest and machine
		for i, n := range list {
			sums, err := n.RangeChecksums(ctx, "check", t, now)
			if err != nil {
				return fmt.Sprintf("machine %d, table %s: %v", i+1, t, err)
			}
			for _, s := range sums {
				span := fmt.Sprint(s.Range)
				held[span] = append(held[span], s.Digest+" on machine "+fmt.Sprint(i+1))
			}
		}
		for span, all := range held {
			if len(all) != w.conf.rf {
				return fmt.Sprintf("range %s of %s has %d owners: %v", span, t, len(all), all)
			}
			for _, one := range all {
				if one[:strings.Index(one, " ")] != all[0][:strings.Index(all[0], " ")] {
					return fmt.Sprintf("the replicas of range %s of %s differ: %v", span, t, all)
				}
			}
		}
	}
	return ""
}
