package antientropy

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"nodedb/antientropy/stream"
	"nodedb/node/row"
	"nodedb/node/rpc"
	"nodedb/vnodes"
)

// What VerbRepairRun asks for. Only append to this list: it is on the wire.
const (
	runBegin uint8 = iota + 1
	runAsk
	runCancel
	runRecords
)

const (
	runVersion = 1
	// runTimeout bounds one question; askEvery is how often a job's progress is asked for, and asksLost how many answers in a row may be missing.
	runTimeout = 5 * time.Second
	askEvery   = 250 * time.Millisecond
	asksLost   = 3
	// recordsPage bounds the records of an answer, and maxDown the hosts of a request.
	recordsPage = 8192
	maxDown     = 1 << 14
)

// runRequest is VerbRepairRun's body: a positional msgpack envelope.
type runRequest struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // how the package is told
	Version  uint8
	Op       uint8
	Job      [16]byte
	Needs    uint64 // as in stream.Request
	Ring     uint64
	Table    row.StorageID
	Verify   bool
	Down     []vnodes.HostID // those whose ranges others drive
	After    int             // records: how many to leave out
}

// runReply answers it.
type runReply struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // how the package is told
	Version  uint8
	Progress Progress
	Records  [][]byte
	More     bool // there are more records
}

// handleRun answers VerbRepairRun.
func (r *Repairer) handleRun(in *rpc.Inbound) {
	var q runRequest
	err := msgpack.Unmarshal(in.Body, &q)
	if err == nil && q.Version != runVersion {
		err = fmt.Errorf("message version %d, want %d: mixed nodedb versions?", q.Version, runVersion)
	}
	if err == nil && (len(q.Down) > maxDown || q.After < 0) {
		err = fmt.Errorf("%d hosts, %d records", len(q.Down), q.After)
	}
	if err != nil {
		in.Reply(nil, &rpc.RemoteError{Code: rpc.CodeInvalid, Message: "repair: " + err.Error()})
		return
	}
	if q.Op == runBegin && r.View().Epoch < q.Needs {
		ctx, cancel := context.WithDeadline(context.Background(), in.Deadline)
		r.Await(ctx, in.From, q.Needs, func(err error) {
			cancel()
			if err != nil {
				in.Reply(nil, &rpc.RemoteError{Code: rpc.CodeStale, Message: "the node lacks metadata: " + err.Error(), Epoch: r.View().Epoch})
				return
			}
			r.answerRun(in, &q)
		})
		return
	}
	r.answerRun(in, &q)
}

func (r *Repairer) answerRun(in *rpc.Inbound, q *runRequest) {
	reply, err := r.run(q)
	if err != nil {
		in.Reply(nil, err)
		return
	}
	reply.Version = runVersion
	body, err := msgpack.Marshal(reply)
	in.Reply(body, err)
}

// run does what VerbRepairRun asks for, for this node or another.
func (r *Repairer) run(q *runRequest) (*runReply, error) {
	switch q.Op {
	case runBegin:
		if epoch := r.View().Ring.Epoch(); epoch != q.Ring {
			return nil, &rpc.RemoteError{Code: rpc.CodeNotOwner, Message: fmt.Sprintf("the ring is that of epoch %d", epoch), Epoch: r.View().Epoch}
		}
		return &runReply{}, r.begin(q.Job, q.Table, q.Verify, q.Down)
	case runAsk, runCancel:
		r.jobs.mu.Lock()
		j := r.jobs.byID[q.Job]
		if q.Op == runCancel && j != nil {
			j.cancel()
			delete(r.jobs.byID, q.Job)
		}
		r.jobs.mu.Unlock()
		if j == nil {
			return nil, &rpc.RemoteError{Code: rpc.CodeInvalid, Message: "the repair is not known here: was the node restarted?"}
		}
		j.mu.Lock()
		defer j.mu.Unlock()
		j.mu.asked = time.Now()
		p := j.mu.progress
		p.Differences, p.Problems = slices.Clone(p.Differences), slices.Clone(p.Problems)
		if !p.Ended {
			p.Differences = nil // many bytes, four times a second
		}
		return &runReply{Progress: p}, nil
	case runRecords:
		all := r.Records()
		all = all[min(q.After, len(all)):]
		reply := &runReply{More: len(all) > recordsPage}
		for i := range all[:min(len(all), recordsPage)] {
			reply.Records = append(reply.Records, all[i].Append(nil))
		}
		return reply, nil
	}
	return nil, &rpc.RemoteError{Code: rpc.CodeInvalid, Message: fmt.Sprintf("repair: no operation %d", q.Op)}
}

