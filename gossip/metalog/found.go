package metalog

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"nodedb/node/fault"
	"nodedb/node/rpc"
	"nodedb/vnodes"
)

// Times of founding.
const (
	helloEvery   = 200 * time.Millisecond // how often a peer is asked who it is
	helloFresh   = 3 * time.Second        // how long its answer counts
	reportEvery  = 5 * time.Second        // how often progress is told
	foundTick    = 50 * time.Millisecond  // how often it is looked whether there is something to do
	foundStagger = 200 * time.Millisecond // how long the second, third, … present node leaves founding to those before it
	// latePatience is how long a majority waits for the rest before it founds without it: who is there from the start
	// needs no streaming.
	latePatience = 3 * time.Second
	// joinTimeout is how long a member may take to have us decided.
	joinTimeout = 15 * time.Second
)

// FoundOrJoin brings an empty node into a cluster (DESIGN.md, Founding): alone without a list; joins any cluster found
// among peers (it is then a member in StateWaiting, or whatever state it had reached); else founds one with a majority
// of peers and self. progress gets a line every 5 s: who is missing or has another list. It returns once State() is not
// nil and contains us. Errors at once: ErrOtherName, ErrRemoved. Anything else is waited for, until ctx ends.
func (l *Log) FoundOrJoin(ctx context.Context, peers []rpc.Peer, progress func(string)) error {
	if st := l.state.Load(); st != nil {
		if _, ok := st.Member(l.o.Self); !ok {
			return ErrRemoved
		}
		return nil
	}
	if w := l.o.Node.Weight; w < 1 || w > maxTokens {
		return invalid("num_tokens is %d; want 1 to %d", w, maxTokens)
	}
	f := &founder{log: l, progress: progress, answers: make(chan heardHello, 2*maxSet), views: map[string]*view{}}
	f.self = l.address(l.o.Node.Address)
	if err := f.settle(peers); err != nil {
		return err
	}
	if len(f.set) == 1 {
		return l.own(func() error { return l.apply(1, f.entry([]vnodes.Node{l.o.Node}).Append(nil)) })
	}
	l.founder.Store(f)
	defer l.founder.Store(nil)
	return f.run(ctx)
}

func (l *Log) address(ip string) string { return net.JoinHostPort(ip, strconv.Itoa(l.o.MetaPort)) }

// founder is one call of FoundOrJoin.
//
// The founding round is Paxos among the addresses of the set, so that it needs no host ids, which change when a
// directory is wiped. Each address votes only for exactly the set it has itself. What a majority of the set decides is
// epoch 1.
type founder struct {
	log      *Log
	progress func(string)
	self     string   // address with port
	set      []string // addresses with ports, ascending, self among them
	listed   []string // what --join and self come to, where an earlier vote binds this node to another set; else nil
	answers  chan heardHello
	views    map[string]*view // of the others

	ready    time.Time // since when there are enough to found
	nextTry  time.Time // of a founding round, or to join
	losses   int
	highest  uint64 // ballot time
	trouble  string // why joining or founding failed last
	rival    string // who could found another cluster, so that this node doesn't
	addition *Entry // AddMember, with one proposal id for all tries
}

// view is what is known of another node of the set.
type view struct {
	hello  *hello
	err    error
	heard  time.Time
	asked  time.Time
	asking bool
}

// heardHello is an answer to VerbHello, or a VerbHello that came in.
type heardHello struct {
	address string
	asked   bool
	hello   *hello
	err     error
}

// settle decides on the set: the list and oneself, unless an earlier vote binds to another.
func (f *founder) settle(peers []rpc.Peer) error {
	f.set = []string{f.self}
	for _, p := range peers {
		f.set = append(f.set, p.Addr)
	}
	slices.Sort(f.set)
	f.set = slices.Compact(f.set)
	if len(f.set) > maxSet {
		return fmt.Errorf("metadata log: the --join list has %d addresses, at most %d are allowed", len(f.set), maxSet)
	}
	votes, err := f.log.founderVotes()
	if err != nil {
		return err
	}
	for _, v := range votes {
		if v.acceptor.Accepted != nil && !slices.Equal(v.set, f.set) {
			f.listed, f.set = f.set, v.set
			break
		}
	}
	for _, address := range f.set {
		if address != f.self {
			f.views[address] = &view{}
		}
	}
	return nil
}

