package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"nodedb/antientropy/merkle"
	"nodedb/node/row"
	"nodedb/node/rpc"
	"nodedb/node/storage"
	"nodedb/query/schema"
	"nodedb/vnodes"
)

// View is the ring and schema at one metadata epoch.
type View struct {
	Epoch   uint64
	Ring    *vnodes.Ring
	Catalog *schema.Catalog
}

// ServerOptions of NewServer.
type ServerOptions struct {
	Store Store
	View  func() View
	// Await calls done once epoch is applied here, pulling it from a peer if need be, or with ctx's error. It does not block.
	Await func(ctx context.Context, from rpc.Peer, epoch uint64, done func(error))
	// Apply writes mutations on this node's own replica as the request path does: it checks the epochs and calls done once they are durable.
	Apply func(needs, ring uint64, mutations [][]byte, done func(error))
	// Pending reports whether a memory table's rows are not back yet after a restart.
	Pending func(row.StorageID) bool
	// Record takes the outcome of a session that another node drove; it must not block.
	Record func(row.StorageID, []byte) error
	// Suspect takes a node that lacks what hints were to bring; it must not block.
	Suspect func(vnodes.HostID)
	// Hinted reports whether hints were sent to this node a moment ago; nil: never.
	Hinted func() bool
	Pace   *Pace
}

const (
	// serverWorkers read for others at a time; serverQueue requests may wait for one, more are shed.
	serverWorkers = 2
	serverQueue   = 64
	// replyBytes is about how much one answer brings.
	replyBytes = 1 << 20
	// maxHeld bounds the answer's share of a request's time: what is not read by then is asked for again.
	maxHeld = 2 * time.Second
)

// Server answers other nodes' sessions.
type Server struct {
	ServerOptions
	jobs    chan func()
	workers sync.WaitGroup
	life    context.Context // ends at Close: answers wait for the pace
	stop    context.CancelFunc
	mu      struct {
		sync.RWMutex
		closed bool // jobs is; sending would panic
	}
}

// NewServer starts the workers; Close stops them.
func NewServer(o ServerOptions) *Server {
	s := &Server{ServerOptions: o, jobs: make(chan func(), serverQueue)}
	s.life, s.stop = context.WithCancel(context.Background())
	for range serverWorkers {
		s.workers.Go(func() {
			for job := range s.jobs {
				job()
			}
		})
	}
	return s
}

// Close ends what is queued or under way, and waits. The transport must have stopped delivering.
func (s *Server) Close() {
	s.mu.Lock()
	closed := s.mu.closed
	s.mu.closed = true
	s.mu.Unlock()
	if !closed {
		close(s.jobs)
	}
	s.stop()
	s.workers.Wait()
}

// Register sets the verbs' handlers.
func (s *Server) Register(t rpc.Transport) {
	t.Handle(rpc.VerbTree, s.handle)
	t.Handle(rpc.VerbRepair, s.handle)
}

func (s *Server) handle(in *rpc.Inbound) {
	r, ivs, err := decodeRequest(in.Body)
	if err == nil && !slices.Contains(opsOf(in.Verb), r.Op) {
		err = fmt.Errorf("%s has no operation %d", in.Verb, r.Op)
	}
	if err != nil {
		in.Reply(nil, invalid(err))
		return
	}
	switch r.Op {
	case OpSuspect:
		s.Suspect(vnodes.HostID(r.Record))
		in.Reply(nil, nil)
		return
	case OpHinted:
		in.Reply(nil, s.hinted())
		return
	}
	if s.View().Epoch >= r.Needs {
		s.admitted(in, r, ivs)
		return
	}
	ctx, cancel := context.WithDeadline(context.Background(), in.Deadline)
	s.Await(ctx, in.From, r.Needs, func(err error) {
		cancel()
		if err != nil {
			in.Reply(nil, &rpc.RemoteError{Code: rpc.CodeStale, Message: "replica lacks metadata: " + err.Error(), Epoch: s.View().Epoch})
			return
		}
		s.admitted(in, r, ivs)
	})
}

// hinted is the answer to OpHinted.
func (s *Server) hinted() error {
	if s.Hinted != nil && s.Hinted() {
		return &rpc.RemoteError{Code: rpc.CodeNotReady, Message: "hints are being sent to the replica"}
	}
	return nil
}

