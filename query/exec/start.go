package exec

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"nodedb/coordinator"
	"nodedb/coordinator/consistency"
	"nodedb/node/fault"
	"nodedb/node/row"
	"nodedb/query/plan"
)

// Bounds of what is started and not ended; beyond them Start declines, and the statement waits for a worker. They are well below what the replica's
// own queues take, so that a burst waits in the door instead of being refused there.
const (
	maxStartedWrites = 4096
	maxStartedReads  = 512
	// maxStartedBytes bounds the values of a write that is started, which is one of one partition: together such writes stay below half of the replica's queue.
	maxStartedBytes = 16 << 10
)

// Panicked is the error of a started statement whose end panicked: no goroutine of the caller's was there to recover.
type Panicked struct {
	Value any
	Stack []byte
}

// Error says what it panicked with.
func (p *Panicked) Error() string { return fmt.Sprintf("internal error: %v", p.Value) }

// starts counts what is started and not ended.
type starts struct{ reads, writes atomic.Int64 }

// Start begins a plain write, or a read of one row, without a goroutine that waits for it. done is called once, with what Run would have given, from whichever
// goroutine brought the last answer; params are Start's until then, and the result is Start's again when done returns. False: not this plan, or not now, or it is refused: ask Run, done is not called.
func (x *Executor) Start(ctx context.Context, p *plan.Plan, params *Params, done func(*Result, error)) bool {
	if params.Trace || len(p.Warnings) > 0 || x.guards.requests {
		return false
	}
	switch body := p.Body.(type) {
	case *plan.Write:
		return body.Plain() && x.startWrite(ctx, p, body, params, done)
	case *plan.Select:
		return body.OneRow() && x.startRead(ctx, p, body, params, done)
	}
	return false
}

// void is the result of every write.
var void = &Result{Kind: ResultVoid}

func (x *Executor) startWrite(ctx context.Context, p *plan.Plan, w *plan.Write, params *Params, done func(*Result, error)) bool {
	size := 0
	for _, v := range params.Values {
		size += len(v)
	}
	if size > maxStartedBytes || x.started.writes.Load() >= maxStartedWrites || checkWriteLevel(params.Level) != nil {
		return false
	}
	s := newStartedWrite()
	s.request, s.done = request{x: x, ctx: ctx, plan: p, params: params, rows: s.row[:0]}, done
	s.env.Room = s.room
	if !s.open(w) {
		s.release()
		return false
	}
	if len(s.req.Writes) == 0 { // only unset values: nothing to write
		s.release()
		done(void, nil)
		return true
	}
	x.started.writes.Add(1)
	x.cluster.Write(ctx, &s.req, s.onEnd)
	return true
}

// startedWrite is a write under way. It is used again once the coordinator has no use for its mutation any more.
type startedWrite struct {
	request
	req  coordinator.WriteRequest
	one  [1]coordinator.Write // room of req.Writes
	row  [1]row.Entry         // room of its rows
	room []byte               // of their bytes
	done func(*Result, error)

	onEnd   func(error) // end, made once
	onSpent func()      // release, made once
}

var startedWrites sync.Pool

// Sizes of the room of a startedWrite's bytes: what it begins with, and what it keeps at most.
const (
	firstRoom   = 512
	maxKeptRoom = 4 << 10
)

func newStartedWrite() *startedWrite {
	if s, ok := startedWrites.Get().(*startedWrite); ok {
		return s
	}
	s := &startedWrite{room: make([]byte, 0, firstRoom)}
	s.onEnd, s.onSpent = s.end, s.release
	return s
}

// open works out what to write. False: the statement is refused.
func (s *startedWrite) open(w *plan.Write) bool {
	if s.bind(s.plan, s.params.Values, s.params.Unset, s.params.Names) != nil {
		return false
	}
	s.req = coordinator.WriteRequest{Level: s.params.Level, Kind: coordinator.WriteSimple, Spent: s.onSpent}
	var err error
	s.req.Writes, err = s.mutations(s.one[:0], w, s.timestamp())
	s.room = s.env.Room
	return err == nil
}

func (s *startedWrite) release() {
	room := s.room[:0]
	if cap(room) > maxKeptRoom {
		room = make([]byte, 0, firstRoom)
	}
	*s = startedWrite{room: room, onEnd: s.onEnd, onSpent: s.onSpent}
	startedWrites.Put(s)
}