func (f *founder) run(ctx context.Context) error {
	tick, report := time.NewTicker(foundTick), time.NewTicker(reportEvery)
	defer tick.Stop()
	defer report.Stop()
	for {
		if f.log.state.Load() != nil {
			return nil
		}
		f.ask()
		if err := f.act(ctx); err != nil {
			return err
		}
		_, changed := f.log.applied()
		if f.log.state.Load() != nil {
			continue
		}
		select {
		case h := <-f.answers:
			f.note(h)
		case <-tick.C:
		case <-changed:
		case <-report.C:
			f.tell()
		case <-ctx.Done():
			return fmt.Errorf("metadata log: no cluster yet: %s: %w", f.report(), ctx.Err())
		case <-f.log.ctx.Done():
			return ErrClosed
		}
	}
}

func (f *founder) tell() {
	if f.progress != nil {
		f.progress(f.report())
	}
}

// ask says hello to everybody whose last answer is a while ago.
func (f *founder) ask() {
	body := encode(f.log.hello())
	for address, v := range f.views {
		if v.asking || time.Since(v.asked) < helloEvery {
			continue
		}
		v.asking, v.asked = true, time.Now()
		f.log.o.Transport.Send(&rpc.Call{To: rpc.Peer{Addr: address}, Verb: rpc.VerbHello, Body: body, Timeout: callTimeout, Done: func(b []byte, err error) {
			h := heardHello{address: address, asked: true, hello: &hello{}, err: err}
			if h.err == nil {
				h.err = decode(b, h.hello)
			}
			f.hand(h)
		}})
	}
}

// hand never blocks: there is room for an answer of each peer; hellos that come in are let go where that would be used
// up.
func (f *founder) hand(h heardHello) {
	if !h.asked && len(f.answers) >= maxSet {
		return
	}
	select {
	case f.answers <- h:
	default:
	}
}

func (f *founder) note(h heardHello) {
	v := f.views[h.address]
	if v == nil {
		return
	}
	if h.asked {
		v.asking = false
	}
	v.err = h.err
	if h.err == nil {
		v.hello, v.heard = h.hello, time.Now()
	}
}

// hello is what this node tells of itself.
func (l *Log) hello() *hello {
	n := &l.o.Node
	h := &hello{Host: l.o.Self, Address: n.Address, DC: n.DC, Rack: n.Rack, Weight: n.Weight, Name: l.o.Name}
	if st := l.state.Load(); st != nil {
		h.Cluster, h.Epoch, h.Name = st.ClusterID, st.Epoch, st.Name
	} else if f := l.founder.Load(); f != nil {
		h.Set = f.set
	}
	return h
}

func (l *Log) handleHello(in *rpc.Inbound) {
	h := &hello{}
	if err := decode(in.Body, h); err != nil {
		in.Reply(nil, refuse(err))
		return
	}
	if f := l.founder.Load(); f != nil {
		f.hand(heardHello{address: l.address(h.Address), hello: h})
	}
	in.Reply(encode(l.hello()), nil)
}

// act does what the views call for: join, found, or nothing yet.
func (f *founder) act(ctx context.Context) error {
	for _, address := range f.set {
		v := f.views[address]
		if v == nil || v.hello == nil || time.Since(v.heard) > helloFresh {
			continue
		}
		if v.hello.Name != f.log.o.Name {
			return fmt.Errorf("%w: the node at %s has cluster_name %q, this one %q", ErrOtherName, address, v.hello.Name, f.log.o.Name)
		}
		if v.hello.clustered() && time.Now().After(f.nextTry) {
			return f.join(ctx, address, v.hello)
		}
	}
	present := f.present()
	if f.rival = f.findRival(present); !f.enough(len(present)) || f.rival != "" || time.Now().Before(f.nextTry) {
		return nil
	}
	rank := slices.IndexFunc(present, func(n vnodes.Node) bool { return n.ID == f.log.o.Self })
	if time.Since(f.ready) < time.Duration(rank)*foundStagger {
		return nil
	}
	f.found(ctx, present)
	return nil
}

