package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"nodedb/coordinator"
	"nodedb/coordinator/consistency"
	"nodedb/gossip/metalog"
	"nodedb/node/fault"
	"nodedb/node/row"
	"nodedb/node/storage"
	"nodedb/query/schema"
	"nodedb/vnodes"
)

const (
	// retryJoin is how long a joining node waits before it tries a step again.
	retryJoin = 500 * time.Millisecond
	// streamWorkers is how many ranges are streamed at once; streamPage the bytes asked for at a time.
	streamWorkers = 4
	streamPage    = 1 << 20
	// streamTries is how often one page is asked for, retryJoin apart, before all ranges are streamed again.
	streamTries = 20
	// streamStagger is how far apart the workers begin: what begins at one instant runs out of patience at one instant, in an order that no seed repeats.
	streamStagger = time.Millisecond + 1
)

// settle takes this member through the steps of joining until it is normal: wait for its turn; take writes; stream what it will own from a
// read quorum of the owners; answer reads too; normal. Each step is an entry of the metadata log, so a crash resumes at the step it was in.
func (n *Node) settle(ctx context.Context) {
	for ctx.Err() == nil {
		st := n.log.State()
		m, ok := st.Member(n.cluster.self)
		if !ok {
			n.fatal(errors.New("this node was removed from the cluster; wipe its data directory to join as a new one"))
			return
		}
		if m.State == vnodes.StateNormal {
			n.grow(ctx, st)
			return
		}
		if err := n.step(ctx, st, m); err != nil && ctx.Err() == nil {
			n.logger.Info("joining: step not done yet", "state", m.State, "why", err)
			select {
			case <-ctx.Done():
			case <-time.After(retryJoin):
			}
		}
	}
}

// step does what the member's state asks for and proposes the next one.
func (n *Node) step(ctx context.Context, st *metalog.State, m *metalog.Member) error {
	next := vnodes.StateJoining
	switch m.State {
	case vnodes.StateWaiting:
	case vnodes.StateJoining:
		if err := n.awaitOwners(ctx, st, nobody); err != nil {
			return err
		}
		if err := n.stream(ctx); err != nil {
			return err
		}
		next = vnodes.StateJoiningRead
	case vnodes.StateJoiningRead:
		if err := n.awaitOwners(ctx, st, nobody); err != nil {
			return err
		}
		next = vnodes.StateNormal
	default:
		return fmt.Errorf("unexpected state %d", m.State)
	}
	node := vnodes.Node{ID: m.ID, State: next}
	_, _, err := n.log.Propose(ctx, &metalog.Entry{Kind: metalog.EntrySetState, Node: node, From: m.State})
	if err == nil {
		n.logger.Info("joining", "from", m.State, "to", next)
	}
	return err
}

// awaitOwners returns once majorities of the old and of the new owners of every moving range have applied the state's ring and ended their
// requests of older ones. A member that is given up isn't counted.
func (n *Node) awaitOwners(ctx context.Context, st *metalog.State, given vnodes.HostID) error {
	ctx, cancel := context.WithTimeout(ctx, appliedTimeout)
	defer cancel()
	applied := map[vnodes.HostID]bool{}
	answered := make(chan struct{})
	waiting := len(st.Members)
	var mu sync.Mutex
	done := func(id vnodes.HostID, err error) {
		mu.Lock()
		defer mu.Unlock()
		applied[id] = err == nil
		if waiting--; waiting == 0 {
			close(answered)
		}
	}
	for i := range st.Members {
		m := &st.Members[i].Node
		if m.ID == n.cluster.self {
			n.cluster.admission.WhenDrained(st.RingEpoch, func() { done(m.ID, nil) })
			continue
		}
		n.cluster.askApplied(ctx, m, st.RingEpoch, func(err error) { done(m.ID, err) })
	}
	select {
	case <-answered:
	case <-ctx.Done(): // a stalled write of our own: asked again
	}
	mu.Lock()
	defer mu.Unlock()
	return ownersApplied(n.cluster.View(), applied, given, st.RingEpoch)
}

// nobody is given up.
var nobody vnodes.HostID

