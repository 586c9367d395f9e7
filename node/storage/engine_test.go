package storage

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"nodedb/node/disk"
	"nodedb/node/row"
)

func TestWriteReadReopen(t *testing.T) {
	fs := disk.Crashable()
	e := openTest(t, fs)
	for _, id := range []row.StorageID{testTable, memoryTable} {
		apply(t, e, insert(id, "k", "a", 1, "1"), insert(id, "k", "b", 1, "2"), insert(id, "other", "a", 1, "3"))
		apply(t, e, insert(id, "k", "b", 2, "two"))
		want := []string{"k/a=1", "k/b=two"}
		if got := values(readAll(t, e, partition(id, "k"))); !reflect.DeepEqual(got, want) {
			t.Errorf("table %d: got %q, want %q", id, got, want)
		}
	}
	check(t, e.Close())
	if err := applyErr(e, insert(testTable, "k", "a", 1, "1")); !errors.Is(err, ErrClosed) {
		t.Errorf("Apply after Close gave %v", err)
	}
	spec := partition(testTable, "k")
	if _, err := e.Read(context.Background(), &spec, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Read after Close gave %v", err)
	}
	e = openTest(t, fs)
	defer func() { check(t, e.Close()) }()
	if got := values(readAll(t, e, partition(testTable, "k"))); len(got) != 2 {
		t.Errorf("after reopening: %q", got)
	}
	if got := readAll(t, e, partition(memoryTable, "k")); len(got) != 0 {
		t.Errorf("a memory table kept %q over a restart", got)
	}
}
