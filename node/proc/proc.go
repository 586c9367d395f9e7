// Package proc runs nodedb's own binary as real processes on loopback addresses, and starts, kills and watches them: for the demo, the
// end-to-end tests and benchmarks. It may import everything below it. Start reading at Cluster.
package proc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"nodedb/node"
)

const (
	// StartTimeout is how long a node may take until it answers.
	StartTimeout = 30 * time.Second
	// stopTimeout is how long a node may take to drain before it is killed.
	stopTimeout = 15 * time.Second
	// pollEvery is how often a starting node, or a condition on the cluster, is looked at.
	pollEvery = 10 * time.Millisecond
	// logTail is how much of a failed node's log an error shows, in bytes.
	logTail = 2000
)

// Options of New.
type Options struct {
	Binary string            // path of nodedb
	Dir    string            // one folder a node is made in it
	Prefix string            // first three numbers of the addresses: "127.0.0" gives 127.0.0.1, .2, …
	Flags  map[string]string // more flags of start, without dashes, for every node
	Ports  map[string]int    // by setting name; the defaults where absent
}

// Cluster is some nodes of one cluster. Not safe for concurrent use, but for Nodes' own methods.
type Cluster struct {
	Options
	Nodes []*Node
	join  []string // founding list
}

// Node is one node, running or not.
type Node struct {
	Index   int // from 1
	Address string
	Dir     string
	cluster *Cluster
	cmd     *exec.Cmd
	exited  chan struct{} // closed when the running process has ended
}

// New plans a cluster of n founders; nothing runs yet.
func New(o Options, n int) *Cluster {
	c := &Cluster{Options: o}
	for range n {
		c.plan()
	}
	for _, m := range c.Nodes {
		c.join = append(c.join, m.Address)
	}
	return c
}

func (c *Cluster) plan() *Node {
	i := len(c.Nodes) + 1
	m := &Node{Index: i, Address: fmt.Sprintf("%s.%d", c.Prefix, i), Dir: filepath.Join(c.Dir, fmt.Sprintf("node%d", i)), cluster: c}
	c.Nodes = append(c.Nodes, m)
	return m
}

// Port gives the port of a setting such as native_transport_port.
func (c *Cluster) Port(setting string) int {
	if p, ok := c.Ports[setting]; ok {
		return p
	}
	return map[string]int{"native_transport_port": 9042, "storage_port": 7000, "gossip_port": 7001, "http_port": 8181}[setting]
}

