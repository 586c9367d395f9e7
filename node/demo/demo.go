// Package demo is nodedb's story, told with real processes and real data: some nodes on loopback addresses, a year of flights, disasters. It may
// import everything below it. Start reading at Run.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"nodedb/node/proc"
	"nodedb/query/wire"
)

// maxNodes bounds --nodes: addresses end at 127.0.0.99.
const maxNodes = 99

// Options of Run.
type Options struct {
	Binary         string // nodedb
	Files          fs.FS  // the data set
	Nodes          int
	Dir            string // "": a temporary one, removed at the end
	Batch          bool   // play the story instead of opening a shell
	Prefix         string // addresses; default 127.0.0
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// settings are those that make visible within seconds what takes hours elsewhere: hints that reach their bound, and a round of anti-entropy.
var settings = map[string]string{"max-hints-size-per-host": "3MiB", "anti-entropy-target": "5m", "anti-entropy-grace": "1s"}

// demo is a running demo.
type demo struct {
	Options
	cluster *proc.Cluster
	facts   *facts
	begun   time.Time
}

// CheckOptions says what is wrong with the numbers that a person gave.
func CheckOptions(nodes int, batch bool) error {
	if nodes < 1 || nodes > maxNodes {
		return fmt.Errorf("--nodes: want 1 to %d, got %d", maxNodes, nodes)
	}
	if batch && nodes < 3 {
		return errors.New("--batch kills a node and goes on at QUORUM: it needs --nodes 3 or more")
	}
	return nil
}

// Run starts the nodes, loads the data, and opens the shell or plays the story. Whatever it started is stopped when it returns.
func Run(ctx context.Context, o Options) (err error) {
	if err := CheckOptions(o.Nodes, o.Batch); err != nil {
		return err
	}
	if o.Prefix == "" {
		o.Prefix = "127.0.0"
	}
	d := &demo{Options: o, begun: time.Now()}
	if d.Dir == "" {
		d.Dir, err = os.MkdirTemp("", "nodedb-demo-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(d.Dir)
	}
	d.cluster = proc.New(proc.Options{Binary: o.Binary, Dir: d.Dir, Prefix: o.Prefix, Flags: settings}, o.Nodes)
	if err := d.cluster.CheckFree(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.cluster.Stop()) }()
	if o.Batch {
		return d.story(ctx)
	}
	if err := d.prepare(ctx); err != nil {
		return err
	}
	return d.shell(ctx)
}

// prepare starts the nodes and loads what isn't there.
func (d *demo) prepare(ctx context.Context) error {
	begun := time.Now()
	if err := d.cluster.Start(ctx); err != nil {
		return err
	}
	d.say("%d nodes are up after %s: %s", d.Nodes, since(begun), d.addresses())
	return d.load(ctx)
}

func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.Stdout, "[%6.1fs] %s\n", time.Since(d.begun).Seconds(), fmt.Sprintf(format, args...))
}

func since(t time.Time) time.Duration { return time.Since(t).Round(time.Millisecond) }

func (d *demo) addresses() string {
	var all []string
	for _, n := range d.cluster.Nodes {
		all = append(all, n.Address)
	}
	return strings.Join(all, ", ")
}

// dial connects to node i (from 1).
func (d *demo) dial(ctx context.Context, i int) (*wire.Client, error) {
	return d.cluster.Nodes[i-1].Dial(ctx)
}

// createSchema makes the keyspace and the tables, if they aren't there.
func (d *demo) createSchema(ctx context.Context) error {
	c, err := d.dial(ctx, 1)
	if err != nil {
		return err
	}
	defer c.Close()
	statements := []string{fmt.Sprintf("CREATE KEYSPACE IF NOT EXISTS %s WITH replication = {'class': 'NetworkTopologyStrategy', 'replication_factor': %d}",
		Keyspace, min(3, d.Nodes))}
	for _, s := range datasets {
		statements = append(statements, strings.Replace(s.ddl, "CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1))
	}
	for _, s := range statements {
		if _, err := c.Query(ctx, s, nil); err != nil {
			return fmt.Errorf("%s: %w", strings.Join(strings.Fields(s), " "), err)
		}
	}
	return nil
}

// loadedMark is written beside a kept data directory once everything is loaded, so that the next demo on it skips the loading.
func (d *demo) loadedMark() string { return filepath.Join(d.Dir, "loaded") }
