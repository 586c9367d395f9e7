package antientropy

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nodedb/antientropy/stream"
	"nodedb/node/rpc"
	"nodedb/query/schema"
	"nodedb/vnodes"
)

// naive is what next gives, found by a look at every task.
func naive(r *Repairer) (best *task, wait time.Duration) {
	now := r.Now()
	wait = idleWait
	driven := 0
	var oldest *task
	for _, t := range r.mu.tasks {
		if t.busy || !t.drives(r.Self, r.Alive) {
			continue
		}
		driven++
		if oldest == nil || t.before(oldest) {
			oldest = t
		}
		switch d := t.urgent.Sub(now); {
		case t.urgent.IsZero():
		case d > 0:
			wait = min(wait, d)
		case best == nil || t.sooner(best):
			best = t
		}
	}
	if oldest == nil {
		return nil, wait
	}
	nextAt, gap := r.mu.nextAt, r.Target*roundQuarters/4/time.Duration(driven)
	if nextAt.IsZero() || nextAt.Sub(now) > gap {
		nextAt = now.Add(gap)
	}
	switch d := nextAt.Sub(now); {
	case best == nil && d > 0:
		return nil, min(wait, d)
	case best == nil || d <= 0 && r.mu.urgent:
		return oldest, 0
	}
	return best, 0
}

// planner is a repairer that compares nothing: its sessions are said to have ended.
type planner struct {
	*Repairer
	c    cluster
	now  time.Time
	open []*task
}

func newPlanner(t testing.TB, nodes int) *planner {
	p := &planner{c: cluster{t: t}, now: time.Unix(1_700_000_000, 0)}
	p.c.mu.dead = map[vnodes.HostID]bool{}
	p.c.setView(3, members(nodes, vnodes.StateNormal), 0)
	var err error
	p.Repairer, err = New(Options{Self: nodeID(0), View: func() stream.View { return *p.c.view.Load() }, Alive: p.c.alive, System: noRecords{},
		Await: func(_ context.Context, _ rpc.Peer, _ uint64, done func(error)) { done(context.DeadlineExceeded) },
		Now:   func() time.Time { return p.now }, Target: target})
	if err != nil {
		t.Fatal(err)
	}
	p.refresh()
	return p
}

// end ends a session as drive does.
func (p *planner) end(t *task, down, gone bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t.busy = false
	p.keep(t, &stream.Outcome{}, p.now, down, gone, err)
	p.place(t)
}

// Whatever befalls tasks, the next one is that which a look at all of them finds.
func TestAgendaAgainstNaive(t *testing.T) {
	const nodes = 5
	rapid.Check(t, func(rt *rapid.T) {
		p := newPlanner(t, nodes)
		epoch, truncated := uint64(3), 0
		node := func() vnodes.HostID { return nodeID(rapid.IntRange(0, nodes-1).Draw(rt, "node")) }
		some := func() *task { // of those there are, in an order that repeats
			list := p.Records()
			rec := list[rapid.IntRange(0, len(list)-1).Draw(rt, "task")]
			return p.mu.tasks[taskKey{rec.Table, rec.Range.Start}]
		}
		rt.Repeat(map[string]func(*rapid.T){
			"later": func(rt *rapid.T) {
				p.now = p.now.Add(time.Duration(rapid.IntRange(1, 100_000).Draw(rt, "ms")) * time.Millisecond)
			},
			"next": func(rt *rapid.T) {
				p.refresh()
				want, wait := naive(p.Repairer)
				got, delay := p.next()
				if got != want || delay != wait {
					rt.Fatalf("next is %v in %v, want %v in %v", got, delay, want, wait)
				}
				if got != nil {
					p.open = append(p.open, got)
				}
			},
			"end": func(rt *rapid.T) {
				if len(p.open) == 0 {
					rt.Skip("no session is under way")
				}
				i := rapid.IntRange(0, len(p.open)-1).Draw(rt, "session")
				p.end(p.open[i], rapid.Bool().Draw(rt, "down"), rapid.Bool().Draw(rt, "gone"), rapid.SampledFrom([]error{nil, errors.New("why")}).Draw(rt, "problem"))
				p.open = append(p.open[:i], p.open[i+1:]...)
			},
			"claim": func(rt *rapid.T) {
				if t := some(); p.claim(t) {
					p.open = append(p.open, t)
				}
			},
			"life": func(rt *rapid.T) {
				if i := rapid.IntRange(1, nodes-1).Draw(rt, "node"); p.c.alive(nodeID(i)) {
					p.c.setDead(i, true)
				} else {
					p.c.setDead(i, false)
				}
			},
			"suspect": func(*rapid.T) { p.Suspect(node()) },
			"told": func(rt *rapid.T) {
				rec := some().record
				rec.Compared = p.now.Add(-time.Duration(rapid.IntRange(0, 100_000).Draw(rt, "ms")) * time.Millisecond)
				rec.Problem = rapid.SampledFrom([]string{"", "why"}).Draw(rt, "problem")
				if err := p.told(rec.Table, rec.Append(nil)); err != nil {
					rt.Fatal(err)
				}
			},
			"epoch": func(rt *rapid.T) {
				epoch++
				if rapid.IntRange(0, 3).Draw(rt, "truncate") == 0 {
					truncated++
				}
				state := rapid.SampledFrom([]vnodes.NodeState{vnodes.StateNormal, vnodes.StateJoining}).Draw(rt, "state")
				p.c.setView(epoch, members(nodes, state), truncated)
			},
		})
	})
}

// BenchmarkNext: 1,000 tables of 256 ranges each. idle: nothing is due. turn: a session's begin and end. naive: the former, by a look at all tasks.
func BenchmarkNext(b *testing.B) {
	const tables = 1000
	p := newPlanner(b, 3)
	all := members(3, vnodes.StateNormal)
	const each = 85 // of three nodes, each of which owns everything
	for i := range all {
		all[i].Tokens = nil
		for k := range each {
			all[i].Tokens = append(all[i].Tokens, vnodes.MinToken+vnodes.Token(uint64(k*3+i)*(^uint64(0)/(3*each)))+1)
		}
	}
	catalog := p.c.view.Load().Catalog
	for i := range tables - 1 {
		next, _, err := catalog.Apply(&schema.Change{Op: schema.CreateTable, Keyspace: "ks", Name: fmt.Sprint("t", i), ID: [16]byte{2, byte(i), byte(i >> 8)},
			Columns: []schema.ColumnDef{{Name: "k", Type: "int", Kind: schema.PartitionKey}}}, uint64(i+10))
		if err != nil {
			b.Fatal(err)
		}
		catalog = next
	}
	p.c.view.Store(&stream.View{Epoch: 9, Ring: vnodes.NewRing(9, all), Catalog: catalog})
	p.Suspect(nodeID(1))
	b.Run("idle", func(b *testing.B) {
		for b.Loop() {
			if t, _ := p.next(); t != nil {
				b.Fatal("something is due")
			}
		}
	})
	b.Run("naive", func(b *testing.B) {
		for b.Loop() {
			if t, _ := naive(p.Repairer); t != nil {
				b.Fatal("something is due")
			}
		}
	})
	p.now = p.now.Add(time.Hour)
	b.Run("turn", func(b *testing.B) {
		for b.Loop() {
			t, _ := p.next()
			p.now = p.now.Add(time.Second) // more than a turn's share of the target: there is always one that is due
			p.end(t, false, false, nil)
		}
		b.ReportMetric(float64(len(p.mu.tasks)), "tasks")
	})
}
