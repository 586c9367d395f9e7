package proc

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"nodedb/coordinator/consistency"
	"nodedb/query/types"
	"nodedb/query/wire"
)

const (
	// bucketRows is how many writes go to one partition.
	bucketRows = 5000
	// connectPause is how long a writer waits before it tries the next node when none could be reached.
	connectPause = 20 * time.Millisecond
)

// Workload writes numbered rows at QUORUM through the nodes it is told, as fast as they go, and remembers which were acknowledged. A write that
// ends in an error is unknown: it may be there or not. What was acknowledged has to be there, whatever was killed meanwhile.
type Workload struct {
	Table   string  // ks.table; Setup makes it
	Nodes   []*Node // coordinators to write through; a writer whose connection breaks goes on with the next
	Writers int     // connections
	Window  int     // unanswered writes a connection

	acked, unknown atomic.Int64
	writers        []*writer
	stop           context.CancelFunc
	running        sync.WaitGroup
}

// writer is one connection's part: rows (id, 0…).
type writer struct {
	id int
	mu struct {
		sync.Mutex
		acked []bool // by sequence number
	}
}

// Setup makes the table.
func (w *Workload) Setup(ctx context.Context, c *wire.Client) error {
	_, err := c.Query(ctx, "CREATE TABLE IF NOT EXISTS "+w.Table+
		" (writer int, bucket int, seq int, value text, PRIMARY KEY ((writer, bucket), seq))", nil)
	return err
}

// Start starts the writers. They go on where the last Start's left off.
func (w *Workload) Start(ctx context.Context) {
	ctx, w.stop = context.WithCancel(ctx)
	for i := range w.Writers {
		if i == len(w.writers) {
			w.writers = append(w.writers, &writer{id: i})
		}
		wr := w.writers[i]
		w.running.Add(1)
		go func() {
			defer w.running.Done()
			w.run(ctx, wr)
		}()
	}
}

// Stop ends the writers and waits for the answers that are under way.
func (w *Workload) Stop() {
	w.stop()
	w.running.Wait()
}

// Counts gives how many writes were acknowledged, and how many ended in an error.
func (w *Workload) Counts() (acked, unknown int64) { return w.acked.Load(), w.unknown.Load() }

// AwaitAcked returns once so many writes more were acknowledged.
func (w *Workload) AwaitAcked(ctx context.Context, more int64) error {
	until := w.acked.Load() + more
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for w.acked.Load() < until {
		select {
		case <-ctx.Done():
			acked, unknown := w.Counts()
			return fmt.Errorf("waited in vain for %d acknowledged writes; %d acknowledged, %d unknown: %w", until, acked, unknown, ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

// run writes through one node after another until ctx ends.
func (w *Workload) run(ctx context.Context, wr *writer) {
	for next := wr.id; ctx.Err() == nil; next++ {
		c, err := w.Nodes[next%len(w.Nodes)].Dial(ctx)
		if err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(connectPause):
			}
			continue
		}
		w.writeThrough(ctx, c, wr)
		_ = c.Close()
	}
}

// writeThrough writes on one connection until it breaks or ctx ends; then it waits for the answers.
func (w *Workload) writeThrough(ctx context.Context, c *wire.Client, wr *writer) {
	st, err := c.Prepare(ctx, "INSERT INTO "+w.Table+" (writer, bucket, seq, value) VALUES (?, ?, ?, ?)")
	if err != nil {
		return
	}
	var answers sync.WaitGroup
	defer answers.Wait()
	window := make(chan struct{}, w.Window)
	for ctx.Err() == nil && c.Err() == nil {
		window <- struct{}{}
		seq := wr.next()
		answers.Add(1)
		err := c.SendWait(ctx, &wire.Execute{ID: st.ID, Params: wire.Params{Consistency: uint16(consistency.Quorum), Values: values(wr.id, seq)}},
			func(r wire.Response, err error) {
				if err == nil {
					err = r.Err()
				}
				w.answered(wr, seq, err)
				<-window
				answers.Done()
			})
		if err != nil {
			w.answered(wr, seq, err)
			<-window
			answers.Done()
			return
		}
	}
}

func (w *Workload) answered(wr *writer, seq int, err error) {
	if err != nil {
		w.unknown.Add(1)
		return
	}
	wr.mu.Lock()
	wr.mu.acked[seq] = true
	wr.mu.Unlock()
	w.acked.Add(1)
}

func (wr *writer) next() int {
	wr.mu.Lock()
	defer wr.mu.Unlock()
	wr.mu.acked = append(wr.mu.acked, false)
	return len(wr.mu.acked) - 1
}

func values(writer, seq int) [][]byte {
	return [][]byte{
		types.AppendInt32(nil, int32(writer)), types.AppendInt32(nil, int32(seq/bucketRows)), types.AppendInt32(nil, int32(seq)),
		[]byte(valueOf(writer, seq)),
	}
}

func valueOf(writer, seq int) string { return fmt.Sprintf("row %d of writer %d", seq, writer) }

// Verify reads everything at QUORUM through a node and counts the acknowledged rows that are absent or wrong. The first few are named.
func (w *Workload) Verify(ctx context.Context, n *Node) (lost int, examples []string, err error) {
	c, err := n.Dial(ctx)
	if err != nil {
		return 0, nil, err
	}
	defer c.Close()
	for _, wr := range w.writers {
		found := make([]bool, len(wr.mu.acked))
		for bucket := 0; bucket*bucketRows < len(found); bucket++ {
			rows, err := Ask(ctx, c, consistency.Quorum, fmt.Sprintf("SELECT seq, value FROM %s WHERE writer = %d AND bucket = %d", w.Table, wr.id, bucket))
			if err != nil {
				return 0, nil, err
			}
			for _, r := range rows {
				var seq int
				if _, err := fmt.Sscanf(r, "%d|", &seq); err == nil && seq < len(found) && r == fmt.Sprintf("%d|%s", seq, valueOf(wr.id, seq)) {
					found[seq] = true
				}
			}
		}
		for seq, acked := range wr.mu.acked {
			if acked && !found[seq] {
				lost++
				if len(examples) < 5 {
					examples = append(examples, fmt.Sprintf("writer %d, row %d", wr.id, seq))
				}
			}
		}
	}
	return lost, examples, nil
}