func (s *startedWrite) end(err error) {
	s.x.started.writes.Add(-1)
	if err != nil && !fault.Planted("exec/started-write-failure-ignored") {
		s.done(nil, wireError(err))
		return
	}
	s.done(void, nil)
}

// startedRead is a read of one row under way: a walk whose pages come by callbacks. Only one goroutine at a time has it. It is used again.
type startedRead struct {
	request
	walk   walk
	read   coordinator.ReadRequest // of the next page
	page   []byte                  // room of a page that is at hand, or nil
	res    Result
	done   func(*Result, error)
	onPage func([]byte, error) // take, made once
}

var startedReads sync.Pool

func newStartedRead() *startedRead {
	if s, ok := startedReads.Get().(*startedRead); ok {
		return s
	}
	s := new(startedRead)
	s.onPage = s.take
	return s
}

// maxKeptRows is the largest room of rows, and of a page, that a startedRead keeps, in bytes.
const maxKeptRows = 32 << 10

func (s *startedRead) release() {
	rows, page := s.walk.output.rows, s.page
	if cap(rows) > maxKeptRows {
		rows = nil
	}
	if cap(page) > maxKeptRows {
		page = nil
	}
	*s = startedRead{onPage: s.onPage, page: page}
	s.walk.rows = rows[:0]
	startedReads.Put(s)
}

func (x *Executor) startRead(ctx context.Context, p *plan.Plan, sel *plan.Select, params *Params, done func(*Result, error)) bool {
	if x.started.reads.Load() >= maxStartedReads || checkReadLevel(params.Level) != nil || ctx.Err() != nil {
		return false
	}
	s := newStartedRead()
	s.request, s.done = request{x: x, ctx: ctx, plan: p, params: params}, done
	if !s.open(sel) {
		s.release()
		return false
	}
	x.started.reads.Add(1)
	if page, ok := s.atHand(); ok {
		s.take(page, nil)
		return true
	}
	s.fetch()
	return true
}

// atHand gives the first page where the cluster needs no time for it.
func (s *startedRead) atHand() (page []byte, ok bool) {
	if s.x.now == nil {
		return nil, false
	}
	s.walk.shape(&s.read.Spec)
	if page, ok = s.x.now.ReadNow(&s.read, s.page); ok {
		s.page = page
		s.walk.reads++
	}
	return page, ok
}

// open works out what to read. False: the statement is refused, or names no partition.
func (s *startedRead) open(sel *plan.Select) bool {
	if s.bind(s.plan, s.params.Values, s.params.Unset, s.params.Names) != nil || s.walk.open(&s.request, sel) != nil {
		return false
	}
	spec := &s.read.Spec
	one, ok := s.walk.onePartition(spec)
	spec.Token, spec.Key = one.Token, one.Key
	s.read.Level, s.read.Table = s.params.Level, s.walk.sel.Table
	if fault.Planted("exec/started-read-at-one") {
		s.read.Level = consistency.One
	}
	return ok
}

// fetch asks for the next page.
func (s *startedRead) fetch() {
	s.walk.shape(&s.read.Spec)
	s.walk.reads++
	r := s.read // a copy is the coordinator's, which may send repairs for it after it has answered
	s.x.cluster.Read(s.ctx, &r, s.onPage)
}

// take takes a page. Most often it is the only one.
func (s *startedRead) take(page []byte, err error) {
	res, err := s.result(page, err)
	if res == nil && err == nil {
		s.fetch()
		return
	}
	s.x.started.reads.Add(-1)
	s.done(res, err)
	s.release()
}

// result is what a page ends the statement with; neither result nor error: another page is needed. A panic is this statement's error, not the node's end.
func (s *startedRead) result(page []byte, err error) (res *Result, failed error) {
	defer func() {
		if p := recover(); p != nil {
			res, failed = nil, &Panicked{Value: p, Stack: debug.Stack()}
		}
	}()
	if err != nil {
		return nil, wireError(err)
	}
	ended, stopped, err := s.walk.take(page)
	if err == nil && ended && !stopped {
		err = s.walk.end(nil)
	}
	if err != nil {
		return nil, wireError(err)
	}
	if !ended {
		return nil, s.ended()
	}
	s.walk.result(&s.res)
	return &s.res, nil
}

// ended is the error of a statement that needs another page though its client is gone.
func (s *startedRead) ended() error {
	if err := s.ctx.Err(); err != nil {
		return wireError(err)
	}
	return nil
}
