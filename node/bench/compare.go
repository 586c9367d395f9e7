package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"nodedb/coordinator/consistency"
)

// CompareOptions of Compare.
type CompareOptions struct {
	Load     Options // what is run: workloads, seconds, in flight, driver, …; hosts and processes are the systems' own
	Binary   string  // nodedb's
	Peer     string  // command that starts the peer: see peerSystem
	Prefix   string  // first three numbers of the nodes' addresses
	Nodes    int
	Sync     string        // nodedb's commitlog_sync: batch or periodic
	PeerSync string        // SYNC of the peer's command
	Warm     time.Duration // of each workload on nodedb, before any is measured; less where its cost is steady before
	PeerWarm time.Duration // and on the peer: a JVM that has not compiled yet is four times slower
	Half     bool          // then each workload at half of the rate that the peer reached, in an open loop, on both
}

// Compare runs the same load on nodedb and on a peer, one at a time, in both orders: nodedb, peer, peer, nodedb. The peer stays up, and warm, between its two passes.
// With an error, the comparison has what there is nonetheless.
func Compare(ctx context.Context, o CompareOptions) (*Comparison, error) {
	if o.Nodes < 1 || o.Nodes > maxNodes {
		return nil, fmt.Errorf("%w: %d nodes: want 1 to %d", ErrOptions, o.Nodes, maxNodes)
	}
	if o.Peer == "" {
		return nil, fmt.Errorf("%w: no command of a peer", ErrOptions)
	}
	if o.Warm < 0 || o.PeerWarm < 0 {
		return nil, fmt.Errorf("%w: warm for %s and %s: want no less than 0", ErrOptions, o.Warm, o.PeerWarm)
	}
	if _, err := o.Load.withDefaults(); err != nil {
		return nil, err
	}
	if _, err := o.Load.workloads(); err != nil {
		return nil, err
	}
	own := &ownSystem{binary: o.Binary, prefix: o.Prefix, sync: o.Sync}
	peer := &peerSystem{command: o.Peer, prefix: o.Prefix, sync: o.PeerSync}
	c := &Comparison{Nodes: o.Nodes, Sync: o.Sync, PeerName: peer.name(), PeerSync: o.PeerSync}
	if slices.Contains(o.Load.Workloads, "load") {
		done, err := peer.prepareCopy(ctx, o.Load.Files)
		if err != nil {
			return nil, err
		}
		defer done()
	}
	var errs []error
	for _, t := range []turn{{own, o.Warm, 1, false, &c.Disk.Own}, {peer, o.PeerWarm, 2, o.Half, &c.Disk.Peer}, {own, o.Warm, 1, o.Half, &c.Disk.Own}} {
		if err := c.turn(ctx, &o, &t); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", t.s.name(), err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	c.summarize(own.name())
	return c, errors.Join(errs...)
}

// maxNodes of one system on one machine.
const maxNodes = 16

// turn is one life of a system.
type turn struct {
	s      system
	warm   time.Duration
	passes int
	half   bool   // then each workload at half of the peer's rate
	disk   *int64 // what the flights take
}

// turn starts a system, warms it, runs all workloads so often, and throws it away.
func (c *Comparison) turn(ctx context.Context, o *CompareOptions, t *turn) (err error) {
	say := func(format string, args ...any) {
		if o.Load.Progress != nil {
			fmt.Fprintf(o.Load.Progress, t.s.name()+": "+format+"\n", args...)
		}
	}
	begun := time.Now()
	defer func() { err = errors.Join(err, t.s.wipe()) }()
	hosts, pids, err := t.s.start(ctx, o.Nodes)
	if err != nil {
		return err
	}
	say("%d nodes answer after %.1f s", o.Nodes, time.Since(begun).Seconds())
	load := o.Load
	load.Hosts, load.Pids, load.Copy = hosts, pids, t.s.copier()
	if load.Consistency == 0 {
		load.Consistency = consistency.Quorum
	}
	if load.Keyspace == "" {
		load.Keyspace = DefaultKeyspace
	}
	if err := c.warmUp(ctx, t.s.name(), load, t.warm, say); err != nil {
		return err
	}
	var errs []error
	for range t.passes {
		errs = append(errs, c.pass(ctx, t.s, load))
	}
	if t.half {
		errs = append(errs, c.atHalf(ctx, t.s, load))
	}
	if onlyFlights(&load) && ctx.Err() == nil {
		*t.disk, err = t.s.disk(ctx, load.Keyspace, flightsTable.Name)
	}
	return errors.Join(append(errs, err)...)
}

// pass keeps what a run gave, be it whole or not.
func (c *Comparison) pass(ctx context.Context, s system, load Options) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r, err := Run(ctx, load)
	if r != nil && len(r.Results) > 0 {
		c.Passes = append(c.Passes, Pass{s.name(), r})
	}
	return err
}

// atHalf runs each workload that takes a rate at half of what the peer reached, whatever it had in flight then.
func (c *Comparison) atHalf(ctx context.Context, s system, load Options) error {
	var errs []error
	names := load.Workloads
	load.InFlight = []int{halfInFlight}
	for _, name := range names {
		w, err := find(name)
		if load.Rate = c.peerRate(name) / 2; err != nil || load.Rate == 0 || w.InFlight > 0 || len(w.Mix) == 0 {
			continue
		}
		load.Workloads = []string{name}
		errs = append(errs, c.pass(ctx, s, load))
	}
	return errors.Join(errs...)
}

// halfInFlight is how many operations may be under way in an open loop: far more than are while the server keeps up.
const halfInFlight = 1024

// peerRate is the most that the peer reached in a closed loop, in operations a second: the mean of its passes, with as many in flight as were best.
func (c *Comparison) peerRate(workload string) (most float64) {
	sides := map[int]*sums{}
	for _, p := range c.Passes {
		for i := range p.Results {
			if res := &p.Results[i]; p.System == c.PeerName && p.Rate == 0 && res.Workload == workload {
				if sides[res.InFlight] == nil {
					sides[res.InFlight] = new(sums)
				}
				sides[res.InFlight].add(res)
			}
		}
	}
	for _, s := range sides {
		mean, _ := s.mean()
		most = max(most, mean.OpsPerSec)
	}
	return most
}

// onlyFlights reports whether nothing but the flights lies on disk.
func onlyFlights(o *Options) bool {
	for _, name := range o.Workloads {
		if w, err := find(name); err != nil || w.Table != flightsTable {
			return false
		}
	}
	return true
}
