package exec

import "sync"

// waiter turns a callback into an answer to wait for. The coordinator calls back exactly once, so a waiter can be used
// again after wait.
type waiter struct {
	ready chan struct{}
	page  []byte
	err   error

	onWrite func(error)
	onRead  func([]byte, error)
}

var waiters = sync.Pool{New: func() any {
	w := &waiter{ready: make(chan struct{}, 1)}
	w.onWrite = func(err error) {
		w.err = err
		w.ready <- struct{}{}
	}
	w.onRead = func(page []byte, err error) {
		w.page, w.err = page, err
		w.ready <- struct{}{}
	}
	return w
}}

func newWaiter() *waiter { return waiters.Get().(*waiter) }

// wait blocks until the callback came. The coordinator bounds that by its own deadlines, and by the context's.
func (w *waiter) wait() ([]byte, error) {
	<-w.ready
	page, err := w.page, w.err
	w.page, w.err = nil, nil
	waiters.Put(w)
	return page, err
}
