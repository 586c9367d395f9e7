package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"nodedb/node/proc"
)

// system is a database that can be started, measured and thrown away.
type system interface {
	name() string
	// start starts n nodes without data and gives their CQL addresses and processes.
	start(ctx context.Context, n int) (hosts []string, pids []int, err error)
	// wipe stops them and deletes what they wrote.
	wipe() error
}

// ownSystem is nodedb, by its own binary.
type ownSystem struct {
	binary, prefix string
	sync           string            // commitlog_sync
	flags          map[string]string // more flags of start
	parent         string            // where dir is made; "": the system's folder for temporary files
	dir            string
	cluster        *proc.Cluster
}

func (s *ownSystem) name() string { return "nodedb" }

func (s *ownSystem) start(ctx context.Context, n int) (hosts []string, pids []int, err error) {
	if s.dir, err = os.MkdirTemp(s.parent, "nodedb-bench-"); err != nil {
		return nil, nil, err
	}
	flags := map[string]string{"commitlog-sync": s.sync}
	maps.Copy(flags, s.flags)
	s.cluster = proc.New(proc.Options{Binary: s.binary, Dir: s.dir, Prefix: s.prefix, Flags: flags}, n)
	if err := s.cluster.CheckFree(); err != nil {
		return nil, nil, err
	}
	if err := s.cluster.Start(ctx); err != nil {
		return nil, nil, err
	}
	for _, m := range s.cluster.Nodes {
		hosts, pids = append(hosts, m.CQL()), append(pids, m.Pid())
	}
	return hosts, pids, nil
}

func (s *ownSystem) wipe() error {
	if s.cluster == nil {
		return nil
	}
	err := s.cluster.Stop()
	s.cluster = nil
	return errors.Join(err, os.RemoveAll(s.dir))
}

// peerSystem is another database, by a command that a script gives (node/bench/cassandra is one):
//
//	COMMAND start N   starts N nodes, that answer CQL on port 9042 of the first N addresses, when it returns
//	COMMAND wipe      stops them and deletes their data
//	COMMAND pids      prints their process ids
//
// SYNC in its environment says when they sync: periodic or batch.
type peerSystem struct {
	command, prefix string
	sync            string
}

func (s *peerSystem) name() string { return filepath.Base(strings.Fields(s.command)[0]) }

// run runs the command, whose words may be several.
func (s *peerSystem) run(ctx context.Context, args ...string) (string, error) {
	words := append(strings.Fields(s.command), args...)
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Env = append(os.Environ(), "SYNC="+s.sync)
	// Files, not pipes: what the command leaves running inherits them, and a pipe would be waited for as long as that lives.
	out, err := os.CreateTemp("", "nodedb-bench-peer-")
	if err != nil {
		return "", err
	}
	defer func() { _ = errors.Join(out.Close(), os.Remove(out.Name())) }()
	cmd.Stdout, cmd.Stderr = out, out
	err = cmd.Run()
	text, readErr := os.ReadFile(out.Name())
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(words, " "), err, bytes.TrimSpace(text[max(0, len(text)-maxPeerOutput):]))
	}
	return string(text), readErr
}

// maxPeerOutput is how much of what a peer's command printed an error shows, in bytes.
const maxPeerOutput = 2000

func (s *peerSystem) start(ctx context.Context, n int) (hosts []string, pids []int, err error) {
	if _, err := s.run(ctx, "wipe"); err != nil {
		return nil, nil, err
	}
	if _, err := s.run(ctx, "start", strconv.Itoa(n)); err != nil {
		return nil, nil, err
	}
	for i := range n {
		hosts = append(hosts, fmt.Sprintf("%s.%d", s.prefix, i+1))
	}
	text, err := s.run(ctx, "pids")
	if err != nil {
		return nil, nil, err
	}
	for _, word := range strings.Fields(text) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			return nil, nil, fmt.Errorf("%s pids: %q is no process id", s.command, word)
		}
		pids = append(pids, pid)
	}
	if len(pids) != n {
		return nil, nil, fmt.Errorf("%s pids: %d processes, want %d", s.command, len(pids), n)
	}
	return hosts, pids, nil
}

func (s *peerSystem) wipe() error {
	_, err := s.run(context.Background(), "wipe")
	return err
}
