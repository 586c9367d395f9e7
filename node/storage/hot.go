package storage

import (
	"errors"
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"nodedb/node/fault"
)

// collapseRead is hit between the read and the write of a collapse; an error gives the collapse up.
var collapseRead = fault.New("storage/collapse-read")

const (
	// hotWrites bounds a key's chain of merge operands: after so many writes its content is put as one value.
	hotWrites = 16
	// hotSlots is the number of keys that are counted at once, 8 bytes each. A key is missed only while its slot sees
	// more writes of others than of it, so what is missed has few operands between two flushes.
	hotSlots = 1 << 14
	// stripeCount is the number of locks that keys share.
	stripeCount = 256
	slotCount   = 0xFF // the bits of a slot that count
)

// hotKeys counts writes a key and orders plain writers with those who rewrite a key's content (invariant 3 of Engine).
type hotKeys struct {
	slots   [hotSlots]atomic.Uint64 // | key hash, upper 56 bits | writes, 8 bits |
	stripes [stripeCount]sync.RWMutex
}

// hotKey is a key whose chain has to be shortened.
type hotKey struct {
	hash uint64
	slot uint16 // the partition's, in inDoubt
	key  []byte
}

// count counts one write and reports whether it is the key's hotWrites-th. Slots are shared by majority vote (Boyer and
// Moore): a write of another key takes one away, and the slot changes hands at zero. Lost updates between two
// goroutines only delay a collapse.
func (h *hotKeys) count(hash uint64) bool {
	slot := &h.slots[(hash>>8)%hotSlots]
	v, tag := slot.Load(), hash&^slotCount
	n := v & slotCount
	switch {
	case v&^slotCount != tag && n > 1:
		slot.Store(v - 1)
	case v&^slotCount != tag:
		slot.Store(tag | 1)
	case n+1 < hotWrites:
		slot.Store(v + 1)
	default:
		slot.Store(tag)
		return true
	}
	return false
}

// stripeSet is the stripes of a batch's keys.
type stripeSet [stripeCount / 64]uint64

func (s *stripeSet) add(hash uint64) { s[hash%stripeCount/64] |= 1 << (hash % 64) }

// lockShared takes the stripes in ascending order: two batches and two collapses could wait for each other in a circle
// otherwise.
func (h *hotKeys) lockShared(s *stripeSet) {
	for i, word := range s {
		for ; word != 0; word &= word - 1 {
			h.stripes[i*64+bits.TrailingZeros64(word)].RLock()
		}
	}
}

func (h *hotKeys) unlockShared(s *stripeSet) {
	for i, word := range s {
		for ; word != 0; word &= word - 1 {
			h.stripes[i*64+bits.TrailingZeros64(word)].RUnlock()
		}
	}
}

// lockAll waits for every writer and keeps all out.
func (h *hotKeys) lockAll() (unlock func()) {
	for i := range h.stripes {
		h.stripes[i].Lock()
	}
	return func() {
		for i := range h.stripes {
			h.stripes[i].Unlock()
		}
	}
}

// collapse puts the merge of what lies under a key as one value. The content stays what it was, so a crash that loses
// it loses nothing, and nobody waits for its sync.
func (e *Engine) collapse(k *hotKey) {
	stripe := &e.hot.stripes[k.hash%stripeCount]
	if !fault.Planted("storage/collapse-without-lock") {
		stripe.Lock()
		defer stripe.Unlock()
	}
	value, closer, err := e.db.Get(k.key)
	if errors.Is(err, pebble.ErrNotFound) {
		return // its table was dropped, or its range, since
	}
	if err != nil {
		err = e.readError(fmt.Sprintf("read the hot key %v", keyFormatter(k.key)), err)
		e.logger.Error("storage: a hot key keeps its chain", "err", err)
		return
	}
	b := e.db.NewBatch()
	_ = b.Set(k.key, value, nil) // fails only for indexed batches
	if err = errors.Join(collapseRead.Hit(), closer.Close()); err == nil {
		slots := []uint16{k.slot}
		e.doubt.begin(slots, nil)
		err = e.db.Apply(b, pebble.NoSync)
		e.doubt.end(slots)
	}
	if err = errors.Join(err, b.Close()); err != nil {
		e.logger.Error("storage: a hot key keeps its chain", "err", err)
		return
	}
	e.counts.collapses.Add(1)
}
