package demo

import (
	"context"
	"fmt"
	"time"

	"nodedb/coordinator/consistency"
	"nodedb/node"
	"nodedb/node/proc"
)

const (
	// storyWrites is how many writes have to be acknowledged before, and after, a node is killed.
	storyWrites = 20000
	// drainedIn bounds how long hints may take to be delivered.
	drainedIn = 2 * time.Minute
	// victim is the node that is killed, counted from 1.
	victim = 2
)

// story plays all steps; the first that doesn't hold ends it.
func (d *demo) story(ctx context.Context) error {
	w := &proc.Workload{Table: Keyspace + ".story", Writers: 4, Window: 64}
	steps := []struct {
		name string
		play func(context.Context) error
	}{
		{"start the nodes and load the flights", d.prepare},
		{"the same answers from every node, equal to those computed from the CSV", d.askAll},
		{"kill -9 of a node while writes go on", func(ctx context.Context) error { return d.killUnderLoad(ctx, w) }},
		{"with a node down: reads and writes at QUORUM", func(ctx context.Context) error { return d.withNodeDown(ctx, w) }},
		{"start it again: hints are delivered", d.restart},
		{"replicas are identical", d.compareReplicas},
		{"kill -9 of a node for longer than hints reach", func(ctx context.Context) error { return d.outlastHints(ctx, w, lostHints) }},
		{"start it again: anti-entropy finds what is missing and repairs it", d.healed},
		{"replicas are identical again", d.compareReplicas},
		{"kill -9 of all nodes at once, while writes go on; start them again", func(ctx context.Context) error { return d.killAll(ctx, w) }},
		{"everything is there", func(ctx context.Context) error { return d.everything(ctx, w) }},
	}
	for i, s := range steps {
		d.say("STEP %d: %s", i+1, s.name)
		begun := time.Now()
		if err := s.play(ctx); err != nil {
			return fmt.Errorf("step %d (%s) did not hold: %w", i+1, s.name, err)
		}
		d.say("held, in %s", since(begun))
	}
	d.say("every step held")
	return nil
}

// askAll asks every running node all questions.
func (d *demo) askAll(ctx context.Context) error {
	if d.facts == nil {
		f, err := readFacts(d.Files)
		if err != nil {
			return err
		}
		d.facts = f
	}
	questions := d.facts.questions()
	for _, n := range d.cluster.Nodes {
		if !n.Running() {
			continue
		}
		begun := time.Now()
		if err := ask(ctx, n, questions); err != nil {
			return err
		}
		d.say("  node %d: %d questions at QUORUM, all answers equal to the CSV's, in %s", n.Index, len(questions), since(begun))
	}
	return nil
}

func ask(ctx context.Context, n *proc.Node, questions []question) error {
	c, err := n.Dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, q := range questions {
		got, err := proc.Ask(ctx, c, consistency.Quorum, q.cql)
		if err != nil {
			return fmt.Errorf("node %d: %s: %s: %w", n.Index, q.about, q.cql, err)
		}
		if diff := proc.Difference(got, q.answer, q.order); diff != "" {
			return fmt.Errorf("node %d: %s: %s: %s", n.Index, q.about, q.cql, diff)
		}
	}
	return nil
}

// others are the nodes but the victim.
func (d *demo) others() []*proc.Node {
	var out []*proc.Node
	for _, n := range d.cluster.Nodes {
		if n.Index != victim {
			out = append(out, n)
		}
	}
	return out
}

func (d *demo) killUnderLoad(ctx context.Context, w *proc.Workload) error {
	c, err := d.dial(ctx, 1)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := w.Setup(ctx, c); err != nil {
		return err
	}
	w.Nodes = d.others()
	w.Start(ctx)
	defer w.Stop()
	if err := w.AwaitAcked(ctx, storyWrites); err != nil {
		return err
	}
	before, _ := w.Counts()
	if err := d.cluster.Nodes[victim-1].Kill(); err != nil {
		return err
	}
	d.say("  node %d killed after %d acknowledged writes; the writes go on through the others", victim, before)
	return w.AwaitAcked(ctx, storyWrites)
}

