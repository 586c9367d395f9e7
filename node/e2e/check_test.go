package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"nodedb/node/check"
	"nodedb/node/proc"
)

// suite is package check's suite at work on a cluster, in the background.
type suite struct {
	t       *testing.T
	c       *proc.Cluster
	check   *check.Suite
	clients []check.Client
	stop    context.CancelFunc
	done    chan struct{}
}

// requestTime bounds one statement of a session: more than the server's own timeouts.
const requestTime = 8 * time.Second

// startSuite sets the suite up and lets its sessions work until finish.
func startSuite(t *testing.T, c *proc.Cluster, o check.Options) *suite {
	t.Helper()
	if o.Seed == 0 {
		o.Seed = uint64(time.Now().UnixNano())
	}
	if o.Workloads == nil && *campaign == 0 { // rows that expire take until they have
		o.Workloads = slices.DeleteFunc(check.Names(), func(name string) bool { return name == "expiry" })
	}
	o.Timeout = requestTime
	t.Logf("suite's seed: %d", o.Seed)
	s := &suite{t: t, c: c, check: check.New(o), done: make(chan struct{})}
	var closeAll func()
	s.clients, closeAll = c.ThroughAll()
	t.Cleanup(closeAll)
	if err := s.check.Setup(deadline(t, time.Minute), s.clients[0]); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	go func() {
		defer close(s.done)
		s.check.Run(ctx, s.clients)
	}()
	t.Cleanup(func() { stop(); <-s.done })
	return s
}

// finish ends the sessions, reads everything back through every node, and gives the figures.
func (s *suite) finish() string {
	s.t.Helper()
	s.stop()
	<-s.done
	wrong := 0
	for i, c := range s.clients {
		for _, v := range s.check.Check(deadline(s.t, 10*time.Minute), c) {
			wrong++
			s.t.Errorf("through node %d: %s", i+1, v)
		}
	}
	done, refused, unknown := s.check.History().Counts()
	return fmt.Sprintf("suite: %d done, %d refused, %d unknown, %d violations", done, refused, unknown, wrong)
}

// TestSuite: the workloads of package check on a cluster of which one node is killed and started again.
func TestSuite(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	s := startSuite(t, c, check.Options{Think: 2 * time.Millisecond, Workloads: check.Names()})
	awaitStatements(t, s, 1000)
	kill(t, c.Nodes[1])
	awaitStatements(t, s, 500)
	start(t, c, c.Nodes[1])
	awaitStatements(t, s, 1000)
	t.Log(s.finish())
}

// awaitStatements returns once so many statements more were done.
func awaitStatements(t *testing.T, s *suite, more int) {
	t.Helper()
	before, _, _ := s.check.History().Counts()
	eventually(t, func() string {
		done, _, _ := s.check.History().Counts()
		return not(done >= before+more, "more statements to be done")
	})
}