// ownersApplied is the error as long as the owners of some moving range have not.
func ownersApplied(view *coordinator.View, applied map[vnodes.HostID]bool, given vnodes.HostID, epoch uint64) error {
	for name := range view.Catalog.Keyspaces {
		place, rep, _ := view.Placement(name)
		for _, rr := range place.Ranges() {
			if rr.Replicas.Moving() && (!majority(without(rr.Replicas.Old, given), rep, applied) || !majority(without(rr.Replicas.New, given), rep, applied)) {
				return fmt.Errorf("no majority of the owners of a range of keyspace %s has applied epoch %d yet", name, epoch)
			}
		}
	}
	return nil
}

func without(nodes []*vnodes.Node, id vnodes.HostID) []*vnodes.Node {
	return slices.DeleteFunc(slices.Clone(nodes), func(m *vnodes.Node) bool { return m.ID == id })
}

// majority reports whether most of a range's owners have applied a step: in each datacenter, where levels such as LOCAL_QUORUM count there. A range without
// owners needs nobody.
func majority(nodes []*vnodes.Node, rep vnodes.Replication, applied map[vnodes.HostID]bool) bool {
	owners, have := map[string]int{}, map[string]int{}
	for _, m := range nodes {
		dc := m.DC
		if rep.Datacenters == nil {
			dc = ""
		}
		owners[dc]++
		if applied[m.ID] {
			have[dc]++
		}
	}
	for dc, n := range owners {
		if have[dc] <= n/2 {
			return false
		}
	}
	return true
}

// streamJob is one range of one table to fetch.
type streamJob struct {
	table *schema.Table
	span  vnodes.Range
	level consistency.Level
	tries int // of one page
}

// stream fetches, merged from a read quorum of the present owners, every range that this node will own and doesn't yet.
func (n *Node) stream(ctx context.Context) error {
	jobs := n.streamJobs()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan streamJob, len(jobs))
	for _, j := range jobs {
		queue <- j
	}
	close(queue)
	var workers sync.WaitGroup
	for i := range streamWorkers {
		workers.Add(1)
		go func() {
			defer workers.Done()
			time.Sleep(time.Duration(i) * streamStagger)
			for j := range queue {
				if err := n.fetch(ctx, j); err != nil {
					cancel(fmt.Errorf("stream of %s.%s: %w", j.table.Keyspace, j.table.Name, err))
					return
				}
			}
		}()
	}
	workers.Wait()
	return context.Cause(ctx)
}

// streamJobs lists what to fetch, in the order of names and tokens, so that a simulation repeats itself.
func (n *Node) streamJobs() []streamJob {
	view := n.cluster.View()
	var jobs []streamJob
	for _, name := range slices.Sorted(maps.Keys(view.Catalog.Keyspaces)) {
		tables := view.Catalog.Keyspaces[name].Tables
		order := slices.Sorted(maps.Keys(tables))
		place, rep, _ := view.Placement(name)
		for _, rr := range place.Ranges() {
			old := rr.Replicas.Old
			if !owns(rr.Replicas.New, n.cluster.self) || owns(old, n.cluster.self) || len(old) == 0 {
				continue
			}
			level := streamLevel(rr.Replicas, rep, n.Config.Datacenter)
			for _, t := range order {
				jobs = append(jobs, streamJob{tables[t], rr.Range, level, streamTries})
			}
		}
	}
	return jobs
}

// streamLevel is QUORUM, in each datacenter where replicas are counted so; or all of the owners where there are fewer than that: a keyspace may ask for more
// replicas than the cluster had nodes.
func streamLevel(owners *vnodes.Replicas, rep vnodes.Replication, dc string) consistency.Level {
	level := consistency.Quorum
	if rep.Datacenters != nil {
		level = consistency.EachQuorum
	}
	if fault.Planted("node/joiner-streams-from-one") {
		return consistency.One
	}
	tracker, err := consistency.NewRead(level, owners, rep, dc)
	if err == nil {
		if _, _, ok := tracker.Available(func(vnodes.HostID) bool { return true }); ok {
			return level
		}
	}
	switch len(owners.Read()) {
	case 1:
		return consistency.One
	case 2:
		return consistency.Two
	}
	return consistency.Three
}

func owns(nodes []*vnodes.Node, id vnodes.HostID) bool {
	return slices.ContainsFunc(nodes, func(m *vnodes.Node) bool { return m.ID == id })
}

