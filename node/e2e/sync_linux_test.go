package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"nodedb/coordinator/consistency"
	"nodedb/node/check"
	"nodedb/node/proc"
)

// stopsWithin is how soon a node whose disk refused a sync has to be gone.
const stopsWithin = time.Second

// tracer is an strace that tampers with a running process's system calls.
type tracer struct {
	cmd    *exec.Cmd
	output string // a line a tampered call, beginning with its time
}

// inject attaches to a node: from now on every call of these names is tampered with. It returns once all threads are attached to.
func inject(t *testing.T, n *proc.Node, calls, how string) *tracer {
	t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("makes system calls fail with strace, which isn't there: install Debian's package strace")
	}
	x := &tracer{output: filepath.Join(t.TempDir(), "strace")}
	x.cmd = exec.Command("strace", "-f", "-ttt", "-o", x.output, "-e", "signal=none", "-p", strconv.Itoa(n.Pid()), "-e", "trace="+calls, "-e", "inject="+calls+":"+how)
	said, err := x.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := x.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.detach)
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "attached") {
			go func() { // strace says more as threads come
				for lines.Scan() {
				}
			}()
			return x
		}
		if strings.Contains(lines.Text(), "not permitted") {
			t.Skipf("strace may not attach here: %s", lines.Text())
		}
	}
	t.Fatalf("strace ended without attaching: %v", lines.Err())
	return nil
}

// detach lets the process go on untouched.
func (x *tracer) detach() {
	if x.cmd.ProcessState == nil {
		_ = x.cmd.Process.Signal(syscall.SIGINT)
		_ = x.cmd.Wait()
	}
}

// first is when the first call was tampered with.
func (x *tracer) first(t *testing.T) (when time.Time, line string) {
	t.Helper()
	raw, err := os.ReadFile(x.output)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range bytes.Split(raw, []byte("\n")) {
		if !bytes.Contains(l, []byte("(INJECTED)")) && !bytes.Contains(l, []byte("(DELAYED)")) {
			continue
		}
		fields := strings.Fields(string(l)) // pid, seconds since 1970
		seconds, err := strconv.ParseFloat(fields[1], 64)
		if err != nil {
			t.Fatalf("%q: %v", l, err)
		}
		return time.UnixMicro(int64(seconds * 1e6)), string(l)
	}
	t.Fatalf("no call was tampered with: %s", raw)
	return time.Time{}, ""
}

// ack is an acknowledged write.
type ack struct {
	key  int
	sent time.Time
}

// writeAtAll writes through a node at ALL until stop is closed, from several goroutines, and gives what was acknowledged. Every acknowledgement takes
// every node's.
func writeAtAll(n *proc.Node, stop <-chan struct{}) (acks []ack) {
	through := n.Through()
	defer through.Close()
	var mu sync.Mutex
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				ctx, cancel := context.WithTimeout(context.Background(), requestTime)
				a := ack{i*4 + g, time.Now()}
				r := through.Run(ctx, &check.Statement{CQL: fmt.Sprintf("INSERT INTO f.t (k, v) VALUES (%d, 'v')", a.key), Level: consistency.All})
				cancel()
				if r.Outcome == check.Done {
					mu.Lock()
					acks = append(acks, a)
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	return acks
}

// TestRow5SyncFails: from one moment on every fsync, or fdatasync, of a node fails. It stops within a second, it acknowledges nothing that was sent later,
// it is back after a restart, and nothing is lost.
func TestRow5SyncFails(t *testing.T) {
	t.Parallel()
	began, rounds := begins(), count(1, 20)
	c := startCluster(t, 3)
	exec1(t, dial(t, c.Nodes[0]), "CREATE KEYSPACE f"+simpleRF3, "CREATE TABLE f.t (k int PRIMARY KEY, v text)")
	s := startSuite(t, c, check.Options{Think: 20 * time.Millisecond})
	var slowest time.Duration
	before, late := 0, 0
	for round := range rounds {
		victim, other := c.Nodes[round%3], c.Nodes[(round+1)%3]
		stop, acked, logged := make(chan struct{}), make(chan []ack, 1), len(readLog(t, victim))
		go func() { acked <- writeAtAll(other, stop) }()
		awaitStatements(t, s, 50)
		x := inject(t, victim, "fsync,fdatasync", "error=EIO")
		select {
		case <-victim.Exited():
		case <-time.After(wait):
			t.Errorf("node %d still runs", victim.Index)
			kill(t, victim)
		}
		gone := time.Now()
		awaitStatements(t, s, 20)
		close(stop)
		failed, line := x.first(t)
		took := gone.Sub(failed)
		slowest = max(slowest, took)
		if took > stopsWithin {
			t.Errorf("node %d stopped %s after %s", victim.Index, took, line)
		}
		for _, a := range <-acked {
			if a.sent.After(failed) {
				late++
			} else {
				before++
			}
		}
		if log := readLog(t, victim)[logged:]; !strings.Contains(log, "the node stopped itself") || !strings.Contains(log, "input/output error") {
			t.Errorf("the log doesn't say why: %s", log[max(0, len(log)-1000):])
		}
		start(t, c, victim)
	}
	if late > 0 || before == 0 {
		t.Errorf("%d writes that were sent after the failure were acknowledged, %d before it", late, before)
	}
	text := s.finish()
	report(t, 5, began, "%d failures: stops within %.2f s, %d acks before, %d later; %s", rounds, slowest.Seconds(), before, late, text)
}
