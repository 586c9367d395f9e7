package metalog

import (
	"testing"

	"nodedb/query/schema"
	"nodedb/vnodes"
)

// The same entry on the same state: refused where the ring is built, accepted where it is not (as in load's replay after a topology entry).
func TestMayReplicateIsDeterministic(t *testing.T) {
	var nodes []vnodes.Node
	for i := range 3 {
		nodes = append(nodes, vnodes.Node{ID: vnodes.HostID{byte(i + 1)}, Address: string(rune('a' + i)), DC: "d", Rack: "r", Weight: 1, Tokens: []vnodes.Token{vnodes.Token(i * 1000)}})
	}
	s, _, err := Apply(nil, &Entry{Kind: EntryFound, ID: [16]byte{1}, Found: &Founding{ClusterID: [16]byte{9}, Name: "n", Nodes: nodes}})
	if err != nil {
		t.Fatal(err)
	}
	n := byte(2)
	do := func(s *State, ch *schema.Change) (*State, error) {
		n++
		next, _, err := Apply(s, &Entry{Kind: EntrySchema, ID: [16]byte{n}, Change: ch.Append(nil)})
		return next, err
	}
	rf := func(op schema.Op, f string) *schema.Change {
		return &schema.Change{Op: op, Keyspace: "ks", Class: "SimpleStrategy", Replication: map[string]string{"replication_factor": f}}
	}
	if s, err = do(s, rf(schema.CreateKeyspace, "1")); err != nil {
		t.Fatal(err)
	}
	if s, err = do(s, &schema.Change{Op: schema.CreateTable, Keyspace: "ks", Name: "t", ID: [16]byte{1}, Columns: []schema.ColumnDef{{Name: "k", Type: "int", Kind: schema.PartitionKey}}}); err != nil {
		t.Fatal(err)
	}
	bare := *s
	bare.Ring = nil
	built := bare
	_, live := do(built.withRing(), rf(schema.AlterKeyspace, "3"))
	n--
	_, replayed := do(&bare, rf(schema.AlterKeyspace, "3"))
	if (live == nil) != (replayed == nil) {
		t.Errorf("live: %v; replayed: %v", live, replayed)
	}
}
