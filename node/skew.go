package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	"nodedb/node/clock"
)

const (
	// skewEvery is how often the wall clock is held against the others'.
	skewEvery = time.Minute
	// skewWarn is the difference that is worth a line in the log.
	skewWarn = time.Second
)

// watchClock warns while this machine's clock differs from the others'. Beyond clock.DefaultMaxSkew other nodes refuse what it stamps.
func (n *Node) watchClock(ctx context.Context) {
	tick := time.NewTicker(skewEvery)
	defer tick.Stop()
	for {
		if skew, peer := n.worstSkew(); skew.Abs() > skewWarn {
			n.logger.Warn("clocks differ; set this machine's clock by NTP", "ahead_of", peer, "by", skew, "refused_beyond", clock.DefaultMaxSkew)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// worstSkew asks the members for their wall clocks.
func (n *Node) worstSkew() (worst time.Duration, peer string) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, m := range n.cluster.View().Ring.Nodes() {
		if m.ID == n.cluster.self {
			continue
		}
		all.Add(1)
		n.fetchStatus(m, statusTimeout, func(r report, err error) {
			mu.Lock()
			defer mu.Unlock()
			defer all.Done()
			if skew := time.Since(time.UnixMicro(r.Wall)); err == nil && skew.Abs() > worst.Abs() {
				worst, peer = skew, m.Address
			}
		})
	}
	all.Wait()
	return worst, peer
}

// checkClock refuses to enter a cluster with a clock far off: everything this node stamped would be refused, or win over others' later writes.
func (n *Node) checkClock() error {
	if skew, peer := n.worstSkew(); skew.Abs() > clock.DefaultMaxSkew {
		return fmt.Errorf("this machine's clock is %s ahead of %s's (negative: behind); at most %s is allowed: set it by NTP and start again",
			skew.Round(time.Millisecond), peer, clock.DefaultMaxSkew)
	}
	return nil
}
