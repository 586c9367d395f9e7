// Package simnet is rpc.Transport over a faulty network in memory, for simulations: in a testing/synctest bubble the
// same seed gives the same deliveries, delays and losses. It may import vnodes and node/rpc. Start reading at Network.
package simnet

import (
	"container/heap"
	"sync"
	"time"

	"nodedb/node/rpc"
)

// Options of New.
type Options struct {
	Seed   uint64
	Faults Faults
	// Silence is how long a call into a cut waits before it fails with ErrUnreachable, where its own timeout isn't
	// shorter. Default 4 s.
	Silence time.Duration
	// Settle is called before each event, to let everything that the last one set off come to rest: synctest.Wait in a
	// bubble, nil else.
	Settle func()
	// Opaque says of which verbs the replies' bytes are left out of the hash: those that tell of what isn't simulated, such as the size of a store.
	Opaque func(rpc.Verb) bool
	// Observe is told of each message's fate, in order, from the delivery loop.
	Observe func(Delivery)
}

// Faults that befall messages; a message is a request, a response or a packet. All zero: each arrives at once. On
// streams a loss is a pause, nothing arrives twice, and nothing is overtaken.
type Faults struct {
	Drop      float64 // share of messages that vanish; their calls time out
	Duplicate float64 // share of messages that arrive twice
	// Delay of each message lies between these; where they differ, messages overtake each other.
	MinDelay, MaxDelay time.Duration
}

// Fate of a message.
type Fate string

const (
	Delivered  Fate = "delivered"
	Dropped    Fate = "dropped"
	Cut        Fate = "cut"
	Refused    Fate = "refused" // nobody is there
	Duplicated Fate = "duplicated"
)

// Delivery is what became of a message.
type Delivery struct {
	At       time.Time
	From, To string
	Verb     rpc.Verb // 0: a packet, or a segment of a stream
	Response bool
	Size     int // bytes of the body
	Fate     Fate
	Sum      uint64 // of the message: its time, ends and bytes; 0 for packets and segments
}

// Network delivers messages between the nodes of one simulation.
//
// Everything happens in one loop, in (time, tiebreak) order. What becomes of a message is a hash of the seed, the time,
// both ends, its bytes, and how many equal ones went before at that time. So it doesn't depend on which of two
// goroutines sent first at one virtual instant, and there is no shared random source whose draws would shift all that
// follows.
type Network struct {
	opts Options
	wake chan struct{}
	wg   sync.WaitGroup
	mu   struct {
		sync.Mutex
		queue  events
		seq    uint64
		nodes  map[string]*Node
		cuts   map[[2]string]bool    // hosts: from, to
		deaf   map[string][]rpc.Verb // by host
		stalls map[string]time.Time  // until when a host has no CPU
		ends   map[string]*Endpoint
		faults Faults
		slow   map[string]time.Duration // by host
		tick   time.Time                // the time that equal counts for
		equal  map[uint64]uint64        // messages of this tick by hash
		closed bool
	}
}

// New starts a network's delivery loop; in a bubble it belongs to the bubble.
func New(o Options) *Network {
	if o.Silence == 0 {
		o.Silence = 4 * time.Second
	}
	n := &Network{opts: o, wake: make(chan struct{}, 1)}
	n.mu.nodes = map[string]*Node{}
	n.mu.cuts = map[[2]string]bool{}
	n.mu.deaf = map[string][]rpc.Verb{}
	n.mu.stalls = map[string]time.Time{}
	n.mu.ends = map[string]*Endpoint{}
	n.mu.equal = map[uint64]uint64{}
	n.mu.slow = map[string]time.Duration{}
	n.mu.faults = o.Faults
	n.wg.Go(n.run)
	return n
}

// Close ends the loop and waits for it. Nodes must be closed before; what is under way is dropped.
func (n *Network) Close() {
	n.mu.Lock()
	n.mu.closed = true
	n.mu.Unlock()
	n.kick()
	n.wg.Wait()
}

