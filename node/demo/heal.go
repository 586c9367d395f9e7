package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"nodedb/node"
	"nodedb/node/proc"
)

const (
	// lostHints is how many writes the hints must have given up on before the node comes back.
	lostHints = 20_000
	// healedIn bounds how long the replicas may take to agree again.
	healedIn = 2 * time.Minute
	// lookEvery is how often the repair is looked at.
	lookEvery = 500 * time.Millisecond
)

// errNothingRepaired: the replicas agree, but not by anti-entropy's doing, so the chapter showed nothing.
var errNothingRepaired = errors.New("anti-entropy had nothing to repair")

// outlastHints keeps a node down until the hints for it are full and so many writes that came after are dropped.
func (d *demo) outlastHints(ctx context.Context, w *proc.Workload, enough int64) error {
	if err := d.cluster.Nodes[victim-1].Kill(); err != nil {
		return err
	}
	w.Nodes = d.others()
	w.Start(ctx)
	defer w.Stop()
	before, _ := w.Counts()
	var pending, lost int64
	err := d.cluster.Nodes[0].Await(ctx, func(s node.Status) bool {
		pending, lost = hintsOf(s), 0
		for i := range s.Nodes {
			lost += s.Nodes[i].LostHints
		}
		return lost >= enough
	})
	if err != nil {
		return err
	}
	acked, _ := w.Counts()
	d.say("  node %d is down; %d writes acknowledged without it: %d hints wait, %d more did not fit into their %s", victim, acked-before, pending, lost,
		settings["max-hints-size-per-host"])
	return nil
}

// healed starts the node and watches the replicas agree again, range by range.
func (d *demo) healed(ctx context.Context) error {
	n := d.cluster.Nodes[victim-1]
	_, before, err := d.repairs(ctx)
	if err != nil {
		return err
	}
	if err := n.Start(ctx); err != nil {
		return err
	}
	back, _, err := d.repairs(ctx)
	if err != nil {
		return err
	}
	if err := d.drained(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, healedIn)
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for begun, said := time.Now(), -1; ; {
		status, now, err := d.repairs(ctx)
		if err != nil {
			return err
		}
		agreed := agreedSince(status, back.Now)
		if agreed != said {
			d.say("  anti-entropy: all replicas agree in %d of %d ranges; %d rows repaired, %.1f MB moved", agreed, len(status.Ranges), now.rows-before.rows,
				float64(now.bytes-before.bytes)/1e6)
			said = agreed
		}
		if agreed == len(status.Ranges) {
			if agreed == 0 || now.rows <= before.rows {
				return errNothingRepaired
			}
			d.say("  repaired, without anybody's doing, %s after the hints were delivered", since(begun))
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the replicas agree in %d of %d ranges only: %w", agreed, len(status.Ranges), ctx.Err())
		case <-tick.C:
		}
	}
}

// repaired is what anti-entropy has moved in all.
type repaired struct{ rows, bytes uint64 }

func (d *demo) repairs(ctx context.Context) (s node.RepairStatus, sum repaired, err error) {
	if err = d.cluster.Nodes[0].GetJSON(ctx, "/v1/repair", &s); err != nil {
		return s, sum, err
	}
	for i := range s.Ranges {
		sum.rows += s.Ranges[i].TotalRows
		sum.bytes += s.Ranges[i].TotalSent + s.Ranges[i].TotalReceived
	}
	return s, sum, nil
}

// agreedSince counts the ranges whose replicas all held the same at some time after a moment.
func agreedSince(s node.RepairStatus, since time.Time) (n int) {
	for i := range s.Ranges {
		if at := s.Ranges[i].Agreed; at != nil && at.After(since) {
			n++
		}
	}
	return n
}
