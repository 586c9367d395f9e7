package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// maxSystemBytes bounds one PutSystem.
const maxSystemBytes = maxApplyBytes

// Pair is an entry of the system key space.
type Pair struct {
	Key   string
	Value []byte // nil deletes
}

// GetSystem reads an entry of the system key space (metadata log, Paxos, identity); nil, nil when absent. The result is
// the caller's.
func (e *Engine) GetSystem(key string) ([]byte, error) {
	if err := e.enter(); err != nil {
		return nil, err
	}
	defer e.leave()
	for {
		before := e.doubt.glance(&e.doubt.system)
		value, err := e.getSystem(key)
		if err != nil || before.sawAll(&e.doubt) {
			return value, err
		}
		if err := e.awaitPublished(context.Background()); err != nil {
			return nil, err
		}
	}
}

func (e *Engine) getSystem(key string) ([]byte, error) {
	value, closer, err := e.db.Get(appendSystemKey(nil, spaceSystem, key))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, e.readError("read the system entry "+key, err)
	}
	return append([]byte{}, value...), closer.Close()
}

// PutSystem writes entries atomically and returns when they are synced, whatever the mode. A full disk does not refuse
// it: it is little, and what it carries (votes, identity) is what gets a node out of trouble. It must not be called
// from a done of Apply.
func (e *Engine) PutSystem(pairs ...Pair) error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.leave()
	size := 0
	for i := range pairs {
		size += len(pairs[i].Key) + len(pairs[i].Value)
	}
	if size > maxSystemBytes {
		return fmt.Errorf("%w: system entries of %d bytes, at most %d are allowed", ErrTooLarge, size, maxSystemBytes)
	}
	b := e.db.NewBatch()
	for i := range pairs {
		key := appendSystemKey(nil, spaceSystem, pairs[i].Key)
		if pairs[i].Value == nil {
			_ = b.Delete(key, nil) // batches that are not indexed take anything
		} else {
			_ = b.Set(key, pairs[i].Value, nil)
		}
	}
	e.doubt.system.Add(1)
	err := e.db.ApplyNoSyncWait(b, pebble.Sync)
	e.doubt.system.Add(doubtAge - 1)
	if err == nil {
		err = b.SyncWait()
	}
	if err = e.verdict(err); err != nil {
		return err
	}
	e.witnessSync()
	return b.Close()
}

// ApplySystem writes entries atomically and calls done as Apply does, when they are as durable as the mode promises: for entries that come with each request
// (the batch log). A full disk refuses them, unless they only delete.
//
// Errors: as Apply's.
func (e *Engine) ApplySystem(pairs []Pair, done func(error)) {
	if err := e.enter(); err != nil {
		done(err)
		return
	}
	w := writes.Get().(*write)
	w.tables = e.tables.Load()
	if err := e.encodeSystem(w, pairs); err != nil {
		e.counts.refused.Add(1)
		w.drop()
		e.leave()
		done(err)
		return
	}
	e.commit(w, nil, done)
}

// encodeSystem makes a batch of system entries.
func (e *Engine) encodeSystem(w *write, pairs []Pair) error {
	w.batch = e.db.NewBatch()
	for i := range pairs {
		key := appendSystemKey(nil, spaceSystem, pairs[i].Key)
		if pairs[i].Value == nil {
			_ = w.batch.Delete(key, nil) // batches that are not indexed take anything
			continue
		}
		if err := e.space.admit(); err != nil {
			return err
		}
		_ = w.batch.Set(key, pairs[i].Value, nil)
	}
	if w.size() > maxSystemBytes {
		return fmt.Errorf("%w: system entries of %d bytes, at most %d are allowed", ErrTooLarge, w.size(), maxSystemBytes)
	}
	e.space.wrote(w.size())
	return nil
}

// ScanSystem calls f for the entries with a prefix, in key order, until it returns false. value is valid until f
// returns.
func (e *Engine) ScanSystem(prefix string, f func(key string, value []byte) bool) error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.leave()
	return e.scanSpace(spaceSystem, prefix, f)
}

// scanSpace walks over one space of the system key space.
func (e *Engine) scanSpace(space byte, prefix string, f func(name string, value []byte) bool) error {
	lower := appendSystemKey(nil, space, prefix)
	it, err := e.systemIterator(&pebble.IterOptions{LowerBound: lower, UpperBound: appendSystemKey(nil, space+1, "")})
	if err != nil {
		return e.readError("scan system entries", err)
	}
	for ok := it.First(); ok && bytes.HasPrefix(it.Key(), lower); ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			break // it.Error has it too
		}
		if !f(string(it.Key()[storageBytes+1:]), value) {
			break
		}
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return e.readError("scan system entries", err)
	}
	return nil
}

// systemIterator stands for what was visible when it was made.
func (e *Engine) systemIterator(o *pebble.IterOptions) (*pebble.Iterator, error) {
	for {
		before := e.doubt.glance(&e.doubt.system)
		it, err := e.db.NewIter(o)
		if err != nil || before.sawAll(&e.doubt) {
			return it, err
		}
		if err := errors.Join(it.Close(), e.awaitPublished(context.Background())); err != nil {
			return nil, err
		}
	}
}
