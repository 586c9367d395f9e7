package rpc

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// While connections are cut again and again, identities change and calls time out, every call ends exactly once, with an answer to that very
// call or one of the package's errors; nothing stays behind.
func TestEveryCallEndsOnceUnderChurn(t *testing.T) {
	a := newTCP(t, Options{Identity: identity(1, 9), Backoff: time.Microsecond, MaxBackoff: time.Microsecond, InFlight: 64})
	b := newTCP(t, Options{Identity: identity(2, 9)})
	var late sync.WaitGroup
	b.Handle(VerbWrite, func(in *Inbound) {
		if in.Body[0]%3 == 0 {
			late.Go(func() { in.Reply(in.Body, nil) })
			return
		}
		in.Reply(in.Body, nil)
	})
	b.Serve()
	const senders, each = 4, 3000
	var ended [senders * each]atomic.Int32
	var answered atomic.Int64
	var all, done sync.WaitGroup
	done.Add(senders * each)
	for s := range senders {
		all.Go(func() {
			window := make(chan struct{}, 20) // four of them are more than InFlight
			for i := range each {
				window <- struct{}{}
				n := s*each + i
				body := []byte{byte(n), byte(n >> 8), byte(n >> 16)}
				c := &Call{To: b.self(), Verb: VerbWrite, Body: append([]byte(nil), body...), Timeout: time.Duration(1+n%50) * time.Millisecond}
				c.Done = func(got []byte, err error) {
					defer done.Done()
					defer func() { <-window }()
					if ended[n].Add(1) != 1 {
						t.Errorf("call %d ended twice", n)
					}
					var re *RemoteError
					switch {
					case err == nil && string(got) == string(body):
						answered.Add(1)
					case errors.Is(err, ErrUnreachable), errors.Is(err, ErrTimeout), errors.Is(err, ErrOverloaded):
					case errors.As(err, &re) && re.Code == CodeExpired:
					default:
						t.Errorf("call %d: %x, %v", n, got, err)
					}
				}
				a.Send(c)
				clear(c.Body) // the transport has copied it
			}
		})
	}
	stop := make(chan struct{})
	var churn sync.WaitGroup
	churn.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
			for _, c := range [2]*TCP{a, b}[i%2].open() {
				c.abort(errIdle)
			}
			if err := b.SetIdentity(identity(2, 9)); err != nil {
				t.Error(err)
			}
		}
	})
	all.Wait()
	done.Wait()
	close(stop)
	churn.Wait()
	b.Close() // no handler runs any more
	late.Wait()
	if n := a.link(b.self(), laneData).cur.Load(); n != nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.mu.calls.live != 0 || len(n.mu.waiting) != 0 {
			t.Errorf("%d calls and %d waiting stay behind", n.mu.calls.live, len(n.mu.waiting))
		}
	}
	if answered.Load() == 0 {
		t.Error("no call was answered")
	}
	t.Logf("%d of %d calls answered, %d connections", answered.Load(), senders*each, a.Stats().Dials.Load())
}