func opsOf(v rpc.Verb) []Op {
	if v == rpc.VerbTree {
		return []Op{OpSums, OpLists}
	}
	return []Op{OpFetch, OpPush, OpRecord, OpSuspect, OpHinted}
}

// admitted runs a request whose metadata is here.
func (s *Server) admitted(in *rpc.Inbound, r *Request, ivs []merkle.Interval) {
	if err := s.owns(r); err != nil {
		in.Reply(nil, err)
		return
	}
	switch r.Op {
	case OpPush:
		s.Apply(r.Needs, r.Ring, r.Mutations, func(err error) { in.Reply(nil, err) })
	case OpRecord:
		in.Reply(nil, s.Record(r.Storage, r.Record))
	default:
		s.enqueue(in, r, ivs)
	}
}

// owns checks that a request was sent under a ring as new as this node's, and that the table is here.
func (s *Server) owns(r *Request) error {
	view := s.View()
	if view.Ring.Epoch() > r.Ring {
		return &rpc.RemoteError{Code: rpc.CodeNotOwner, Epoch: view.Epoch, Message: fmt.Sprintf("not the owner under the ring of epoch %d", view.Ring.Epoch())}
	}
	if _, ok := view.Catalog.TableByStorage(r.Storage); !ok {
		return &rpc.RemoteError{Code: rpc.CodeDropped, Message: fmt.Sprintf("the table (storage %d) was dropped or truncated", r.Storage)}
	}
	if s.Pending != nil && s.Pending(r.Storage) {
		return &rpc.RemoteError{Code: rpc.CodeNotReady, Message: "the replica was restarted and waits for the memory table's rows"}
	}
	return nil
}

