package node

import (
	"context"
	"fmt"
	"time"

	"nodedb/node/clock"
)

const (
	// skewEvery is how often the clock is held against the others'.
	skewEvery = time.Minute
	// skewSoon is how often the wall clock is looked at while nothing else does, and the others are asked while the clock is in doubt or not trusted.
	skewSoon = time.Second
	// skewWarn is the difference that is worth a line in the log.
	skewWarn = time.Second
	// skewTimeout bounds a question. Half of its round trip is how wrong an answer may be; and the start waits for it.
	skewTimeout = time.Second
)

// suspectClock has the clock judged at once. It never blocks; questions that come while one waits are one.
func (n *Node) suspectClock() {
	select {
	case n.suspected <- struct{}{}:
	default:
	}
}

// watchClock judges the clock by the other members': now and then, and at once when the wall clock jumped, a replica refused a timestamp of this node's,
// or a member came up.
func (n *Node) watchClock(ctx context.Context) {
	tick := time.NewTicker(skewSoon)
	defer tick.Stop()
	var judged time.Time
	wrong := n.clock.Trusted() != nil
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.suspected:
		case <-tick.C:
			n.clock.Check()
			if time.Since(judged) < skewEvery && n.clock.Doubt() == nil && !wrong {
				continue
			}
		}
		v := n.judgeClock(ctx)
		judged, wrong = time.Now(), v.Doubt != nil || v.Trust != nil
		select { // suspicions come no faster than this
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// judgeClock asks the members for their clocks, settles doubt and trust by them, and says so.
func (n *Node) judgeClock(ctx context.Context) clock.Verdict {
	n.judging.Lock()
	defer n.judging.Unlock()
	others, answers := n.readClocks(ctx)
	v := n.clock.Judge(others, answers)
	wrong := v.Doubt != nil || v.Trust != nil
	changed := (v.Doubt == nil) != (n.verdict.Doubt == nil) || (v.Trust == nil) != (n.verdict.Trust == nil) || v.Adopted != 0
	n.verdict = v
	if changed || wrong && time.Since(n.clockSaid) >= skewEvery {
		n.clockSaid = time.Now()
		n.sayClock(&v, "nodes", others+1, "answered", len(answers))
	} else if !wrong && v.Worst.Abs() > skewWarn {
		n.logger.Warn("clocks differ; set them by NTP", "ahead_of", v.Peer, "by", v.Worst, "refused_beyond", clock.DefaultMaxSkew)
	}
	return v
}

func (n *Node) sayClock(v *clock.Verdict, asked ...any) {
	log := n.logger.With(asked...)
	if v.Adopted != 0 {
		log.Warn("this machine's wall clock has jumped, and the other nodes' show the same time: it is followed", "jump", v.Adopted)
	}
	if v.Doubt != nil {
		log.Error("this machine's wall clock has jumped, and no majority of the other nodes' shows the same time: timestamps go on as if it had not. "+
			"Set this machine's clock by NTP (chronyc makestep), and find out what sets it wrong", "why", v.Doubt)
	}
	if v.Trust != nil {
		log.Error("writes through this node are refused: its clock differs too much from the other nodes'. Set the clocks by NTP", "why", v.Trust)
	}
	if v.Doubt == nil && v.Trust == nil {
		log.Info("the clock agrees with the other nodes'; writes through this node are stamped by it")
	}
}

// readClocks asks all other members, whatever gossip says of them, and gives what came in time.
func (n *Node) readClocks(ctx context.Context) (others int, answers []clock.Reading) {
	members := n.cluster.View().Ring.Nodes()
	read := make(chan *clock.Reading, len(members)) // as many as may be asked: nobody waits to answer
	for _, m := range members {
		if m.ID == n.cluster.self {
			continue
		}
		others++
		sent := time.Now()
		n.fetchStatus(m, skewTimeout, func(r report, err error) {
			if err != nil {
				read <- nil
				return
			}
			reading := n.clock.Read(m.Address, r.Wall, r.Stamp, time.Since(sent)/2)
			read <- &reading
		})
	}
	for range others {
		select {
		case r := <-read:
			if r != nil {
				answers = append(answers, *r)
			}
		case <-ctx.Done():
			return others, answers
		}
	}
	return others, answers
}

// checkClock judges the clock before the first request. Who is not yet part of the ring is refused with a clock far off; who is starts all the same, and
// refuses to write.
func (n *Node) checkClock(ctx context.Context, entering bool) error {
	if v := n.judgeClock(ctx); v.Trust != nil && entering {
		return fmt.Errorf("%w; set this machine's clock by NTP and start again", v.Trust)
	}
	return nil
}
