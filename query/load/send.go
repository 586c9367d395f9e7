package load

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"nodedb/query/wire"
)

// job is one request on its way: rows of one partition. When the server refuses a job of several rows, they are sent one by one, so that only
// the row at fault is rejected.
type job struct {
	rows     []*row
	size     int64 // bytes of the rows
	single   int   // sent one by one: the next one is rows[single-1]; 0: all at once
	attempts int
	due      time.Time
	host     *host
	request  wire.Execute
	batch    wire.Batch
}

// part is the rows that the job sends now.
func (j *job) part() []*row {
	if j.single > 0 {
		return j.rows[j.single-1 : j.single]
	}
	return j.rows
}

// result of a job's request; a nil err is an acknowledgement.
type result struct {
	job *job
	err error
}

// sender sends jobs, retries what may pass, and rejects what may not. Its one goroutine, settle, owns all decisions about results. Jobs in
// flight are bounded by slots and bytes, and each holds its slot until all its rows are settled.
//
// Invariant: a job in a slot has exactly one of: a request at a node, a result in results, a place in waiting. So results never fills.
type sender struct {
	o       *Options
	hosts   *hosts
	columns []column
	rejects *rejects
	fail    func(error) // ends the load
	slots   chan struct{}
	bytes   atomic.Int64  // of the rows in slots
	freed   chan struct{} // a slot was freed; the reader waits for it when bytes is over its bound
	results chan result   // has room for every slot, so callbacks never wait
	done    chan struct{}
	owned   sync.WaitGroup
	waiting jobHeap // settle's

	rows, requests, retries atomic.Int64
}

func newSender(o *Options, h *hosts, columns []column, r *rejects, fail func(error)) *sender {
	return &sender{o: o, hosts: h, columns: columns, rejects: r, fail: fail, slots: make(chan struct{}, o.InFlight),
		freed: make(chan struct{}, 1), results: make(chan result, o.InFlight), done: make(chan struct{})}
}

// start begins settling results; ctx ends retries.
func (s *sender) start(ctx context.Context) { s.owned.Go(func() { s.settle(ctx) }) }

// submit sends a job as soon as there is a slot, and room for its bytes. When ctx ends first, its rows are rejected.
func (s *sender) submit(ctx context.Context, rows []*row) {
	j := &job{rows: rows}
	for _, w := range rows {
		j.size += int64(w.size + len(w.raw))
	}
	for ctx.Err() == nil && s.bytes.Load() > 0 && s.bytes.Load()+j.size > int64(s.o.Bytes) {
		select {
		case <-s.freed:
		case <-ctx.Done():
		}
	}
	if ctx.Err() == nil {
		select {
		case s.slots <- struct{}{}:
			s.bytes.Add(j.size)
			s.send(j)
			return
		case <-ctx.Done():
		}
	}
	s.rejectAll(rows, context.Cause(ctx))
}

// free ends a job.
func (s *sender) free(j *job) {
	s.bytes.Add(-j.size)
	<-s.slots
	select {
	case s.freed <- struct{}{}:
	default: // the reader has been told already
	}
}

// drain waits until every job is settled, and ends settle.
func (s *sender) drain() {
	for range cap(s.slots) {
		s.slots <- struct{}{}
	}
	close(s.done)
	s.owned.Wait()
}

// send sends what the job sends now; the answer, or what prevented it, goes to settle.
func (s *sender) send(j *job) {
	one, on := s.hosts.pick()
	if one == nil {
		s.results <- result{j, errNoHost}
		return
	}
	j.host = one
	one.inFlight.Add(1)
	err := on.conn.Send(s.requestOf(j, on), func(r wire.Response, err error) {
		one.inFlight.Add(-1)
		if err == nil {
			err = r.Err()
		}
		s.results <- result{j, err}
	})
	if err != nil {
		one.inFlight.Add(-1)
		s.results <- result{j, err}
	}
	s.requests.Add(1)
}

// requestOf builds an EXECUTE for one row and an unlogged BATCH for several.
func (s *sender) requestOf(j *job, on *prepared) wire.Request {
	part := j.part()
	if len(part) == 1 {
		j.request = wire.Execute{ID: on.id, ResultID: on.rid,
			Params: wire.Params{Consistency: s.o.Consistency, Values: part[0].values, Unset: part[0].unset, SkipMetadata: true}}
		return &j.request
	}
	j.batch = wire.Batch{Kind: wire.BatchUnlogged, Statements: j.batch.Statements[:0], Params: wire.Params{Consistency: s.o.Consistency}}
	for _, w := range part {
		j.batch.Statements = append(j.batch.Statements, wire.BatchStatement{ID: on.id, Values: w.values, Unset: w.unset})
	}
	return &j.batch
}

