package replica

import (
	"context"
	"errors"
	"slices"
	"testing"

	"nodedb/coordinator"
	"nodedb/coordinator/consistency"
	"nodedb/node/row"
	"nodedb/node/rpc"
	"nodedb/node/storage"
	"nodedb/vnodes"
)

// A replica that was restarted has lost a memory table's rows: it takes writes and answers no read, not even its own coordinator's, until they are
// back; what it lacks would be answered as absent.
func TestAPendingReplicaAnswersNoReads(t *testing.T) {
	bubble(t, 3, 3, func(t *testing.T, c *testCluster) {
		c.lose(func(_, to, _ int) bool { return to == 1 })
		if err := c.nodes[0].write(consistency.Quorum, mutation("k", 1, "a", 10)); err != nil {
			t.Fatal(err)
		}
		c.revive()
		pending := true
		c.nodes[1].replica.Pending = func(id row.StorageID) bool { return pending && id == testStorage }
		spec := storage.ReadSpec{Storage: testStorage, Key: []byte("k"), Token: vnodes.PartitionToken([]byte("k")), Now: 1}
		_, err := c.nodes[1].replica.read(context.Background(), &coordinator.ReadMessage{Spec: spec, Fence: coordinator.Fence{Ring: 3}}, nil)
		if re := (*rpc.RemoteError)(nil); !errors.As(err, &re) || re.Code != rpc.CodeNotReady {
			t.Errorf("a pending replica answered a read with %v", err)
		}
		for _, m := range c.nodes {
			if got, err := m.read(consistency.One, "k"); err != nil || !slices.Equal(got, []string{"k/1=a"}) {
				t.Errorf("through node %d ONE reads %v, %v", m.index, got, err)
			}
		}
		if err := c.nodes[0].write(consistency.All, mutation("k", 2, "b", 20)); err != nil {
			t.Errorf("a pending replica takes no write: %v", err)
		}
		pending = false
		if got, err := c.nodes[1].read(consistency.Quorum, "k"); err != nil || !slices.Equal(got, []string{"k/1=a", "k/2=b"}) {
			t.Errorf("once its rows are back, QUORUM reads %v, %v", got, err)
		}
	})
}
