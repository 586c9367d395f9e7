package replica

import (
	"slices"
	"testing"

	"nodedb/coordinator"
	"nodedb/coordinator/consistency"
	"nodedb/node/rpc"
	"nodedb/node/storage"
	"nodedb/vnodes"
)

// atHand lets all stores answer from memory.
func (c *testCluster) atHand() {
	for _, m := range c.nodes {
		m.store.atHand = true
	}
}

func (m *testNode) readNow(level consistency.Level, k string, trace [16]byte) (rows []string, ok bool) {
	m.c.t.Helper()
	key := []byte(k)
	page, ok := m.coordinator.ReadNow(&coordinator.ReadRequest{Level: level, Table: m.c.table, Trace: trace,
		Spec: storage.ReadSpec{Storage: testStorage, Key: key, Token: vnodes.PartitionToken(key), Now: 1}}, nil)
	if !ok {
		return nil, false
	}
	rows, _, err := rowsOf(m.c.t, page)
	if err != nil {
		m.c.t.Fatal(err)
	}
	return rows, true
}

// TestReadNow: a row in memory is given at once where this replica's answer alone meets the level, and nowhere else.
func TestReadNow(t *testing.T) {
	bubble(t, 3, 3, func(t *testing.T, c *testCluster) {
		if err := c.nodes[0].write(consistency.All, mutation("k", 1, "a", 10)); err != nil {
			t.Fatal(err)
		}
		if _, ok := c.nodes[0].readNow(consistency.One, "k", [16]byte{}); ok {
			t.Error("given though the store has to be asked")
		}
		c.atHand()
		for level, want := range map[consistency.Level]bool{consistency.One: true, consistency.LocalOne: true, consistency.Two: false, consistency.Quorum: false,
			consistency.LocalQuorum: false, consistency.All: false, consistency.Any: false, consistency.EachQuorum: false} {
			rows, ok := c.nodes[0].readNow(level, "k", [16]byte{})
			if ok != want || ok && !slices.Equal(rows, []string{"k/1=a"}) {
				t.Errorf("%s: %v, %q", level, ok, rows)
			}
		}
		if _, ok := c.nodes[0].readNow(consistency.One, "k", [16]byte{1}); ok {
			t.Error("a traced read leaves no trace")
		}
		if s := c.nodes[0].coordinator.Stats(); s.Reads.Load() != 2 || s.Answered.Load() != 3 { // and a write
			t.Errorf("%d reads are counted, %d answered", s.Reads.Load(), s.Answered.Load())
		}
	})
}

// TestReadNowOnlyByAnOwner: a node that holds no copy has nothing to give.
func TestReadNowOnlyByAnOwner(t *testing.T) {
	bubble(t, 3, 1, func(t *testing.T, c *testCluster) {
		c.atHand()
		given := 0
		for _, m := range c.nodes {
			if _, ok := m.readNow(consistency.Quorum, "k", [16]byte{}); ok {
				given++
			}
		}
		if given != 1 {
			t.Errorf("%d of 3 nodes gave a row that one has", given)
		}
	})
}

// TestReadNowUnderANewerRing: a replica that knows a newer ring answers nothing that was asked under the older one.
func TestReadNowUnderANewerRing(t *testing.T) {
	bubble(t, 3, 3, func(t *testing.T, c *testCluster) {
		c.atHand()
		ring := c.nodes[0].View().Ring.Epoch()
		spec := &storage.ReadSpec{Storage: testStorage, Key: []byte("k"), Token: vnodes.PartitionToken([]byte("k")), Now: 1}
		if _, ok := c.nodes[0].replica.ReadNow(ring, spec, nil); !ok {
			t.Error("not given under the ring that is")
		}
		if _, ok := c.nodes[0].replica.ReadNow(ring-1, spec, nil); ok {
			t.Error("given under an older ring")
		}
	})
}

// TestReadsFromMemory: at QUORUM, replicas that have the row in memory answer data and digests from there, and differences are found and repaired as ever.
func TestReadsFromMemory(t *testing.T) {
	bubble(t, 3, 3, func(t *testing.T, c *testCluster) {
		c.lose(func(_, to, verb int) bool { return to == 2 && verb == int(rpc.VerbWrite) })
		if err := c.nodes[0].write(consistency.Quorum, mutation("k", 1, "a", 10)); err != nil {
			t.Fatal(err)
		}
		c.revive()
		c.atHand()
		for _, m := range c.nodes {
			for _, level := range []consistency.Level{consistency.Quorum, consistency.All} {
				got, err := m.read(level, "k")
				if err != nil || !slices.Equal(got, []string{"k/1=a"}) {
					t.Errorf("node %d at %s: %q, %v", m.index, level, got, err)
				}
			}
		}
		for _, m := range c.nodes {
			if m.store.cached == 0 {
				t.Errorf("node %d never answered from memory", m.index)
			}
		}
	})
}