// settle decides about results until drain ends it.
func (s *sender) settle(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	stopped := ctx.Done()
	for {
		if len(s.waiting) > 0 {
			timer.Reset(time.Until(s.waiting[0].due))
		}
		select {
		case r := <-s.results:
			s.decide(ctx, r)
		case <-timer.C:
			s.sendDue()
		case <-stopped:
			stopped = nil
			s.abandon(ctx)
		case <-s.done:
			return
		}
	}
}

func (s *sender) sendDue() {
	for now := time.Now(); len(s.waiting) > 0 && !s.waiting[0].due.After(now); {
		s.send(heap.Pop(&s.waiting).(*job))
	}
}

// abandon rejects what waits for its next attempt.
func (s *sender) abandon(ctx context.Context) {
	for _, j := range s.waiting {
		s.giveUp(j, context.Cause(ctx))
	}
	s.waiting = nil
}

// decide settles, splits or retries a job by its result.
func (s *sender) decide(ctx context.Context, r result) {
	j := r.job
	switch {
	case r.err == nil:
		s.rows.Add(int64(len(j.part())))
		s.advance(j)
	case fatal(r.err):
		s.giveUp(j, r.err)
		s.fail(fmt.Errorf("%w: %w", ErrStopped, r.err))
	case !passing(r.err) && len(j.part()) > 1:
		j.single, j.attempts = 1, 0
		s.send(j)
	case !passing(r.err):
		s.rejectAll(j.part(), r.err)
		s.advance(j)
	case ctx.Err() != nil:
		s.giveUp(j, r.err)
	case j.attempts+1 >= s.o.Attempts:
		s.giveUp(j, r.err)
		s.fail(fmt.Errorf("%w: row %d (line %d) was not acknowledged in %d attempts: %w", ErrStopped, j.part()[0].number, j.part()[0].line,
			s.o.Attempts, r.err))
	default:
		s.later(j, r.err)
	}
}

// advance goes to the next row of a job that is sent one by one, or frees its slot.
func (s *sender) advance(j *job) {
	if j.single > 0 && j.single < len(j.rows) {
		j.single, j.attempts = j.single+1, 0
		s.send(j)
		return
	}
	s.free(j)
}

// giveUp rejects what the job has not settled and frees its slot.
func (s *sender) giveUp(j *job, why error) {
	s.rejectAll(j.rows[max(0, j.single-1):], why)
	s.free(j)
}

// later puts a job off for its next attempt: doubling, with a random part so that jobs do not come back all at once.
func (s *sender) later(j *job, why error) {
	if e := (*wire.Error)(nil); errors.As(why, &e) && e.Code == wire.CodeUnprepared {
		j.host.reprepare()
	}
	backoff := min(firstBackoff<<min(j.attempts, 20), lastBackoff)
	j.attempts++
	j.due = time.Now().Add(backoff/2 + rand.N(backoff/2+1))
	s.retries.Add(1)
	heap.Push(&s.waiting, j)
}

func (s *sender) rejectAll(rows []*row, why error) {
	for _, w := range rows {
		if err := s.rejects.add(w.reject("", "", why.Error())); err != nil {
			s.fail(err)
		}
	}
}

// passing says whether a request that failed so may pass later. A row is written with its own timestamp, so that writing it twice is
// writing it once.
func passing(err error) bool {
	var e *wire.Error
	if !errors.As(err, &e) {
		return !errors.Is(err, wire.ErrTooLarge)
	}
	switch e.Code {
	case wire.CodeServer, wire.CodeUnavailable, wire.CodeOverloaded, wire.CodeBootstrapping, wire.CodeWriteTimeout, wire.CodeReadTimeout,
		wire.CodeWriteFailure, wire.CodeReadFailure, wire.CodeUnprepared:
		return true
	}
	return false
}

// fatal errors would meet every row.
func fatal(err error) bool {
	var e *wire.Error
	return errors.As(err, &e) && (e.Code == wire.CodeUnauthorized || e.Code == wire.CodeCredentials)
}

// jobHeap orders jobs by when they are due.
type jobHeap []*job

func (h jobHeap) Len() int           { return len(h) }
func (h jobHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h jobHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push appends a job; for container/heap.
func (h *jobHeap) Push(x any) { *h = append(*h, x.(*job)) }

// Pop removes the last job; for container/heap.
func (h *jobHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
