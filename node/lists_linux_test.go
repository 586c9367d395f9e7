package node

import (
	"encoding/binary"
	"testing"

	"nodedb/coordinator/consistency"
	"nodedb/node/row"
	"nodedb/query"
	"nodedb/query/exec"
	"nodedb/vnodes"
)

// The index of a list's element counts what all replicas that are read hold together: here each of two has an element that the others lack.
func TestAListIsReadFromItsReplicas(t *testing.T) {
	nodes := startThree(t)
	session := &query.Session{}
	run := func(n *Node, text string, level consistency.Level) (*query.Result, error) {
		return n.Engine().Query(t.Context(), session, text, &query.Params{Level: level, Serial: consistency.Serial, Timestamp: exec.NoTimestamp})
	}
	for _, text := range []string{
		"CREATE KEYSPACE ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 3}",
		"CREATE TABLE ks.t (k int PRIMARY KEY, l list<int>)",
	} {
		if _, err := run(nodes[0], text, consistency.Quorum); err != nil {
			t.Fatal(err)
		}
	}
	table, _ := nodes[0].cluster.View().Catalog.Table("ks", "t")
	key := []byte{0, 0, 0, 1}
	for i, n := range nodes[:2] {
		var b row.Builder
		path := binary.BigEndian.AppendUint64(nil, uint64(i)|1<<63)
		b.Add(row.Cell{Column: table.Regulars[0].ID, Kind: row.Live, Timestamp: 1, Path: append(path, make([]byte, 8)...), Value: []byte{0, 0, 0, byte(i)}})
		if err := n.applyWait([]row.Mutation{{Storage: table.Storage, Token: vnodes.PartitionToken(key), Key: key, Rows: []row.Entry{{Fragment: b.Append(nil)}}}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := run(nodes[2], "UPDATE ks.t SET l[1] = 11 WHERE k = 1", consistency.All); err != nil {
		t.Fatal(err)
	}
	if _, err := run(nodes[0], "DELETE l[0] FROM ks.t WHERE k = 1", consistency.Quorum); err != nil {
		t.Fatal(err)
	}
	res, err := run(nodes[1], "SELECT l FROM ks.t WHERE k = 1", consistency.Quorum)
	if err != nil || res.RowCount != 1 {
		t.Fatalf("%+v, %v", res, err)
	}
	if got := string(res.Columns[0].Type.AppendText(nil, res.Rows[4:])); got != "[11]" {
		t.Errorf("the list is %s, want [11]", got)
	}
}