func (d *demo) withNodeDown(ctx context.Context, w *proc.Workload) error {
	acked, unknown := w.Counts()
	if err := d.askAll(ctx); err != nil {
		return err
	}
	d.say("  %d writes acknowledged so far, %d unknown", acked, unknown)
	return d.verify(ctx, w)
}

func (d *demo) verify(ctx context.Context, w *proc.Workload) error {
	for _, n := range d.cluster.Nodes {
		if !n.Running() {
			continue
		}
		lost, examples, err := w.Verify(ctx, n)
		if err != nil {
			return err
		}
		acked, _ := w.Counts()
		if lost > 0 {
			return fmt.Errorf("node %d: %d of %d acknowledged writes are lost, for example %v", n.Index, lost, acked, examples)
		}
		d.say("  node %d: all %d acknowledged writes are there", n.Index, acked)
	}
	return nil
}

func (d *demo) restart(ctx context.Context) error {
	n := d.cluster.Nodes[victim-1]
	begun := time.Now()
	if s, err := d.cluster.Nodes[0].Status(ctx); err == nil {
		d.say("  %d hints wait for node %d", hintsOf(s), victim)
	}
	if err := n.Start(ctx); err != nil {
		return err
	}
	d.say("  node %d answers again after %s", victim, since(begun))
	return d.drained(ctx)
}

func hintsOf(s node.Status) (n int64) {
	for i := range s.Nodes {
		n += s.Nodes[i].PendingHints
	}
	return n
}

// drained returns once every node is up and no hints wait anywhere.
func (d *demo) drained(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainedIn)
	defer cancel()
	begun := time.Now()
	for _, n := range d.cluster.Nodes {
		err := n.Await(ctx, func(s node.Status) bool {
			up := 0
			for i := range s.Nodes {
				if s.Nodes[i].State == "up" {
					up++
				}
			}
			return up == len(d.cluster.Nodes) && hintsOf(s) == 0
		})
		if err != nil {
			return err
		}
	}
	d.say("  all nodes are up and all hints are delivered after %s", since(begun))
	return nil
}

// compareReplicas holds the nodes' own copies of every table against each other: with as many nodes as replicas they are equal.
func (d *demo) compareReplicas(ctx context.Context) error {
	if d.Nodes > 3 {
		d.say("  %d nodes hold different ranges; compared where all hold all: with three nodes", d.Nodes)
		return nil
	}
	tables := []string{"story"}
	for _, s := range datasets {
		tables = append(tables, s.table)
	}
	for _, t := range tables {
		var first node.Checksum
		for i, n := range d.cluster.Nodes {
			var sum node.Checksum
			if err := n.GetJSON(ctx, "/v1/replica/"+Keyspace+"/"+t, &sum); err != nil {
				return err
			}
			if i == 0 {
				first = sum
			} else if sum != first {
				return fmt.Errorf("replicas of %s differ: node 1 has %+v, node %d has %+v", t, first, n.Index, sum)
			}
		}
		d.say("  %-9s %7d rows in %5d partitions, the same bytes on all nodes (%s)", t, first.Rows, first.Partitions, first.Digest[:16])
	}
	return nil
}

func (d *demo) killAll(ctx context.Context, w *proc.Workload) error {
	w.Nodes = d.cluster.Nodes
	w.Start(ctx)
	if err := w.AwaitAcked(ctx, storyWrites); err != nil {
		w.Stop()
		return err
	}
	for _, n := range d.cluster.Nodes {
		if err := n.Kill(); err != nil {
			w.Stop()
			return err
		}
	}
	w.Stop()
	acked, unknown := w.Counts()
	d.say("  all %d nodes killed; %d writes acknowledged, %d unknown", d.Nodes, acked, unknown)
	begun := time.Now()
	if err := d.cluster.Start(ctx); err != nil {
		return err
	}
	d.say("  all nodes answer again after %s", since(begun))
	return d.drained(ctx)
}

func (d *demo) everything(ctx context.Context, w *proc.Workload) error {
	if err := d.verify(ctx, w); err != nil {
		return err
	}
	return d.askAll(ctx)
}
