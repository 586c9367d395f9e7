package node

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"

	"nodedb/node/config"
	"nodedb/node/row"
	"nodedb/query/schema"
	"nodedb/vnodes"
)

// startThree starts three founders in this process, on addresses of their own.
func startThree(t *testing.T) (nodes [3]*Node) {
	t.Helper()
	prefix := fmt.Sprintf("127.233.%d", 1+os.Getpid()%250)
	var all sync.WaitGroup
	for i := range nodes {
		c := config.Default()
		c.Listen, c.Data, c.Join = fmt.Sprintf("%s.%d", prefix, i+1), t.TempDir(), []string{prefix + ".1", prefix + ".2", prefix + ".3"}
		all.Go(func() {
			n, err := Start(t.Context(), Options{
				Config: c, Logger: slog.New(slog.DiscardHandler), Progress: func(string) {}, Fatal: func(err error) { t.Errorf("a node stopped: %v", err) },
			})
			if err != nil {
				t.Error(err)
				return
			}
			nodes[i] = n
		})
	}
	all.Wait()
	t.Cleanup(func() {
		for _, n := range nodes {
			if n != nil {
				if err := n.Close(context.Background()); err != nil {
					t.Error(err)
				}
			}
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	return nodes
}

// Each acknowledged row of a memory table is on a quorum, but not every replica has every row: who refills it has to ask a quorum of the others.
func TestAMemoryTableIsRefilledFromAQuorum(t *testing.T) {
	nodes := startThree(t)
	for _, ch := range []*schema.Change{
		{Op: schema.CreateKeyspace, Keyspace: "k", Class: "SimpleStrategy", Replication: map[string]string{"replication_factor": "3"}},
		{Op: schema.CreateTable, Keyspace: "k", Name: "t", ID: [16]byte{1}, Options: map[string]string{"memory": "true"}, Columns: []schema.ColumnDef{
			{Name: "k", Type: "int", Kind: schema.PartitionKey}, {Name: "v", Type: "text", Kind: schema.Regular, Position: -1},
		}},
	} {
		if _, _, err := nodes[0].cluster.ChangeSchema(t.Context(), ch); err != nil {
			t.Fatal(err)
		}
	}
	table, _ := nodes[0].cluster.View().Catalog.Table("k", "t")
	for i, n := range nodes[:2] { // a row on each of the two others alone
		var b row.Builder
		b.Add(row.Cell{Column: row.Marker, Timestamp: 1})
		key := []byte{0, 0, 0, byte(i)}
		if err := n.applyWait([]row.Mutation{{Storage: table.Storage, Token: vnodes.PartitionToken(key), Key: key, Rows: []row.Entry{{Fragment: b.Append(nil)}}}}); err != nil {
			t.Fatal(err)
		}
	}
	last := nodes[2]
	last.pending.set(table.Storage, true)
	if err := last.refillTable(t.Context(), table, &refilled{ranges: map[vnodes.Range]bool{}}); err != nil {
		t.Fatal(err)
	}
	if sum, err := last.Checksum(t.Context(), "k", "t"); err != nil || sum.Rows != 2 {
		t.Errorf("refilled with %d rows, %v; want 2", sum.Rows, err)
	}
}
