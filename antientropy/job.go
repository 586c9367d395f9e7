package antientropy

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"nodedb/antientropy/stream"
	"nodedb/node/row"
	"nodedb/node/rpc"
	"nodedb/vnodes"
)

const (
	// jobWorkers is how many ranges of a job are compared at a time.
	jobWorkers = 4
	// maxJobs bounds the jobs on a node. jobLease is how long one goes on that nobody asks about: who started it is gone.
	maxJobs  = 8
	jobLease = 30 * time.Second
	// maxListed bounds the differences and problems that a node keeps of a job; further ones are counted.
	maxListed = 1000
	// busyWait is how long a job waits for a range that is being compared anyway.
	busyWait = 100 * time.Millisecond
)

// Difference is a header or row that is not the same on two replicas.
type Difference struct {
	Table      row.StorageID
	Here       vnodes.HostID // the replica that compared
	There      vnodes.HostID // the one it differs from
	Token      vnodes.Token
	Key        []byte
	Clustering []byte // nil: the partition's header: its deletions and statics
	HasHere    bool   // something is there
	HasThere   bool
}

// Progress is how far a job is, on one node or on all together.
type Progress struct {
	Ranges, Done     int
	Rows, Partitions uint64 // that differed
	Fetched, Pushed  uint64 // rows and headers moved
	Sent, Received   uint64 // bytes
	Differences      []Difference
	Problems         []string // ranges or replicas that could not be compared
	Ended            bool
}

// join adds another node's.
func (p *Progress) join(o *Progress) {
	p.Ranges, p.Done = p.Ranges+o.Ranges, p.Done+o.Done
	p.Rows, p.Partitions = p.Rows+o.Rows, p.Partitions+o.Partitions
	p.Fetched, p.Pushed = p.Fetched+o.Fetched, p.Pushed+o.Pushed
	p.Sent, p.Received = p.Sent+o.Sent, p.Received+o.Received
	p.Differences = append(p.Differences, o.Differences[:min(len(o.Differences), maxListed-min(maxListed, len(p.Differences)))]...)
	for _, problem := range o.Problems {
		p.problem(problem)
	}
}

// problem adds one, once.
func (p *Progress) problem(text string) {
	if len(p.Problems) < maxListed && !slices.Contains(p.Problems, text) {
		p.Problems = append(p.Problems, text)
	}
}

// jobs are those on this node.
type jobs struct {
	mu      sync.Mutex
	byID    map[[16]byte]*job
	running sync.WaitGroup
	closed  bool
}

// job compares all ranges of a table that this node drives.
type job struct {
	cancel context.CancelFunc
	mu     struct {
		sync.Mutex
		progress Progress
		asked    time.Time
	}
}

func (j *jobs) close() {
	j.mu.Lock()
	j.closed = true
	for _, x := range j.byID {
		x.cancel()
	}
	j.mu.Unlock()
	j.running.Wait()
}

// begin starts a job over the ranges of a table whose first owner that is not among down is this node. One that is there already goes on.
func (r *Repairer) begin(id [16]byte, table row.StorageID, verify bool, down []vnodes.HostID) error {
	r.refresh()
	alive := func(n vnodes.HostID) bool { return !slices.Contains(down, n) }
	var tasks []*task
	r.mu.Lock()
	for _, t := range r.mu.tasks {
		if t.key.table == table && t.drives(r.Self, alive) {
			tasks = append(tasks, t)
		}
	}
	slices.SortFunc(tasks, func(a, b *task) int {
		if a.before(b) {
			return -1
		}
		return 1
	})
	r.mu.Unlock()
	r.jobs.mu.Lock()
	defer r.jobs.mu.Unlock()
	for old, x := range r.jobs.byID {
		if x.idle() {
			x.cancel()
			delete(r.jobs.byID, old)
		}
	}
	switch {
	case r.jobs.byID[id] != nil:
		return nil
	case r.jobs.closed:
		return &rpc.RemoteError{Code: rpc.CodeNotReady, Message: "the node is shutting down"}
	case len(r.jobs.byID) >= maxJobs:
		return &rpc.RemoteError{Code: rpc.CodeOverloaded, Message: fmt.Sprintf("%d repairs run on the node already", maxJobs)}
	}
	ctx, cancel := context.WithCancel(context.Background())
	j := &job{cancel: cancel}
	j.mu.asked, j.mu.progress.Ranges = time.Now(), len(tasks)
	r.jobs.byID[id] = j
	r.jobs.running.Go(func() { r.work(ctx, j, tasks, verify) })
	return nil
}

// idle reports whether nobody has asked about a job for too long.
func (j *job) idle() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return time.Since(j.mu.asked) > jobLease
}

// work compares a job's ranges, a few at a time.
func (r *Repairer) work(ctx context.Context, j *job, tasks []*task, verify bool) {
	queue := make(chan *task, len(tasks))
	for _, t := range tasks {
		queue <- t
	}
	close(queue)
	var workers sync.WaitGroup
	for range min(jobWorkers, len(tasks)) {
		workers.Go(func() {
			for t := range queue {
				if j.idle() {
					j.cancel()
				}
				if ctx.Err() != nil {
					return
				}
				r.one(ctx, j, t, verify)
			}
		})
	}
	workers.Wait()
	r.store()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.mu.progress.Ended = true
}

// one compares one range of a job.
func (r *Repairer) one(ctx context.Context, j *job, t *task, verify bool) {
	for !r.claim(t) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(busyWait):
		}
	}
	var report func(stream.Difference)
	if verify {
		report = func(d stream.Difference) {
			j.mu.Lock()
			defer j.mu.Unlock()
			if p := &j.mu.progress; len(p.Differences) < maxListed {
				p.Differences = append(p.Differences, Difference{Table: t.key.table, Here: r.Self, There: d.Peer, Token: d.Token, Key: bytes.Clone(d.Key),
					Clustering: d.Clustering, HasHere: d.Here, HasThere: d.There})
			}
		}
	}
	out, err := r.drive(ctx, t, report)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.mu.progress.join(&Progress{Done: 1, Rows: out.Rows, Partitions: out.Partitions, Fetched: out.Fetched, Pushed: out.Pushed, Sent: out.Sent, Received: out.Received})
	if err != nil {
		j.mu.progress.problem(err.Error())
	}
}

// claim makes a task busy; false: it is.
func (r *Repairer) claim(t *task) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t.busy {
		return false
	}
	t.busy = true
	r.place(t)
	return true
}