// CheckFree reports the first address and port, of any node, that something else listens on.
func (c *Cluster) CheckFree() error {
	for _, m := range c.Nodes {
		for _, s := range []string{"native_transport_port", "storage_port", "gossip_port", "http_port"} {
			addr := net.JoinHostPort(m.Address, strconv.Itoa(c.Port(s)))
			l, err := net.Listen("tcp", addr)
			if err != nil {
				return fmt.Errorf("%s is in use (%w): stop what listens there, or choose other addresses", addr, err)
			}
			if err := l.Close(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Start starts all nodes at once and returns when all answer.
func (c *Cluster) Start(ctx context.Context) error {
	for _, m := range c.Nodes {
		if err := m.Launch(); err != nil {
			return err
		}
	}
	for _, m := range c.Nodes {
		if err := m.awaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Add plans and starts one more node; it joins through the others.
func (c *Cluster) Add(ctx context.Context) (*Node, error) {
	m := c.plan()
	return m, m.Start(ctx)
}

// Stop drains all nodes; those that don't end in time are killed.
func (c *Cluster) Stop() error {
	var errs []error
	for _, m := range c.Nodes {
		if m.Running() {
			errs = append(errs, m.cmd.Process.Signal(syscall.SIGTERM))
		}
	}
	for _, m := range c.Nodes {
		if m.cmd == nil {
			continue
		}
		select {
		case <-m.exited:
		case <-time.After(stopTimeout):
			errs = append(errs, fmt.Errorf("node %d did not drain in %s", m.Index, stopTimeout), m.Kill())
		}
	}
	return errors.Join(errs...)
}

// Start starts a node that isn't running and returns when it answers.
func (m *Node) Start(ctx context.Context) error {
	if err := m.Launch(); err != nil {
		return err
	}
	return m.awaitReady(ctx)
}

// Launch starts a node without waiting until it answers.
func (m *Node) Launch() error {
	if m.Running() {
		return fmt.Errorf("node %d is running already", m.Index)
	}
	if err := os.MkdirAll(m.Dir, 0o755); err != nil {
		return err
	}
	log, err := os.OpenFile(m.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(m.cluster.Binary, m.arguments()...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = childAttributes()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("node %d: %w", m.Index, err)
	}
	m.cmd, m.exited = cmd, make(chan struct{})
	go func(exited chan struct{}) {
		_ = cmd.Wait()
		close(exited)
	}(m.exited)
	return nil
}

func (m *Node) arguments() []string {
	args := []string{"start", "--listen", m.Address, "--data", filepath.Join(m.Dir, "data"), "--join", strings.Join(m.cluster.join, ",")}
	for name, value := range m.cluster.Flags {
		args = append(args, "--"+name, value)
	}
	for name, port := range m.cluster.Ports {
		args = append(args, "--"+strings.ReplaceAll(name, "_", "-"), strconv.Itoa(port))
	}
	return args
}

// LogFile is where the process writes.
func (m *Node) LogFile() string { return filepath.Join(m.Dir, "log") }

// Running reports whether the process lives.
func (m *Node) Running() bool {
	if m.cmd == nil {
		return false
	}
	select {
	case <-m.exited:
		return false
	default:
		return true
	}
}

// Pid is the running process's id.
func (m *Node) Pid() int { return m.cmd.Process.Pid }

// Kill ends the process with SIGKILL and waits until it is gone.
func (m *Node) Kill() error {
	if !m.Running() {
		return fmt.Errorf("node %d is not running", m.Index)
	}
	if err := m.cmd.Process.Kill(); err != nil {
		return err
	}
	<-m.exited
	return nil
}

// Drain ends the process as an operator does, with what it holds saved, and waits until it is gone.
func (m *Node) Drain() error {
	if err := m.signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-m.exited:
		return nil
	case <-time.After(stopTimeout):
		return fmt.Errorf("node %d did not drain in %s", m.Index, stopTimeout)
	}
}

// Pause stops the process where it is (SIGSTOP) until Resume or Kill; the kernel goes on taking connections and bytes for it.
func (m *Node) Pause() error { return m.signal(syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (m *Node) Resume() error { return m.signal(syscall.SIGCONT) }

func (m *Node) signal(s syscall.Signal) error {
	if !m.Running() {
		return fmt.Errorf("node %d is not running", m.Index)
	}
	return m.cmd.Process.Signal(s)
}

// Exited is closed when the process that runs now has ended.
func (m *Node) Exited() <-chan struct{} { return m.exited }

// CQL is the node's CQL address.
func (m *Node) CQL() string {
	return net.JoinHostPort(m.Address, strconv.Itoa(m.cluster.Port("native_transport_port")))
}

// URL is a path of the node's HTTP API.
func (m *Node) URL(path string) string {
	return "http://" + net.JoinHostPort(m.Address, strconv.Itoa(m.cluster.Port("http_port"))) + path
}

// awaitReady polls /readyz until the node answers, ends, or takes too long.
func (m *Node) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, StartTimeout)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if m.answers(ctx) {
			return nil
		}
		select {
		case <-m.exited:
			return fmt.Errorf("node %d ended while it started: %s", m.Index, m.tail())
		case <-ctx.Done():
			return fmt.Errorf("node %d did not answer in %s: %s", m.Index, StartTimeout, m.tail())
		case <-tick.C:
		}
	}
}

func (m *Node) answers(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.URL("/readyz"), nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// tail is the end of the node's log.
func (m *Node) tail() string {
	raw, err := os.ReadFile(m.LogFile())
	if err != nil {
		return err.Error()
	}
	return string(raw[max(0, len(raw)-logTail):])
}

// Status is the cluster as this node sees it.
func (m *Node) Status(ctx context.Context) (node.Status, error) {
	var s node.Status
	return s, m.GetJSON(ctx, "/v1/ring", &s)
}

// Await polls the node's status until ok says so.
func (m *Node) Await(ctx context.Context, ok func(node.Status) bool) error {
	tick := time.NewTicker(10 * pollEvery)
	defer tick.Stop()
	for {
		s, err := m.Status(ctx)
		if err == nil && ok(s) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("node %d: waited in vain; status %+v, %v: %w", m.Index, s, err, ctx.Err())
		case <-tick.C:
		}
	}
}

// GetJSON reads a path of the node's HTTP API.
func (m *Node) GetJSON(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.URL(path), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, logTail))
		return fmt.Errorf("GET %s: %s: %s", path, resp.Status, text)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}
