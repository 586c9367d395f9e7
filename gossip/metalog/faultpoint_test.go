package metalog

import (
	"context"
	"errors"
	"testing"
	"time"

	"nodedb/node/fault"
	"nodedb/node/rpc/simnet"
)

// A vote that isn't stored, or is and isn't told, costs a round and decides nothing twice.
func TestFaultsAroundAVote(t *testing.T) {
	for _, point := range []string{"metalog/before-vote", "metalog/after-vote"} {
		t.Run(point, func(t *testing.T) {
			simulate(t, 3, 1, simnet.Faults{}, func(w *world) {
				for _, m := range w.machines[1:] {
					m.on(1, 2, 3)
				}
				for _, m := range w.machines[1:] {
					if err := m.in(); err != nil {
						t.Fatal(err)
					}
				}
				failures := 0
				disable, err := fault.Enable(point, func() error {
					if failures++; failures > 3 {
						return nil
					}
					return errors.New("the disk hiccups")
				})
				if err != nil {
					t.Fatal(err)
				}
				defer disable()
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				epoch := w.machines[1].log.State().Epoch
				if _, _, err := w.machines[1].log.Propose(ctx, keyspace("a")); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second)
				for _, m := range w.machines[1:] {
					if st := m.log.State(); st.Epoch != epoch+1 || st.Catalog.Keyspaces["a"] == nil {
						t.Errorf("machine %d is at epoch %d, want %d with the keyspace", m.i, st.Epoch, epoch+1)
					}
				}
				if failures < 4 {
					t.Errorf("the point was hit %d times", failures)
				}
			})
		})
	}
}
