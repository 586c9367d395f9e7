package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/hashicorp/memberlist"

	"nodedb/vnodes"
)

// news is what a node tells of itself. It travels as a broadcast (one) and in exchanges of whole states (all),
// little-endian:
//
//	| version u8 = 1 | entry … |
//
//	entry   0            16        24          32         40          42
//	        | host id    | seq u64 | epoch u64 | load u64 | n u16     | n bytes for later versions |
//
// Of two entries of one node the larger seq is the newer. A node that hears of itself with a seq that it has not
// reached (its wall clock went back across a restart) goes on above it.
type news struct {
	id    vnodes.HostID
	seq   uint64
	epoch uint64
	load  uint64 // bytes
	extra []byte
}

const (
	newsVersion = 1
	entrySize   = 42
	// maxExtra bounds what a later version may add, so that news fits into a packet.
	maxExtra = 512
)

var errNews = errors.New("gossip: malformed news")

func appendEntry(dst []byte, n *news) []byte {
	dst = append(dst, n.id[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, n.seq)
	dst = binary.LittleEndian.AppendUint64(dst, n.epoch)
	dst = binary.LittleEndian.AppendUint64(dst, n.load)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(n.extra)))
	return append(dst, n.extra...)
}

// decodeNews calls f for each entry; f may keep it.
func decodeNews(b []byte, f func(news)) error {
	if len(b) == 0 || b[0] != newsVersion {
		return fmt.Errorf("%w: unknown version", errNews)
	}
	for b = b[1:]; len(b) > 0; {
		if len(b) < entrySize {
			return fmt.Errorf("%w: %d bytes of an entry of %d", errNews, len(b), entrySize)
		}
		n := news{id: vnodes.HostID(b[:16]), seq: binary.LittleEndian.Uint64(b[16:]), epoch: binary.LittleEndian.Uint64(b[24:]),
			load: binary.LittleEndian.Uint64(b[32:])}
		size := int(binary.LittleEndian.Uint16(b[40:]))
		b = b[entrySize:]
		if size > maxExtra || size > len(b) {
			return fmt.Errorf("%w: %d bytes more than version 1 has, at most %d are allowed", errNews, size, maxExtra)
		}
		if size > 0 {
			n.extra = append([]byte(nil), b[:size]...)
		}
		b = b[size:]
		f(n)
	}
	return nil
}

// newsroom keeps the newest news of every known node and spreads it. It is memberlist's Delegate.
type newsroom struct {
	view  *view
	queue memberlist.TransmitLimitedQueue
	mu    struct {
		sync.Mutex
		self   news
		others map[vnodes.HostID]news
	}
}

// retransmitMult × log10(nodes+1), rounded up, is how often a node passes on a piece of news, of its own or of memberlist.
// With memberlist's 4, each word reaches a given one of 8 nodes by none of 32 packets once in 140 times: a node that heard
// the suspicion and not the objection to it buried a healthy one. With 10 that is once in 200,000.
const retransmitMult = 10

func newNewsroom(self vnodes.HostID, generation uint64, v *view, size func() int) *newsroom {
	r := &newsroom{view: v}
	r.queue = memberlist.TransmitLimitedQueue{NumNodes: size, RetransmitMult: retransmitMult}
	r.mu.self = news{id: self, seq: generation}
	r.mu.others = map[vnodes.HostID]news{}
	return r
}

// update changes what we say of ourselves; spread: at once.
func (r *newsroom) update(f func(*news), spread bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.mu.self)
	r.mu.self.seq++
	if spread {
		r.send(&r.mu.self)
	}
}

// send queues a broadcast in place of older news of the same node. REQUIRES: mu.
func (r *newsroom) send(n *news) {
	r.queue.QueueBroadcast(&bulletin{n.id.String(), appendEntry([]byte{newsVersion}, n)})
}

// of gives the newest news of a node.
func (r *newsroom) of(id vnodes.HostID) (news, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if id == r.mu.self.id {
		return r.mu.self, true
	}
	n, ok := r.mu.others[id]
	return n, ok
}

// hear takes an entry; what is new to us is passed on.
func (r *newsroom) hear(n news) {
	if n.id != r.mu.self.id && !r.view.known(n.id) {
		return
	}
	r.mu.Lock()
	switch old := r.mu.others[n.id]; {
	case n.id == r.mu.self.id:
		if n.seq > r.mu.self.seq {
			r.mu.self.seq = n.seq + 1
			r.send(&r.mu.self)
		}
		r.mu.Unlock()
		return
	case n.seq <= old.seq:
		r.mu.Unlock()
		return
	}
	r.mu.others[n.id] = n
	r.send(&n)
	r.mu.Unlock()
	r.view.change(n.id, func(x *fact) bool {
		changed := x.epoch != n.epoch
		x.epoch = n.epoch
		return changed
	})
}

// forget drops the news of nodes that view has forgotten.
func (r *newsroom) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.mu.others {
		if !r.view.known(id) {
			delete(r.mu.others, id)
		}
	}
}

// NodeMeta implements memberlist.Delegate: none, since it could change only with an incarnation.
func (r *newsroom) NodeMeta(int) []byte { return nil }

// NotifyMsg implements memberlist.Delegate.
func (r *newsroom) NotifyMsg(b []byte) { r.receive(b) }

// GetBroadcasts implements memberlist.Delegate.
func (r *newsroom) GetBroadcasts(overhead, limit int) [][]byte {
	return r.queue.GetBroadcasts(overhead, limit)
}

// LocalState implements memberlist.Delegate.
func (r *newsroom) LocalState(bool) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := make([]byte, 1, 1+entrySize*(1+len(r.mu.others)))
	b[0] = newsVersion
	b = appendEntry(b, &r.mu.self)
	for _, id := range slices.SortedFunc(maps.Keys(r.mu.others), compareIDs) {
		n := r.mu.others[id]
		b = appendEntry(b, &n)
	}
	return b
}

// MergeRemoteState implements memberlist.Delegate.
func (r *newsroom) MergeRemoteState(b []byte, _ bool) { r.receive(b) }

func (r *newsroom) receive(b []byte) {
	if err := decodeNews(b, r.hear); err != nil {
		r.view.logger.Debug("gossip: news not understood", "error", err)
	}
}

// bulletin is a queued broadcast.
type bulletin struct {
	name    string
	message []byte
}

// Name implements memberlist.NamedBroadcast: a bulletin takes the place of the same node's older one.
func (b *bulletin) Name() string { return b.name }

// Invalidates implements memberlist.Broadcast.
func (b *bulletin) Invalidates(other memberlist.Broadcast) bool {
	o, ok := other.(*bulletin)
	return ok && o.name == b.name
}

// Message implements memberlist.Broadcast.
func (b *bulletin) Message() []byte { return b.message }

// Finished implements memberlist.Broadcast.
func (b *bulletin) Finished() {}
