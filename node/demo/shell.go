package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/mattn/go-isatty"

	"nodedb/node"
	"nodedb/query/shell"
)

// actionTimeout bounds one command of the demo's shell.
const actionTimeout = time.Minute

// shell opens a shell on the nodes, with commands that act on them.
func (d *demo) shell(ctx context.Context) error {
	code := shell.Run(ctx, shell.Options{
		Hosts: d.hosts(), Keyspace: Keyspace, Stdin: d.Stdin, Stdout: d.Stdout, Stderr: d.Stderr,
		StdinTerminal: isTerminal(d.Stdin), StdoutTerminal: isTerminal(d.Stdout), StderrTerminal: isTerminal(d.Stderr),
		NoColor: os.Getenv("NO_COLOR") != "", Banner: d.banner(),
		Commands: []shell.Command{
			{Name: `\kill`, Args: "N", Help: "kill -9 node N", Run: d.killCommand, Hosts: d.hosts},
			{Name: `\start`, Args: "N", Help: "start node N again", Run: d.startCommand, Hosts: d.hosts},
			{Name: `\add`, Help: "start one more node; it joins and takes its share", Run: d.addCommand, Hosts: d.hosts},
			{Name: `\status`, Help: "the ring as a running node sees it", Run: d.statusCommand},
		},
	})
	if code != shell.ExitDone {
		return fmt.Errorf("the shell ended with status %d", code)
	}
	return nil
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

func (d *demo) banner() string {
	return fmt.Sprintf(`
%d nodes at %s hold a year of flights, three copies of everything. Try:
  SELECT flight, dest, dep_delay FROM flights WHERE origin = 'JFK' AND day = '2013-07-04' ORDER BY sched_dep_time DESC LIMIT 5;
  \kill 2      then ask again: the answer is the same
  \start 2     it gets what it missed
  \status      the ring;  \add  one more node;  HELP  everything else;  EXIT  stops the nodes
`, len(d.cluster.Nodes), d.addresses())
}

// hosts are the running nodes' CQL addresses.
func (d *demo) hosts() []string {
	var out []string
	for _, n := range d.cluster.Nodes {
		if n.Running() {
			out = append(out, n.CQL())
		}
	}
	return out
}

// numbered reads a command's node number.
func (d *demo) numbered(command string, args []string) (int, error) {
	if len(args) == 1 {
		if i, err := strconv.Atoi(args[0]); err == nil && i >= 1 && i <= len(d.cluster.Nodes) {
			return i, nil
		}
	}
	return 0, fmt.Errorf("%s takes a node's number, 1 to %d", command, len(d.cluster.Nodes))
}

func (d *demo) killCommand(_ context.Context, out io.Writer, args []string) error {
	i, err := d.numbered(`\kill`, args)
	if err != nil {
		return err
	}
	if len(d.hosts()) == 1 && d.cluster.Nodes[i-1].Running() {
		return errors.New("that is the last running node; start another first")
	}
	if err := d.cluster.Nodes[i-1].Kill(); err != nil {
		return err
	}
	fmt.Fprintf(out, "node %d (%s) was killed with SIGKILL\n", i, d.cluster.Nodes[i-1].Address)
	return nil
}

func (d *demo) startCommand(ctx context.Context, out io.Writer, args []string) error {
	i, err := d.numbered(`\start`, args)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, actionTimeout)
	defer cancel()
	begun := time.Now()
	if err := d.cluster.Nodes[i-1].Start(ctx); err != nil {
		return err
	}
	fmt.Fprintf(out, "node %d (%s) answers again after %s\n", i, d.cluster.Nodes[i-1].Address, since(begun))
	return nil
}

func (d *demo) addCommand(ctx context.Context, out io.Writer, _ []string) error {
	if len(d.cluster.Nodes) >= maxNodes {
		return fmt.Errorf("there are %d nodes already", maxNodes)
	}
	ctx, cancel := context.WithTimeout(ctx, actionTimeout)
	defer cancel()
	begun := time.Now()
	n, err := d.cluster.Add(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "node %d (%s) answers after %s and is taking its share of the data: \\status shows when it is up\n", n.Index, n.Address, since(begun))
	return nil
}

func (d *demo) statusCommand(ctx context.Context, out io.Writer, _ []string) error {
	ctx, cancel := context.WithTimeout(ctx, actionTimeout)
	defer cancel()
	for _, n := range d.cluster.Nodes {
		if !n.Running() {
			continue
		}
		s, err := n.Status(ctx)
		if err != nil {
			return err
		}
		node.PrintStatus(out, &s)
		return nil
	}
	return errors.New("no node is running")
}