func (s *Server) enqueue(in *rpc.Inbound, r *Request, ivs []merkle.Interval) {
	job := func() {
		ctx, cancel := context.WithDeadline(s.life, in.Deadline)
		defer cancel()
		reply, err := s.answer(ctx, r, ivs)
		var body []byte
		if err == nil {
			body, err = encode(reply)
		}
		in.Reply(body, asRemote(err))
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.mu.closed {
		in.Reply(nil, &rpc.RemoteError{Code: rpc.CodeNotReady, Message: "the replica is shutting down"})
		return
	}
	select {
	case s.jobs <- job:
	default:
		in.Reply(nil, &rpc.RemoteError{Code: rpc.CodeOverloaded, Message: "too many anti-entropy requests wait on the replica"})
	}
}

// asRemote gives storage's failures their code.
func asRemote(err error) error {
	switch {
	case errors.Is(err, storage.ErrDropped):
		return &rpc.RemoteError{Code: rpc.CodeDropped, Message: err.Error()}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return &rpc.RemoteError{Code: rpc.CodeExpired, Message: err.Error()}
	}
	return err
}

// answer is one request under way.
type answer struct {
	s       *Server
	r       *Request
	ivs     []merkle.Interval
	want    [][]uint64
	scanner scanner
	until   time.Time
	sums    []merkle.Sum
	lists   [][]uint64
	out     builder
	hashes  int
}

// answer reads what is asked for, as far as one step goes.
func (s *Server) answer(ctx context.Context, r *Request, ivs []merkle.Interval) (*Reply, error) {
	a := answer{s: s, r: r, ivs: ivs, out: builder{table: r.Storage}, until: time.Now().Add(maxHeld)}
	a.scanner = scanner{store: s.Store, table: r.Storage, now: r.Now, heads: r.Heads, pace: s.Pace, left: stepBytes, until: a.until}
	if r.Op == OpFetch && len(r.Want) > 0 {
		var err error
		if a.want, err = merkle.DecodeLists(r.Want); err == nil && len(a.want) != len(ivs) {
			err = fmt.Errorf("%d lists for %d intervals", len(a.want), len(ivs))
		}
		if err != nil {
			return nil, invalid(err)
		}
	}
	skip, after, err := a.run(ctx)
	if err != nil {
		return nil, err
	}
	reply := &Reply{Version: messageVersion, Skip: skip}
	if after != nil {
		reply.After = merkle.EncodeBound(after)
	}
	switch r.Op {
	case OpSums:
		reply.Sums = merkle.AppendSums(nil, a.sums)
	case OpLists:
		reply.Lists = merkle.AppendLists(nil, a.lists)
	case OpFetch:
		reply.Mutations = a.out.take()
	}
	return reply, nil
}

// run goes through the intervals from where the request says. It gives where it stopped; skip is negative when it came to the end.
func (a *answer) run(ctx context.Context) (skip int, after *merkle.Bound, err error) {
	skip = a.r.Skip
	if len(a.r.After) > 0 {
		b, err := merkle.DecodeBound(a.r.After)
		if err != nil {
			return 0, nil, invalid(err)
		}
		after = &b
	}
	base := 0 // of the interval's first piece
	for i := range a.ivs {
		iv := &a.ivs[i]
		pieces := 1
		if a.r.Op == OpSums {
			pieces = iv.Pieces()
		}
		if base+pieces > skip {
			stop, at, err := a.interval(ctx, i, iv, skip-base, after)
			if err != nil || stop != nil {
				return base + at, stop, err
			}
			skip, after = base+pieces, nil
			if i+1 < len(a.ivs) && a.full() {
				return skip, nil, nil
			}
		}
		base += pieces
	}
	return -1, nil, nil
}

// full reports whether the answer should leave now. Time counts: with a slow pace or disk an answer must not come after its deadline.
func (a *answer) full() bool {
	return a.scanner.left == 0 || a.scanner.read >= stepBytes || a.out.bytes >= replyBytes || a.hashes >= replyBytes/8 || time.Now().After(a.until)
}

// interval reads one interval from a piece on, and gives where and in which piece it stopped; nil: it was read to its end.
func (a *answer) interval(ctx context.Context, index int, iv *merkle.Interval, piece int, after *merkle.Bound) (*merkle.Bound, int, error) {
	rest := merkle.Interval{Lower: iv.Lower, Upper: iv.Upper}
	if a.r.Op == OpSums {
		rest.Lower = iv.Piece(piece).Lower
	}
	if after != nil {
		if after.Compare(&rest.Lower) < 0 || after.Compare(&iv.Upper) > 0 {
			return nil, 0, invalid(errors.New("a request that goes on outside its interval"))
		}
		rest.Lower = *after
	}
	var visit func(*item) bool
	at := 0
	switch a.r.Op {
	case OpSums:
		walker := iv.Walk(piece)
		first := len(a.sums) - piece
		a.sums = append(a.sums, make([]merkle.Sum, iv.Pieces()-piece)...)
		at = piece
		visit = func(it *item) bool {
			at = walker.Piece(it.token, it.key, it.clustering)
			a.sums[first+at].Add(it.hash)
			return true
		}
	case OpLists:
		a.lists = append(a.lists, nil)
		visit = a.list
	case OpFetch:
		visit = a.fetcher(index)
	}
	stop, err := a.scanBounded(ctx, &rest, visit)
	if stop != nil && a.r.Op == OpSums {
		a.sums = a.sums[:len(a.sums)-(iv.Pieces()-1-at)]
	}
	return stop, at, err
}

// scanBounded scans until the answer is full.
func (a *answer) scanBounded(ctx context.Context, iv *merkle.Interval, visit func(*item) bool) (*merkle.Bound, error) {
	if iv.Lower.Compare(&iv.Upper) >= 0 {
		return nil, nil
	}
	var last *merkle.Bound
	stop, err := a.scanner.scan(ctx, iv, func(it *item) bool {
		visit(it)
		if it.header() || !a.replyFull() {
			return true
		}
		last = &merkle.Bound{Kind: merkle.BehindRow, Token: it.token, Key: append([]byte{}, it.key...), Clustering: append([]byte{}, it.clustering...)}
		return false
	})
	if last != nil {
		return last, err
	}
	return stop, err
}

// replyFull reports whether the answer itself is large enough.
func (a *answer) replyFull() bool { return a.out.bytes >= replyBytes || a.hashes >= replyBytes/8 }

func (a *answer) list(it *item) bool {
	n := len(a.lists) - 1
	a.lists[n] = append(a.lists[n], it.hash)
	a.hashes++
	return true
}

// fetcher takes the items that interval index asks for.
func (a *answer) fetcher(index int) func(*item) bool {
	var want map[uint64]bool
	if a.want != nil && len(a.want[index]) > 0 {
		want = make(map[uint64]bool, len(a.want[index]))
		for _, h := range a.want[index] {
			want[h] = true
		}
	}
	return func(it *item) bool {
		if want == nil || want[it.hash] {
			a.out.add(it)
		}
		return true
	}
}
