package replica

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"nodedb/coordinator"
	"nodedb/coordinator/consistency"
	"nodedb/node/row"
	"nodedb/node/storage"
	"nodedb/node/trace"
	"nodedb/vnodes"
)

// traceOf runs a request with a trace and gives its steps: "address activity".
func (m *testNode) traceOf(run func(id trace.ID, done func(error))) (steps []string, err error) {
	id := trace.ID{byte(len(m.traces.Sessions()) + 1)}
	ended := make(chan error, 1)
	run(id, func(err error) { ended <- err })
	err = <-ended
	for _, s := range m.traces.Sessions() {
		if s.ID == id {
			for _, e := range s.Events {
				steps = append(steps, e.Source.Addr().String()+" "+e.Activity)
			}
		}
	}
	return steps, err
}

func (m *testNode) tracedWrite(level consistency.Level, mut row.Mutation) ([]string, error) {
	return m.traceOf(func(id trace.ID, done func(error)) {
		m.coordinator.Write(context.Background(), &coordinator.WriteRequest{Level: level, Kind: coordinator.WriteSimple, Trace: id,
			Writes: []coordinator.Write{{Table: m.c.table, Mutation: mut}}}, done)
	})
}

func (m *testNode) tracedRead(level consistency.Level, k string) ([]string, error) {
	spec := storage.ReadSpec{Storage: testStorage, Key: []byte(k), Token: vnodes.PartitionToken([]byte(k)), Now: 1}
	return m.traceOf(func(id trace.ID, done func(error)) {
		m.coordinator.Read(context.Background(), &coordinator.ReadRequest{Level: level, Table: m.c.table, Spec: spec, Trace: id},
			func(_ []byte, err error) { done(err) })
	})
}

// wantSteps checks that steps with these parts are there, in this order.
func wantSteps(t *testing.T, steps []string, parts ...string) {
	t.Helper()
	rest := steps
	for _, p := range parts {
		i := slices.IndexFunc(rest, func(s string) bool { return strings.Contains(s, p) })
		if i < 0 {
			t.Errorf("no %q where it belongs in\n%s", p, strings.Join(steps, "\n"))
			return
		}
		rest = rest[i+1:]
	}
}

// TestTrace: hints, a mismatch and its repair, a slow replica and a failure stand in the trace of the request, with what replicas did.
func TestTrace(t *testing.T) {
	bubble(t, 3, 3, func(t *testing.T, c *testCluster) {
		c.kill(2)
		steps, err := c.nodes[0].tracedWrite(consistency.Quorum, mutation("k", 1, "a", 10))
		if err != nil {
			t.Fatal(err)
		}
		wantSteps(t, steps, "10.0.0.1 Leaving 1 hint(s) for /10.0.0.3")
		wantSteps(t, steps, "10.0.0.1 Sending WRITE of 1 mutation(s) to /10.0.0.2", "10.0.0.2 WRITE message received from /10.0.0.1",
			"10.0.0.2 Applied 1 mutation(s)", "10.0.0.1 WRITE answered by /10.0.0.2 after 1ms", "10.0.0.1 The write is answered")
		if _, err := c.nodes[0].tracedRead(consistency.All, "k"); err == nil {
			t.Error("ALL with a dead replica")
		}

		c.revive()
		// Who gives the data is not said: one read in 64 asks in random order.
		if steps, err = c.nodes[0].tracedRead(consistency.All, "k"); err != nil {
			t.Fatal(err)
		}
		wantSteps(t, steps, "digests of the others: /10.0.0.", "Sending READ of DIGEST to /10.0.0.", "10.0.0.3 READ message received from /10.0.0.1",
			"10.0.0.3 Read 0 row(s)", "The digests differ", "Sending READ of DATA to /10.0.0.3", "Sending REPAIR of 1 mutation(s) to /10.0.0.3",
			"10.0.0.3 WRITE message received", "10.0.0.3 Applied 1 mutation(s)", "REPAIR answered by /10.0.0.3", "The read is answered")

		c.nodes[2].store.fail = storage.ErrDiskFull
		if steps, err = c.nodes[0].tracedWrite(consistency.All, mutation("k", 2, "b", 11)); err == nil {
			t.Error("ALL with a replica that fails")
		}
		wantSteps(t, steps, "WRITE failed on /10.0.0.3 after 1ms", "The write failed: ")
	})
}

// TestTraceSpeculation: a slow replica is overtaken, and the trace says so.
func TestTraceSpeculation(t *testing.T) {
	bubble(t, 4, 3, func(t *testing.T, c *testCluster) {
		owners, _, _ := c.nodes[0].view.Placement("ks")
		outside := slices.IndexFunc(c.nodes, func(m *testNode) bool {
			return !owners.Replicas(vnodes.PartitionToken([]byte("k"))).Contains(m.id)
		})
		m := c.nodes[outside]
		c.mu.Lock()
		slow := true
		c.mu.wait = func(int) time.Duration {
			if slow {
				slow = false
				return time.Second
			}
			return time.Millisecond
		}
		c.mu.Unlock()
		steps, err := m.tracedRead(consistency.One, "k")
		if err != nil {
			t.Fatal(err)
		}
		wantSteps(t, steps, "Sending READ of DATA", "speculative retry", "Sending READ of DATA", "DATA answered by", "The read is answered")
	})
}
