package rpc

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// lane separates bulk transfers from requests that someone waits for: each has a connection of its own.
type lane uint8

const (
	laneData lane = iota
	laneBulk
)

func laneOf(v Verb) lane {
	switch v {
	case VerbStream, VerbTree, VerbRepair:
		return laneBulk
	}
	return laneData
}

type linkKey struct {
	to   Peer
	lane lane
}

// link is one lane to one peer: a connection while there is one, and the pause after one failed. Links are kept for
// good; there are as many as peers and addresses ever called.
type link struct {
	t    *TCP
	to   Peer
	cur  atomic.Pointer[clientConn]
	dial struct {
		sync.Mutex
		backoff time.Duration
		retryAt int64 // transport clock
		err     error // why the last connection failed
	}
}

func (t *TCP) link(to Peer, ln lane) *link {
	key := linkKey{to, ln}
	t.links.RLock()
	l := t.links.m[key]
	t.links.RUnlock()
	if l != nil {
		return l
	}
	t.links.Lock()
	defer t.links.Unlock()
	if l = t.links.m[key]; l == nil {
		l = &link{t: t, to: to}
		t.links.m[key] = l
	}
	return l
}

// send hands the call to the link's connection, dialling if there is none. An error: the call was not taken.
func (l *link) send(c *Call) error {
	for {
		conn := l.cur.Load()
		if conn == nil {
			var err error
			if conn, err = l.connect(); err != nil {
				return err
			}
		}
		if taken, err := conn.send(c); taken || err != nil {
			return err
		}
		l.cur.CompareAndSwap(conn, nil) // it has just ended
	}
}

// connect starts a connection, or gives the error of the last one during the pause after it.
func (l *link) connect() (*clientConn, error) {
	l.dial.Lock()
	defer l.dial.Unlock()
	if c := l.cur.Load(); c != nil {
		return c, nil
	}
	if l.dial.err != nil && l.t.now() < l.dial.retryAt {
		return nil, l.dial.err
	}
	c := newClientConn(l)
	if !l.t.spawn(c, c.run) {
		return nil, ErrClosed
	}
	l.cur.Store(c)
	return c, nil
}

// ended records why a connection is gone. One that had worked is dialled again at once; failed dials back off.
func (l *link) ended(c *clientConn, worked bool, err error) {
	l.dial.Lock()
	defer l.dial.Unlock()
	l.cur.CompareAndSwap(c, nil)
	if worked {
		l.dial.backoff, l.dial.err = 0, nil
		return
	}
	l.dial.backoff = min(max(2*l.dial.backoff, l.t.opts.Backoff), l.t.opts.MaxBackoff)
	l.dial.retryAt = l.t.now() + int64(l.dial.backoff)
	l.dial.err = err
}

// Retry ends the pause after failed dials of a peer that is known to be up (gossip says so, or it dialled us): the next
// call dials at once. Without it, calls to a node that has just started fail for as long as the pause that its absence
// earned; a node that starts again faster than gossip notices would be out of reach with nobody believing it down.
func (t *TCP) Retry(to Peer) {
	t.links.RLock()
	defer t.links.RUnlock()
	for _, ln := range []lane{laneData, laneBulk} {
		if l := t.links.m[linkKey{to, ln}]; l != nil {
			l.dial.Lock()
			l.dial.backoff, l.dial.err = 0, nil
			l.dial.Unlock()
		}
	}
}

// checkPeer compares who answered with whom we meant.
func (l *link) checkPeer(us, h *helloFrame) error {
	if !l.to.ID.IsZero() && h.HostID != l.to.ID {
		return fmt.Errorf("%w: host id %s answers at %s, not %s", ErrWrongPeer, h.HostID, l.to.Addr, l.to.ID)
	}
	if otherCluster(us, h) {
		return fmt.Errorf("%w: the node at %s is of cluster %q, this one of cluster %q, with another id", ErrWrongPeer, l.to.Addr,
			h.ClusterName, us.ClusterName)
	}
	return nil
}

// otherCluster: both are in a cluster, and not in the same one. Names alone are left to founding, which can tell the user.
func otherCluster(a, b *helloFrame) bool {
	return a.clustered() && b.clustered() && a.ClusterID != b.ClusterID
}

func (h *helloFrame) clustered() bool { return h.ClusterID != [16]byte{} }
