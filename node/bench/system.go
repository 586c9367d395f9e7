package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"nodedb/node/proc"
)

// server can be started, measured and thrown away.
type server interface {
	name() string
	// start starts n nodes without data and gives their CQL addresses and processes.
	start(ctx context.Context, n int) (hosts []string, pids []int, err error)
	// wipe stops them and deletes what they wrote.
	wipe() error
}

// system is a database to compare.
type system interface {
	server
	// copier is how it loads the flights from a file; nil: by `nodedb load`.
	copier() copier
	// disk gives what a table takes on all nodes' disks, logs left out, in bytes. Nothing else may be there. Nothing can be asked of the nodes any more.
	disk(ctx context.Context, keyspace, table string) (int64, error)
}

// copier writes all flights into the empty table, and gives how many.
type copier = func(ctx context.Context, o *Options) (rows int64, err error)

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

// restart stops the nodes in peace and starts them on what they have.
func (s *ownSystem) restart(ctx context.Context) (pids []int, err error) {
	if err := errors.Join(s.cluster.Stop(), s.cluster.Start(ctx)); err != nil {
		return nil, err
	}
	for _, m := range s.cluster.Nodes {
		pids = append(pids, m.Pid())
	}
	return pids, nil
}

func (s *ownSystem) copier() copier { return nil }

// disk stops the nodes, so that nothing is in their logs alone, and counts the engine's tables.
func (s *ownSystem) disk(context.Context, string, string) (sum int64, err error) {
	if err := s.cluster.Stop(); err != nil {
		return 0, err
	}
	err = filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".sst" {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return sum, err
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
//	COMMAND copy HOST TABLE COLUMNS FILE   loads a CSV file with a header into KEYSPACE.TABLE by the database's own program, NA for no value, at QUORUM;
//	                                       prints how many rows; without arguments it gets ready for that, which is not measured
//	COMMAND disk KEYSPACE TABLE            writes a table out of memory, and prints the bytes that it takes on all disks
//
// SYNC in its environment says when they sync: periodic or batch.
type peerSystem struct {
	command, prefix  string
	sync             string
	flights, columns string // a CSV file, and the table's columns in its order, by commas
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

// prepareCopy writes the file that copier loads; done removes it.
func (s *peerSystem) prepareCopy(ctx context.Context, files fs.FS) (done func(), err error) {
	if _, err := s.run(ctx, "copy"); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp("", "nodedb-bench-flights-*.csv")
	if err != nil {
		return nil, err
	}
	done = func() { _ = os.Remove(f.Name()) }
	s.flights = f.Name()
	if s.columns, err = writeFlights(f, files); err != nil {
		done()
		return nil, errors.Join(err, f.Close())
	}
	return done, f.Close()
}

// copier has the peer's own program load the flights, from a file that has the table's columns.
func (s *peerSystem) copier() copier {
	return func(ctx context.Context, o *Options) (int64, error) {
		if s.flights == "" {
			return 0, errors.New("the file of flights was not written")
		}
		host, _, err := net.SplitHostPort(o.Hosts[0])
		if err != nil {
			return 0, err
		}
		text, err := s.run(ctx, "copy", host, o.Keyspace+"."+flightsTable.Name, s.columns, s.flights)
		if err != nil {
			return 0, fmt.Errorf("%w: %w", ErrServer, err)
		}
		return s.number("copy", text)
	}
}

func (s *peerSystem) number(command, text string) (int64, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		err = fmt.Errorf("%s %s: %q is no number", s.command, command, text)
	}
	return n, err
}

func (s *peerSystem) disk(ctx context.Context, keyspace, table string) (int64, error) {
	text, err := s.run(ctx, "disk", keyspace, table)
	if err != nil {
		return 0, err
	}
	return s.number("disk", text)
}

func (s *peerSystem) wipe() error {
	_, err := s.run(context.Background(), "wipe")
	return err
}
