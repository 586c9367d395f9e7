package exec

import "sync"

// waiter turns a callback into an answer to wait for. The coordinator calls back exactly once, so a waiter can be used
// again after wait.
type waiter struct {
	home  *sync.Pool
	ready chan struct{}
	page  []byte
	err   error

	onWrite func(error)
	onRead  func([]byte, error)
}

// newWaiter takes one from the executor's pool. A pool of the whole process would hand channels of one simulation to the next (testing/synctest refuses
// that).
func (x *Executor) newWaiter() *waiter {
	if w, ok := x.waiters.Get().(*waiter); ok {
		return w
	}
	w := &waiter{home: &x.waiters, ready: make(chan struct{}, 1)}
	w.onWrite = func(err error) {
		w.err = err
		w.ready <- struct{}{}
	}
	w.onRead = func(page []byte, err error) {
		w.page, w.err = page, err
		w.ready <- struct{}{}
	}
	return w
}

// wait blocks until the callback came. The coordinator bounds that by its own deadlines, and by the context's.
func (w *waiter) wait() ([]byte, error) {
	<-w.ready
	page, err := w.page, w.err
	w.page, w.err = nil, nil
	w.home.Put(w)
	return page, err
}
