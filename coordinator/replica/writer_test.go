package replica

import (
	"context"
	"errors"
	"testing"

	"nodedb/node/row"
	"nodedb/node/rpc"
	"nodedb/node/storage"
)

// pickyStore refuses every batch with the key "bad" in it, and holds the first batch until gate is closed.
type pickyStore struct {
	entered, gate chan struct{}
	held          bool
}

func (s *pickyStore) Apply(ms []row.Mutation, done func(error)) {
	if !s.held {
		s.held = true
		close(s.entered)
		<-s.gate
	}
	for i := range ms {
		if string(ms[i].Key) == "bad" {
			done(storage.ErrTooLarge)
			return
		}
	}
	done(nil)
}

func (s *pickyStore) Read(context.Context, *storage.ReadSpec, []byte) ([]byte, error) {
	return nil, nil
}

func (s *pickyStore) ReadCached(*storage.ReadSpec, []byte) ([]byte, bool) { return nil, false }

// Messages that wait for the store are written as one batch; the one that the store refuses doesn't take the others with it.
func TestARefusedMessageTakesNoOtherWithIt(t *testing.T) {
	s := &pickyStore{entered: make(chan struct{}), gate: make(chan struct{})}
	w := newWriter(s, nil)
	defer w.close()
	keys := []string{"held", "good", "bad", "fine"}
	answers := make([]chan error, len(keys))
	for i, key := range keys {
		answers[i] = make(chan error, 1)
		w.add(queued{ms: []row.Mutation{{Storage: testStorage, Key: []byte(key)}}, done: func(err error) { answers[i] <- err }})
		if i == 0 {
			<-s.entered // the others wait together behind the first
		}
	}
	close(s.gate)
	for i, key := range keys {
		err, refused := <-answers[i], (*rpc.RemoteError)(nil)
		if errors.As(err, &refused) != (key == "bad") || refused != nil && refused.Code != rpc.CodeInvalid {
			t.Errorf("%s: %v", key, err)
		}
	}
}