// ask sends a question to a node, this one included.
func (r *Repairer) ask(ctx context.Context, n *vnodes.Node, q runRequest) (*runReply, error) {
	if n.ID == r.Self {
		return r.run(&q)
	}
	q.Version = runVersion
	body, err := msgpack.Marshal(&q)
	if err != nil {
		return nil, err
	}
	type result struct {
		reply *runReply
		err   error
	}
	ch := make(chan result, 1)
	r.Transport.Send(&rpc.Call{To: r.Peer(n), Verb: rpc.VerbRepairRun, Body: body, Timeout: runTimeout, Done: func(body []byte, err error) {
		var reply *runReply
		if err == nil {
			reply, err = decodeRunReply(body)
		}
		ch <- result{reply, err}
	}})
	select {
	case got := <-ch:
		return got.reply, got.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func decodeRunReply(body []byte) (*runReply, error) {
	reply := &runReply{}
	if err := msgpack.Unmarshal(body, reply); err != nil {
		return nil, fmt.Errorf("malformed answer: %w", err)
	}
	if reply.Version != runVersion {
		return nil, fmt.Errorf("answer of version %d, want %d: mixed nodedb versions?", reply.Version, runVersion)
	}
	return reply, nil
}

// Repair compares all ranges of a table, each driven by its first live owner, and repairs what differs, or only says what does (verify). progress hears how
// far it is; id names the job.
func (r *Repairer) Repair(ctx context.Context, id [16]byte, table row.StorageID, verify bool, progress func(*Progress)) (*Progress, error) {
	view := r.View()
	t, ok := view.Catalog.TableByStorage(table)
	if !ok {
		return nil, errMoved
	}
	q := runRequest{Op: runBegin, Job: id, Needs: max(view.Ring.Epoch(), t.Epoch), Ring: view.Ring.Epoch(), Table: table, Verify: verify}
	var drivers []*vnodes.Node
	start := r.survey(&view, view.Catalog.Keyspaces[t.Keyspace].Replication, &q, &drivers)
	defer func() {
		for _, n := range drivers {
			_, _ = r.ask(context.WithoutCancel(ctx), n, runRequest{Op: runCancel, Job: id})
		}
	}()
	follow := make([]*follower, len(drivers))
	for i, n := range drivers {
		follow[i] = &follower{node: n}
		if _, err := r.ask(ctx, n, q); err != nil {
			follow[i].lose(err)
		}
	}
	for {
		all := start.clone()
		all.Ended = true
		r.poll(ctx, id, follow)
		for _, f := range follow {
			all.join(&f.last)
			all.Ended = all.Ended && f.last.Ended
		}
		if progress != nil {
			progress(all)
		}
		if all.Ended {
			return all, nil
		}
		select {
		case <-ctx.Done():
			return all, ctx.Err()
		case <-time.After(askEvery):
		}
	}
}

func (p *Progress) clone() *Progress {
	c := *p
	c.Problems = slices.Clone(p.Problems)
	return &c
}

// survey finds who drives the ranges, and says what can't be compared from the outset.
func (r *Repairer) survey(view *stream.View, rep vnodes.Replication, q *runRequest, drivers *[]*vnodes.Node) *Progress {
	start := &Progress{}
	driving := map[vnodes.HostID]bool{}
	down := map[vnodes.HostID]bool{}
	moving, dead := 0, 0
	for _, rr := range view.Ring.Place(rep).Ranges() {
		if rr.Replicas.Moving() {
			moving++
			continue
		}
		var first *vnodes.Node
		for _, n := range rr.Replicas.Old {
			if !r.Alive(n.ID) {
				down[n.ID] = true
			} else if first == nil {
				first = n
			}
		}
		switch {
		case first == nil && len(rr.Replicas.Old) > 0:
			dead++
		case first != nil && len(rr.Replicas.Old) > 1:
			driving[first.ID] = true
		}
	}
	for _, n := range view.Ring.Nodes() {
		if down[n.ID] {
			q.Down = append(q.Down, n.ID)
			start.problem(n.Address + " is down: its replicas were not compared")
		}
		if driving[n.ID] {
			*drivers = append(*drivers, n)
		}
	}
	if moving > 0 {
		start.problem(fmt.Sprintf("%d ranges are moving between nodes: they are compared once they have moved", moving))
	}
	if dead > 0 {
		start.problem(fmt.Sprintf("%d ranges have no owner that is up", dead))
	}
	return start
}

// follower is what is known of a job on one node.
type follower struct {
	node *vnodes.Node
	last Progress
	lost int // questions without an answer, in a row
}

// lose gives a node up.
func (f *follower) lose(err error) {
	f.last.Ended = true
	f.last.problem(fmt.Sprintf("%s does not answer, so the ranges that it drives were not all compared: %v", f.node.Address, err))
}

// poll asks each node that is still at it.
func (r *Repairer) poll(ctx context.Context, id [16]byte, follow []*follower) {
	var all sync.WaitGroup
	for _, f := range follow {
		if f.last.Ended {
			continue
		}
		all.Go(func() {
			reply, err := r.ask(ctx, f.node, runRequest{Op: runAsk, Job: id})
			if err == nil {
				f.last, f.lost = reply.Progress, 0
			} else if f.lost++; f.lost >= asksLost && ctx.Err() == nil {
				f.lose(err)
			}
		})
	}
	all.Wait()
}

// ClusterRecords gathers the records of all nodes that are up, one a range: the newest. unheard names those that did not answer.
func (r *Repairer) ClusterRecords(ctx context.Context) (all []Record, unheard []string) {
	view := r.View()
	var mu sync.Mutex
	newest := map[taskKey]Record{}
	var each sync.WaitGroup
	for _, n := range view.Ring.Nodes() {
		each.Go(func() {
			records, err := r.recordsOf(ctx, n)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				unheard = append(unheard, fmt.Sprintf("%s: %v", n.Address, err))
			}
			for _, rec := range records {
				k := taskKey{rec.Table, rec.Range.Start}
				if old, ok := newest[k]; !ok || old.Compared.Before(rec.Compared) {
					newest[k] = rec
				}
			}
		})
	}
	each.Wait()
	for _, rec := range newest {
		all = append(all, rec)
	}
	sortRecords(all)
	slices.Sort(unheard)
	return all, unheard
}

func (r *Repairer) recordsOf(ctx context.Context, n *vnodes.Node) (all []Record, err error) {
	if !r.Alive(n.ID) {
		return nil, fmt.Errorf("the node is down")
	}
	for {
		reply, err := r.ask(ctx, n, runRequest{Op: runRecords, After: len(all)})
		if err != nil {
			return all, err
		}
		for _, b := range reply.Records {
			rec, err := DecodeRecord(b)
			if err != nil {
				return all, err
			}
			all = append(all, rec)
		}
		if !reply.More || len(reply.Records) == 0 {
			return all, nil
		}
	}
}

func sortRecords(all []Record) {
	slices.SortFunc(all, func(a, b Record) int {
		return cmp.Or(cmp.Compare(a.Table, b.Table), cmp.Compare(a.Range.Start, b.Range.Start))
	})
}
