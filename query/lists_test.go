package query

import (
	"context"
	"errors"
	"strings"
	"testing"

	"nodedb/coordinator"
	"nodedb/coordinator/consistency"
	"nodedb/query/plan"
	"nodedb/query/wire"
)

// listTable is a table o whose row 1 has the list [1, 2, 3].
func listTable(t *testing.T) (*Engine, *oneNode, *Session) {
	e, n, s := smallTable(t)
	must(t, e, s, "CREATE TABLE o (k int PRIMARY KEY, l list<int>)", "INSERT INTO o (k, l) VALUES (1, [1, 2, 3])")
	return e, n, s
}

func listOf(t *testing.T, e *Engine, s *Session) string {
	t.Helper()
	res, err := e.Query(context.Background(), s, "SELECT l FROM o WHERE k = 1", testParams())
	if err != nil || res.RowCount != 1 {
		t.Fatalf("%+v, %v", res, err)
	}
	v, _ := nextBytes(res.Rows)
	return string(res.Columns[0].Type.AppendText(nil, v))
}

// Lists are read at the level that they are written at.
func TestListsAreReadAtTheLevelOfTheWrite(t *testing.T) {
	e, n, s := listTable(t)
	p := testParams()
	p.Level = consistency.Quorum
	if _, err := e.Query(context.Background(), s, "UPDATE o SET l[0] = 9 WHERE k = 1", p); err != nil {
		t.Fatal(err)
	}
	if got := n.lastRead(); got != consistency.Quorum {
		t.Errorf("read at %s", got)
	}
	before := n.reads.Load()
	must(t, e, s, "UPDATE o SET l = l + [4] WHERE k = 1")
	if n.reads.Load() != before {
		t.Error("an append has read")
	}
	p.Level = consistency.Any
	_, err := e.Query(context.Background(), s, "UPDATE o SET l[0] = 10 WHERE k = 1", p)
	if code(t, err) != wire.CodeInvalid || !strings.Contains(err.Error(), "ANY is not supported on reads") {
		t.Error(err)
	}
	if got := listOf(t, e, s); got != "[9, 2, 3, 4]" {
		t.Error(got)
	}
}

// A read that fails ends the statement, and nothing of it is written.
func TestFailedReadOfAList(t *testing.T) {
	e, n, s := listTable(t)
	n.setFailure(&coordinator.Timeout{Level: consistency.One, BlockFor: 1})
	_, err := e.Query(context.Background(), s, "UPDATE o SET l[0] = 9 WHERE k = 1", testParams())
	if code(t, err) != wire.CodeReadTimeout {
		t.Error(err)
	}
	n.setFailure(nil)
	_, err = e.Query(context.Background(), s, "BEGIN BATCH INSERT INTO o (k, l) VALUES (1, [5]); DELETE l[7] FROM o WHERE k = 1; APPLY BATCH", testParams())
	if code(t, err) != wire.CodeInvalid {
		t.Error(err)
	}
	if got := listOf(t, e, s); got != "[1, 2, 3]" {
		t.Error(got)
	}
}

// A door that starts statements without waiting for them runs those that read first.
func TestListsAreNotStarted(t *testing.T) {
	e, _, s := listTable(t)
	p, err := e.Prepare(context.Background(), s, "UPDATE o SET l[?] = ? WHERE k = ?", "")
	if err != nil {
		t.Fatal(err)
	}
	if got := []string{p.Markers[0].Name, p.Markers[1].Name}; got[0] != "idx(l)" || got[1] != "value(l)" || len(p.PartitionKey) != 1 || p.PartitionKey[0] != 2 {
		t.Errorf("%v %v", got, p.PartitionKey)
	}
	params := testParams()
	params.Values = [][]byte{int32Bytes(2), int32Bytes(30), int32Bytes(1)}
	if _, started, err := startOrExecute(e, s, p.ID, params); started || err != nil {
		t.Fatal(started, err)
	}
	if got := listOf(t, e, s); got != "[1, 2, 30]" {
		t.Error(got)
	}
}

// Statements of a batch of the protocol all see the list as it was before it.
func TestListsInABatch(t *testing.T) {
	e, _, s := listTable(t)
	set, err := e.Prepare(context.Background(), s, "UPDATE o SET l[?] = ? WHERE k = 1", "")
	if err != nil {
		t.Fatal(err)
	}
	remove, err := e.Prepare(context.Background(), s, "DELETE l[?] FROM o WHERE k = ?", "")
	if err != nil {
		t.Fatal(err)
	}
	items := []BatchStatement{
		{ID: &remove.ID, Values: [][]byte{int32Bytes(0), int32Bytes(1)}},
		{ID: &set.ID, Values: [][]byte{int32Bytes(1), int32Bytes(20)}},
		{ID: &set.ID, Values: [][]byte{int32Bytes(2), nil}},
	}
	if _, err := e.Batch(context.Background(), s, BatchLogged, items, testParams()); err != nil {
		t.Fatal(err)
	}
	if got := listOf(t, e, s); got != "[20]" {
		t.Error(got)
	}
	items[1].Values[0], items[2].Values[0] = int32Bytes(0), int32Bytes(1)
	_, err = e.Batch(context.Background(), s, BatchLogged, items[1:], testParams())
	if code(t, err) != wire.CodeInvalid || !strings.Contains(err.Error(), "List index 1 out of bound, list has size 1") || !strings.Contains(err.Error(), "in statement 2 of the batch") {
		t.Error(err)
	}
}

func TestListReadsAreBounded(t *testing.T) {
	e, _, s := listTable(t)
	text := "UPDATE o SET " + strings.Repeat("l[0] = 1, ", plan.MaxListReads-1) + "l[1] = 5 WHERE k = 1"
	must(t, e, s, text)
	if got := listOf(t, e, s); got != "[1, 5, 3]" {
		t.Error(got)
	}
	_, err := e.Query(context.Background(), s, strings.Replace(text, "SET ", "SET l[2] = 9, ", 1), testParams())
	var we *wire.Error
	if !errors.As(err, &we) || we.Code != wire.CodeInvalid || !strings.Contains(we.Message, "256 times") {
		t.Error(err)
	}
}