// SetFaults changes what befalls messages sent from now on.
func (n *Network) SetFaults(f Faults) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.faults = f
}

// Cut loses what is sent from one address to another, and what is under way; the other direction stays as it is. A cut
// is between hosts: it doesn't look at ports, so that RPC and gossip of two nodes are cut alike.
func (n *Network) Cut(from, to string) { n.setCut(from, to, true) }

// Heal undoes Cut.
func (n *Network) Heal(from, to string) { n.setCut(from, to, false) }

func (n *Network) setCut(from, to string, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.cuts[[2]string{hostOf(from), hostOf(to)}] = cut
}

// Deafen loses what is sent to a host in some verbs: their requests, and the replies to those it sent. What is under way is lost, too. No verbs end it.
func (n *Network) Deafen(addr string, verbs ...rpc.Verb) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.deaf[hostOf(addr)] = verbs
}

// Partition cuts both directions between addresses of different groups, and heals those within a group.
func (n *Network) Partition(groups ...[]string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, g := range groups {
		for j, h := range groups {
			for _, a := range g {
				for _, b := range h {
					n.mu.cuts[[2]string{hostOf(a), hostOf(b)}] = i != j
				}
			}
		}
	}
}

// HealAll undoes every cut, and Deafen.
func (n *Network) HealAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.mu.cuts)
	clear(n.mu.deaf)
}

// Slow delays every message from and to a host by up to extra more; 0 ends that.
func (n *Network) Slow(addr string, extra time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.slow[hostOf(addr)] = extra
}

// At runs f from the delivery loop at a time, so that timers of a simulation have a place in its order; key decides
// among events of one instant.
func (n *Network) At(at time.Time, key string, f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.schedule(at, n.count(hashOf(n.opts.Seed, key)), f)
}

// event is something that happens in the loop.
type event struct {
	at  time.Time
	tie uint64
	seq uint64 // for equal ties only: then the events are the same in all they do
	run func()
}

type events []event

func (e events) Len() int      { return len(e) }
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e events) Less(i, j int) bool {
	switch a, b := &e[i], &e[j]; {
	case !a.at.Equal(b.at):
		return a.at.Before(b.at)
	case a.tie != b.tie:
		return a.tie < b.tie
	default:
		return a.seq < b.seq
	}
}
func (e *events) Push(x any) { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	(*e)[last] = event{}
	*e = (*e)[:last]
	return x
}

// schedule adds an event. REQUIRES: mu.
func (n *Network) schedule(at time.Time, tie uint64, run func()) {
	n.mu.seq++
	heap.Push(&n.mu.queue, event{at, tie, n.mu.seq, run})
	n.kick()
}

func (n *Network) kick() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// count makes the hashes of equal messages of one instant differ. REQUIRES: mu.
func (n *Network) count(h uint64) uint64 {
	if now := time.Now(); !now.Equal(n.mu.tick) {
		n.mu.tick = now
		clear(n.mu.equal)
	}
	h = mix(h, uint64(n.mu.tick.UnixNano()))
	occurrence := n.mu.equal[h]
	n.mu.equal[h]++
	return mix(h, occurrence)
}

// run is the delivery loop.
func (n *Network) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if n.opts.Settle != nil {
			n.opts.Settle()
		}
		f, wait, ok := n.next()
		switch {
		case !ok:
			return
		case f != nil:
			f()
			continue
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-n.wake:
		}
	}
}

// next takes the event that is due, or tells how long to wait; false: closed.
func (n *Network) next() (run func(), wait time.Duration, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.closed {
		return nil, 0, false
	}
	if len(n.mu.queue) == 0 {
		return nil, time.Hour, true
	}
	if wait := time.Until(n.mu.queue[0].at); wait > 0 {
		return nil, wait, true
	}
	return heap.Pop(&n.mu.queue).(event).run, 0, true
}
