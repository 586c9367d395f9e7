package e2e

import (
	"bytes"
	"fmt"
	"testing"

	"nodedb/coordinator/consistency"
	"nodedb/query/types"
	"nodedb/query/wire"
)

// TestPagingWhileANodeDies pages through a table, 100 rows at a time, on node 1; half-way node 2 is killed, and node 3 goes on with node 1's page
// states, back and forth. No row is missing or there twice, and no page fails.
func TestPagingWhileANodeDies(t *testing.T) {
	t.Parallel()
	const rows, size = 20_000, 100
	c := startCluster(t, 3)
	exec1(t, dial(t, c.Nodes[0]), "CREATE KEYSPACE p"+simpleRF3, "CREATE TABLE p.t (p int, c int, PRIMARY KEY (p, c))")
	var csv bytes.Buffer
	csv.WriteString("p,c\n")
	for i := range rows {
		fmt.Fprintf(&csv, "%d,%d\n", i%37, i)
	}
	loadRows(t, c.Nodes[0], "p.t", csv.String())
	first, third := dial(t, c.Nodes[0]), dial(t, c.Nodes[2])
	seen := make([]bool, rows)
	count := 0
	params := wire.Params{Consistency: uint16(consistency.Quorum), PageSize: size}
	for page := 0; page == 0 || params.PageState != nil; page++ {
		if page > rows/size+40 {
			t.Fatalf("page %d, and no end", page)
		}
		client := first
		if page == rows/size/2 {
			kill(t, c.Nodes[1])
		}
		if page >= rows/size/2 && page%2 == 0 {
			client = third
		}
		res, err := client.Query(deadline(t, wait), "SELECT p, c FROM p.t", &params)
		if err != nil {
			t.Fatalf("page %d: %v", page, err)
		}
		for n := 0; res.Next(); n++ {
			row := res.Row()
			p, c := int32Of(t, row[0]), int32Of(t, row[1])
			if n == size || c < 0 || c >= rows || p != c%37 || seen[c] {
				t.Fatalf("page %d, row %d: (%d, %d) is wrong or there twice", page, n, p, c)
			}
			seen[c] = true
			count++
		}
		params.PageState = bytes.Clone(res.PageState)
		if len(params.PageState) == 0 {
			params.PageState = nil
		}
	}
	if count != rows {
		t.Errorf("%d rows, want %d", count, rows)
	}
}

func int32Of(t *testing.T, value []byte) int {
	t.Helper()
	var n int
	if _, err := fmt.Sscan(string(types.IntType.AppendText(nil, value)), &n); err != nil {
		t.Fatal(err)
	}
	return n
}
