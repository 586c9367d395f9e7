package gossip

import (
	"errors"
	"fmt"
	"log"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/memberlist"

	"nodedb/vnodes"
)

// fact is what is known of another node. The zero fact: nothing.
type fact struct {
	address string
	up      bool
	epoch   uint64
}

// doubting has somebody asked who is said to be dead; number tells one death from the next.
type doubting func(id vnodes.HostID, number uint64, n memberlist.Node)

// view notes what memberlist and the newsroom tell. Its methods never block: memberlist calls them under its lock.
type view struct {
	self   vnodes.HostID
	logger *slog.Logger
	alive  atomic.Pointer[map[vnodes.HostID]struct{}] // others that are up; replaced, never changed
	wake   chan struct{}
	mu     struct {
		sync.Mutex
		facts  map[vnodes.HostID]fact
		dirty  map[vnodes.HostID]struct{} // facts to be told
		doubts map[vnodes.HostID]uint64   // who is up, and said to be dead; the number of the doubt
		number uint64                     // of the last doubt
		doubt  doubting
		warned string // the last address that our id was seen at
		closed bool
	}
}

func (v *view) init(self vnodes.HostID) {
	v.self = self
	v.wake = make(chan struct{}, 1)
	v.alive.Store(&map[vnodes.HostID]struct{}{})
	v.mu.facts = map[vnodes.HostID]fact{}
	v.mu.dirty = map[vnodes.HostID]struct{}{}
	v.mu.doubts = map[vnodes.HostID]uint64{}
}

// change edits the fact of a node; f reports whether there is something to tell.
func (v *view) change(id vnodes.HostID, f func(*fact) bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.mu.closed || id == v.self {
		return
	}
	x := v.mu.facts[id]
	was := x.up
	if !f(&x) {
		return
	}
	v.mu.facts[id] = x
	v.mu.dirty[id] = struct{}{}
	if x.up != was {
		v.publish(id, x.up)
	}
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

// publish replaces the snapshot that Alive reads. REQUIRES: mu.
func (v *view) publish(id vnodes.HostID, up bool) {
	next := maps.Clone(*v.alive.Load())
	if up {
		next[id] = struct{}{}
	} else {
		delete(next, id)
	}
	v.alive.Store(&next)
}

func (v *view) fact(id vnodes.HostID) fact {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.mu.facts[id]
}

// known reports whether a node was ever seen: news of others isn't kept.
func (v *view) known(id vnodes.HostID) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, ok := v.mu.facts[id]
	return ok
}

// takeDirty gives the nodes whose facts are to be told, sorted: a simulation that is run again tells the same.
func (v *view) takeDirty() []vnodes.HostID {
	v.mu.Lock()
	defer v.mu.Unlock()
	ids := make([]vnodes.HostID, 0, len(v.mu.dirty))
	for id := range v.mu.dirty {
		ids = append(ids, id)
	}
	clear(v.mu.dirty)
	slices.SortFunc(ids, compareIDs)
	return ids
}

// up gives the addresses of those that are up, and not said to be dead: those are to be reached, so that they hear of it.
func (v *view) up() map[vnodes.HostID]string {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := map[vnodes.HostID]string{}
	for id, x := range v.mu.facts {
		if _, doubted := v.mu.doubts[id]; x.up && !doubted {
			all[id] = x.address
		}
	}
	return all
}

// forget drops nodes that are down and no members: the map stays as small as the cluster.
func (v *view) forget(members map[vnodes.HostID]string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for id, x := range v.mu.facts {
		if _, member := members[id]; !member && !x.up {
			delete(v.mu.facts, id)
			v.mu.dirty[id] = struct{}{} // so that tell forgets it too
		}
	}
}

func (v *view) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.mu.closed = true
}

// NotifyJoin implements memberlist.EventDelegate.
func (v *view) NotifyJoin(n *memberlist.Node) { v.set(n, true) }

// NotifyLeave implements memberlist.EventDelegate. Who said goodbye is down; who is said to be dead is asked.
func (v *view) NotifyLeave(n *memberlist.Node) {
	id, err := vnodes.ParseHostID(n.Name)
	if err != nil || n.State == memberlist.StateLeft {
		v.set(n, false)
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.mu.closed || v.mu.doubt == nil || id == v.self {
		return
	}
	v.mu.number++
	v.mu.doubts[id] = v.mu.number
	v.mu.doubt(id, v.mu.number, *n)
}

// confirm says how somebody is asked: as soon as there is memberlist to ask.
func (v *view) confirm(doubt doubting) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.mu.doubt = doubt
}

// doubts reports whether a doubt is the present one.
func (v *view) doubts(id vnodes.HostID, number uint64) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.mu.doubts[id] == number
}

// died takes down who did not answer, unless it was heard of meanwhile.
func (v *view) died(id vnodes.HostID, number uint64) {
	v.change(id, func(x *fact) bool {
		if v.mu.doubts[id] != number {
			return false
		}
		delete(v.mu.doubts, id)
		x.up = false
		return true
	})
}

// NotifyUpdate implements memberlist.EventDelegate. Metadata isn't used: news travels by itself.
func (v *view) NotifyUpdate(*memberlist.Node) {}

func (v *view) set(n *memberlist.Node, up bool) {
	id, err := vnodes.ParseHostID(n.Name)
	if err != nil {
		return // NotifyAlive let no such node in
	}
	v.change(id, func(x *fact) bool {
		delete(v.mu.doubts, id)
		x.address, x.up = n.Addr.String(), up
		return true
	})
}

// NotifyAlive implements memberlist.AliveDelegate: who has no host id is no node of ours.
func (v *view) NotifyAlive(n *memberlist.Node) error {
	_, err := vnodes.ParseHostID(n.Name)
	return err
}

var errTwice = errors.New("one host id at two addresses; was a data directory copied?")

// NotifyConflict implements memberlist.ConflictDelegate: memberlist keeps to the address that it knew, and so the other
// isn't heard.
func (v *view) NotifyConflict(existing, other *memberlist.Node) {
	v.mu.Lock()
	where := existing.Address() + " " + other.Address()
	again := v.mu.warned == where
	v.mu.warned = where
	v.mu.Unlock()
	if !again {
		v.logger.Warn("gossip: node not heard", "error", errTwice, "host_id", existing.Name, "known", existing.Address(), "other", other.Address())
	}
}

// debugLogger makes memberlist's log lines debug messages: what matters reaches the log through OnChange.
func debugLogger(to *slog.Logger) *log.Logger {
	return log.New(debugWriter{to}, "", 0)
}

type debugWriter struct{ to *slog.Logger }

func (w debugWriter) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	if level, rest, ok := strings.Cut(text, "] memberlist: "); ok {
		text = fmt.Sprintf("%s (%s)", rest, strings.ToLower(strings.TrimPrefix(level, "[")))
	}
	w.to.Debug("memberlist: " + text)
	return len(line), nil
}