// enough keeps the time since when a majority is there, and reports whether it is time to found with those that are.
// REQUIRES: no cluster is in sight.
func (f *founder) enough(present int) bool {
	for _, v := range f.views {
		if v.hello != nil && v.hello.clustered() && time.Since(v.heard) <= helloFresh {
			return false
		}
	}
	if present <= len(f.set)/2 && !fault.Planted("metalog/founds-by-a-minority") {
		f.ready = time.Time{}
		return false
	}
	if f.ready.IsZero() {
		f.ready = time.Now()
	}
	return present == len(f.set) || time.Since(f.ready) >= latePatience
}

// present gives the nodes, by address, that would found with this set now, itself included.
func (f *founder) present() []vnodes.Node {
	var list []vnodes.Node
	for _, address := range f.set {
		if address == f.self {
			list = append(list, f.log.o.Node)
		} else if v := f.views[address]; f.agrees(v) {
			list = append(list, v.hello.node())
		}
	}
	return list
}

// findRival gives a node of the set that has another set, which a majority could found without any of those present:
// then there would be two clusters. Both sides see the other, wait, and say so.
func (f *founder) findRival(present []vnodes.Node) string {
	for _, address := range f.set {
		v := f.views[address]
		if v == nil || v.hello == nil || time.Since(v.heard) > helloFresh || v.hello.clustered() || slices.Equal(v.hello.Set, f.set) {
			continue
		}
		free := 0
		for _, other := range v.hello.Set {
			if !slices.ContainsFunc(present, func(n vnodes.Node) bool { return f.log.address(n.Address) == other }) {
				free++
			}
		}
		if free > len(v.hello.Set)/2 {
			return address
		}
	}
	return ""
}

func (f *founder) agrees(v *view) bool {
	return v.hello != nil && time.Since(v.heard) <= helloFresh && !v.hello.clustered() && slices.Equal(v.hello.Set, f.set) && v.hello.Host != f.log.o.Self
}

// report says who is missing and who has another list.
func (f *founder) report() string {
	var missing, others []string
	for _, address := range f.set {
		v := f.views[address]
		switch {
		case v == nil || f.agrees(v):
		case v.hello == nil || time.Since(v.heard) > helloFresh:
			missing = append(missing, fmt.Sprintf("%s (%s)", address, why(v.err)))
		case v.hello.Host == f.log.o.Self:
			others = append(others, fmt.Sprintf("%s is this node itself, which listens on %s", address, f.self))
		case v.hello.clustered():
			others = append(others, address+" belongs to a cluster, which this node tries to join")
		case len(v.hello.Set) == 0:
			others = append(others, address+" is starting")
		default:
			others = append(others, fmt.Sprintf("%s has another --join list: with itself it has [%s], this node has [%s]",
				address, strings.Join(v.hello.Set, " "), strings.Join(f.set, " ")))
		}
	}
	text := fmt.Sprintf("waiting for the nodes of the --join list: %d of %d are here, %d needed", len(f.present()), len(f.set), len(f.set)/2+1)
	if f.rival != "" {
		text = fmt.Sprintf("not founding yet, though %d of %d nodes of the --join list are here: by the list of %s another cluster could be founded beside it. "+
			"Make the --join lists the same", len(f.present()), len(f.set), f.rival)
	}
	if len(missing) > 0 {
		text += "; missing: " + strings.Join(missing, ", ")
	}
	if len(others) > 0 {
		text += "; " + strings.Join(others, "; ")
	}
	if f.listed != nil {
		text += fmt.Sprintf("; this node has voted to found a cluster with [%s] and has to learn the outcome before it can do anything with its present list [%s]"+
			" (or wipe its data directory)", strings.Join(f.set, " "), strings.Join(f.listed, " "))
	}
	if f.trouble != "" {
		text += "; " + f.trouble
	}
	return text
}

func why(err error) string {
	if err == nil {
		return "no answer yet"
	}
	return err.Error()
}
