package storage

import (
	"errors"
	"slices"
	"testing"

	"nodedb/node/disk"
	"nodedb/node/fault"
)

// What fails between a write's sync and its acknowledgement is unknown to the caller, and durable.
func TestFaultBeforeAck(t *testing.T) {
	fs := disk.Crashable()
	e := openTest(t, fs)
	lost := errors.New("the answer is lost")
	disable, err := fault.Enable("storage/before-ack", func() error { return lost })
	check(t, err)
	if err := applyErr(e, insert(testTable, "k", "a", 1, "v")); !errors.Is(err, lost) {
		t.Errorf("Apply gave %v", err)
	}
	disable()
	check(t, e.Close())
	e = openTest(t, fs)
	if got := values(readAll(t, e, partition(testTable, "k"))); !slices.Equal(got, []string{"k/a=v"}) {
		t.Errorf("after a restart: %q", got)
	}
	check(t, e.Close())
}

// A flush that can't make its table is Pebble's to repeat: nothing is lost, and the engine goes on.
func TestFaultAtANewTable(t *testing.T) {
	e := openTest(t, disk.Crashable())
	apply(t, e, insert(testTable, "k", "a", 1, "v"))
	failures := 0
	disable, err := fault.Enable("storage/new-table", func() error {
		if failures++; failures > 2 {
			return nil
		}
		return errors.New("no more files")
	})
	check(t, err)
	defer disable()
	check(t, e.db.Flush())
	if failures < 3 {
		t.Errorf("%d tables were begun", failures)
	}
	apply(t, e, insert(testTable, "k", "b", 1, "v"))
	if got := values(readAll(t, e, partition(testTable, "k"))); len(got) != 2 {
		t.Errorf("got %q", got)
	}
	check(t, e.Close())
}
