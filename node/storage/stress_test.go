package storage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"nodedb/node/disk"
	"nodedb/node/row"
)

// TestEverythingAtOnce runs writers, readers, snapshots, flushes, range deletions and schema changes together. Each
// writer writes batches of two rows with one value in both; a reader must never see one without the other (atomic
// batches, also in memory tables), nor a value older than one it saw.
func TestEverythingAtOnce(t *testing.T) {
	const rounds = 150
	e := openTest(t, disk.Crashable())
	var stop atomic.Bool
	var writers, others sync.WaitGroup
	for _, id := range []row.StorageID{testTable, memoryTable} {
		key := fmt.Sprint("k", id)
		writers.Go(func() {
			for i := range rounds {
				value := fmt.Sprintf("%06d", i)
				m := insert(id, key, "a", int64(i+1), value)
				m.Rows = append(m.Rows, insert(id, key, "b", int64(i+1), value).Rows...)
				if err := applyErr(e, m); err != nil {
					t.Error(err)
				}
			}
		})
		others.Go(func() {
			last := ""
			for !stop.Load() {
				got := values(readAll(t, e, partition(id, key)))
				if len(got) == 0 {
					continue
				}
				if len(got) != 2 || got[0][len(key)+3:] != got[1][len(key)+3:] || got[0] < last {
					t.Errorf("table %d: read %q after %q", id, got, last)
					return
				}
				last = got[0]
			}
		})
	}
	background := []func() error{
		e.db.Flush,
		func() error { return e.DeleteRange(testTable, tokenRangeOf("nobody")) },
		func() error {
			return e.SetTables(map[row.StorageID]TableKind{testTable: OnDisk, memoryTable: InMemory}, 10)
		},
		func() error {
			s := e.NewSnapshot()
			spec := partition(testTable, "k7")
			_, err := s.Read(context.Background(), &spec, nil)
			return errors.Join(err, s.Close())
		},
		func() error { return e.PutSystem(Pair{Key: "x", Value: []byte("y")}) },
	}
	for _, f := range background {
		others.Go(func() {
			for !stop.Load() {
				if err := f(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	stop.Store(true)
	others.Wait()
	for _, id := range []row.StorageID{testTable, memoryTable} {
		if got := values(readAll(t, e, partition(id, fmt.Sprint("k", id)))); len(got) != 2 || !strings.HasSuffix(got[1], fmt.Sprintf("=%06d", rounds-1)) {
			t.Errorf("table %d: %q", id, got)
		}
	}
	check(t, e.Close())
}