// fetch reads one range page by page at the job's level and applies it here.
func (n *Node) fetch(ctx context.Context, j streamJob) error {
	request := coordinator.ReadRequest{Level: j.level, Table: j.table, Spec: storage.ReadSpec{
		Storage: j.table.Storage, Range: j.span, Now: n.clock.Seconds(), ByteLimit: streamPage,
	}}
	for failed := 0; ctx.Err() == nil; {
		page, err := n.readPage(ctx, &request)
		if err != nil {
			if failed++; failed >= j.tries {
				return err
			}
			select {
			case <-ctx.Done():
			case <-time.After(retryJoin):
			}
			continue
		}
		failed = 0
		ms, stop, err := mutationsOf(j.table.Storage, page)
		if err != nil {
			return err
		}
		if err := n.applyWait(ms); err != nil {
			return err
		}
		if stop == nil {
			return nil
		}
		request.Spec.After = stop
	}
	return ctx.Err()
}

func (n *Node) readPage(ctx context.Context, r *coordinator.ReadRequest) ([]byte, error) {
	type answer struct {
		page []byte
		err  error
	}
	ch := make(chan answer, 1)
	n.coordinator.Read(ctx, r, func(page []byte, err error) { ch <- answer{page, err} })
	a := <-ch
	return a.page, a.err
}

func (n *Node) applyWait(ms []row.Mutation) error {
	if len(ms) == 0 {
		return nil
	}
	ch := make(chan error, 1)
	n.engine.Apply(ms, func(err error) { ch <- err })
	return <-ch
}

// mutationsOf turns a page into the mutations that write it, and gives where it stopped.
func mutationsOf(id row.StorageID, page []byte) ([]row.Mutation, *row.Position, error) {
	var r row.PageReader
	r.Reset(page)
	var ms []row.Mutation
	for {
		ev, err := r.Next()
		if err != nil {
			return nil, nil, err
		}
		switch ev {
		case row.PageEnd:
			return ms, r.Stop(), nil
		case row.PagePartition:
			ms = append(ms, row.Mutation{Storage: id, Token: r.Token, Key: r.Key, Header: r.HeaderBytes})
		case row.PageRow:
			m := &ms[len(ms)-1]
			m.Rows = append(m.Rows, row.Entry{Clustering: r.Clustering, Fragment: r.Row})
		}
	}
}

// grow makes members voters, one at a time, until there are enough.
func (n *Node) grow(ctx context.Context, st *metalog.State) {
	for ctx.Err() == nil {
		e, ok := metalog.NextVoter(st)
		if !ok {
			return
		}
		next, _, err := n.log.Propose(ctx, &e)
		if err != nil {
			n.logger.Warn("voters not extended; the next node that joins tries again", "why", err)
			return
		}
		st = next
	}
}

// Remove gives a member up that has not finished joining and won't: its place in the line is free, and its host id is never admitted again.
//
// One that answers reads already is taken back a step first, and the other owners have to have applied that before it goes: who still read from the
// new owners would miss what is written to the old ones alone. ctx bounds the wait; what is done by then stays, and Remove may be called again.
func (n *Node) Remove(ctx context.Context, id vnodes.HostID) error {
	if err := n.log.CatchUp(ctx); err != nil {
		return err
	}
	for {
		if err := n.stepBack(ctx, id); err != nil {
			return err
		}
		_, _, err := n.log.Propose(ctx, &metalog.Entry{Kind: metalog.EntryRemoveMember, Host: id})
		m, ok := n.log.State().Member(id)
		if err == nil || !ok || m.State != vnodes.StateJoiningRead || ctx.Err() != nil {
			return err
		}
		// The member isn't dead, and went on by itself.
	}
}

// stepBack takes a joining member's reads away, and returns once the owners of its ranges know. That they know is asked of one that takes writes only,
// too: an earlier Remove may have ended while it waited.
func (n *Node) stepBack(ctx context.Context, id vnodes.HostID) (err error) {
	st := n.log.State()
	m, ok := st.Member(id)
	if ok && m.State == vnodes.StateJoiningRead {
		back := &metalog.Entry{Kind: metalog.EntrySetState, Node: vnodes.Node{ID: id, State: vnodes.StateJoining}, From: m.State}
		if st, _, err = n.log.Propose(ctx, back); err != nil {
			return err
		}
	} else if !ok || m.State != vnodes.StateJoining {
		return nil
	}
	for {
		why := n.awaitOwners(ctx, st, id)
		if why == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s answers no reads, but is not removed yet: %w; try again", id, why)
		case <-time.After(retryJoin):
		}
	}
}
