package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"nodedb/query/wire"
)

// VolumeOptions of MeasureVolume.
type VolumeOptions struct {
	Binary   string // nodedb's
	Prefix   string // first three numbers of the node's address
	Dir      string // where its data lies, for as long as it takes; "": a temporary folder
	Sync     string // commitlog_sync
	Bytes    int64  // of rows to write: keys and values
	Steps    int    // so many figures on the way
	InFlight int
	Idle     time.Duration // how long the node is watched while nothing is asked of it
	Quiet    time.Duration // a disk left alone for so long has settled; and a node that started so long ago has done what it begins with
	Progress io.Writer
}

// Volume is what a node cost that took in many bytes: while they came, when it started with them, and while it had nothing to do.
type Volume struct {
	RowBytes int64        `json:"row_bytes"`
	Steps    []VolumeStep `json:"steps"`
	// Settled is when its compactions had caught up: nothing more was written to the disk.
	Settled VolumeStep `json:"settled"`
	Starts  []Start    `json:"starts"`
	Idle    Idle       `json:"idle"`
}

// VolumeStep is one stretch of writing; what it says of the disk counts from the beginning.
type VolumeStep struct {
	Bytes         int64   `json:"bytes"` // of rows, since the beginning
	OpsPerSec     float64 `json:"ops_per_second,omitempty"`
	ServerCPU     float64 `json:"server_cpu_us_per_op,omitempty"`
	P99           int64   `json:"p99_us,omitempty"`
	Max           int64   `json:"max_us,omitempty"`
	Written       int64   `json:"written_bytes"`       // to the disk, by the node's own count (writtenMetric)
	Amplification float64 `json:"write_amplification"` // Written / Bytes: log, flushes and compactions
	OnDisk        int64   `json:"disk_bytes"`
	RSS           int64   `json:"resident_bytes"`
}

// Start is how long a node took from the start of its process to the first right answer to a client.
type Start struct {
	After   string  `json:"after"` // how it had ended
	Seconds float64 `json:"seconds"`
}

// Idle is what a node costs while nobody asks it for anything.
type Idle struct {
	Seconds float64 `json:"seconds"`
	CPU     float64 `json:"cpu_share_of_a_core"`
	RSS     int64   `json:"resident_bytes"`
}

// rowBytes is what a row of userTable holds: a key and ten fields.
const rowBytes = 24 + 10*fieldBytes

// Times of MeasureVolume.
const (
	settleWithin = 5 * time.Minute
	settlePolls  = 4       // looks at the disk in the time that it is to be quiet
	quietBytes   = 1 << 20 // between two looks: less is no compaction
	answerPoll   = 2 * time.Millisecond
	farAway      = 24 * time.Hour // writing ends by the number of rows
)

// MeasureVolume fills one node and says what that, a start, and idling cost.
func MeasureVolume(ctx context.Context, o VolumeOptions) (v *Volume, err error) {
	rows := o.Bytes / rowBytes
	if o.Steps < 1 || rows < int64(o.Steps) || o.InFlight < 1 || o.InFlight > MaxInFlight || o.Idle <= 0 || o.Quiet <= 0 {
		return nil, fmt.Errorf("%w: want at least one row a step, 1 to %d in flight, and some time to settle and to idle", ErrOptions, MaxInFlight)
	}
	s := &ownSystem{binary: o.Binary, prefix: o.Prefix, sync: o.Sync, parent: o.Dir}
	defer func() { err = errors.Join(err, s.wipe()) }()
	hosts, pids, err := s.start(ctx, 1)
	if err != nil {
		return nil, err
	}
	v = &Volume{RowBytes: rowBytes}
	for step := range int64(o.Steps) {
		from, to := rows*step/int64(o.Steps), rows*(step+1)/int64(o.Steps)
		r, err := Run(ctx, Options{
			Hosts: hosts, Pids: pids, Workloads: []string{"insert1k"}, InFlight: []int{o.InFlight}, Ops: to - from, Seconds: farAway, Rows: from, Keep: from > 0,
		})
		if err != nil {
			return v, err
		}
		at, err := s.volume(ctx, to)
		if err != nil {
			return v, err
		}
		res := r.Results[0]
		at.OpsPerSec, at.ServerCPU, at.P99, at.Max = res.OpsPerSec, res.ServerCPU, res.Latency.P99, res.Latency.Max
		v.Steps = append(v.Steps, at)
		o.say("%.1f GB written: %.0f rows/s, write amplification %.2f", gigabytes(at.Bytes), at.OpsPerSec, at.Amplification)
	}
	if err := s.settle(ctx, o.Quiet); err != nil {
		return v, err
	}
	if v.Settled, err = s.volume(ctx, rows); err != nil {
		return v, err
	}
	if err := v.starts(ctx, &o, s); err != nil {
		return v, err
	}
	v.Idle, err = s.idle(ctx, &o)
	return v, err
}

func (o *VolumeOptions) say(format string, args ...any) {
	if o.Progress != nil {
		fmt.Fprintf(o.Progress, format+"\n", args...)
	}
}

// volume is how things are with so many rows.
func (s *ownSystem) volume(ctx context.Context, rows int64) (v VolumeStep, err error) {
	v = VolumeStep{Bytes: rows * rowBytes, RSS: serverResident([]int{s.cluster.Nodes[0].Pid()})}
	if v.Written, err = s.written(ctx); err != nil {
		return v, err
	}
	v.Amplification = float64(v.Written) / float64(v.Bytes)
	v.OnDisk, err = diskBytes(s.cluster.Nodes[0].Dir)
	return v, err
}

// writtenMetric is what a node has written: its log, flushes and compactions, compressed as they were. The kernel's own count (/proc/PID/io) is of pages that were
// dirtied, and where a file system keeps pages in large folios each small write of a log that is used again dirties a whole one: 5 to 50 bytes were counted for each that
// went to the disk (ext4, Linux 6.18).
const writtenMetric = "nodedb_storage_written_bytes"

// maxMetrics bounds a node's page of metrics, in bytes.
const maxMetrics = 4 << 20

// written asks the node for writtenMetric.
func (s *ownSystem) written(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, schemaTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.cluster.Nodes[0].URL("/metrics"), nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxMetrics))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(text), "\n"+writtenMetric+" ")
	line, _, _ := strings.Cut(after, "\n")
	n, err := strconv.ParseFloat(line, 64)
	if err != nil {
		return 0, fmt.Errorf("the node's metrics don't tell %s: %w", writtenMetric, err)
	}
	return int64(n), nil
}

// diskBytes is what a folder's files take on disk. Files that go while it looks count nothing.
func diskBytes(dir string) (sum int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			sum += allocated(info)
		}
		return err
	})
	return sum, err
}

// settle waits until the node leaves the disk alone.
func (s *ownSystem) settle(ctx context.Context, quiet time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	tick := time.NewTicker(quiet / settlePolls)
	defer tick.Stop()
	pids := []int{s.cluster.Nodes[0].Pid()}
	before, since := serverWritten(pids), time.Now()
	for time.Since(since) < quiet {
		select {
		case <-ctx.Done():
			return fmt.Errorf("the node still writes to its disk after %s: %w", settleWithin, ctx.Err())
		case <-tick.C:
		}
		now := serverWritten(pids)
		if now-before > quietBytes {
			since = time.Now()
		}
		before = now
	}
	return nil
}

// starts ends the node, by force and in peace, and times how soon it answers again.
func (v *Volume) starts(ctx context.Context, o *VolumeOptions, s *ownSystem) error {
	n := s.cluster.Nodes[0]
	for _, end := range []struct {
		how string
		do  func() error
	}{{"kill -9", n.Kill}, {"a clean stop", n.Drain}, {"a clean stop", n.Drain}} {
		if err := end.do(); err != nil {
			return err
		}
		begun := time.Now()
		if err := n.Launch(); err != nil {
			return err
		}
		if err := awaitRow(ctx, n.CQL()); err != nil {
			return fmt.Errorf("after %s: %w", end.how, err)
		}
		v.Starts = append(v.Starts, Start{end.how, time.Since(begun).Seconds()})
		o.say("first answer %.3f s after the start, after %s", time.Since(begun).Seconds(), end.how)
	}
	return nil
}

// awaitRow asks for the first row until it is there.
func awaitRow(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, schemaTimeout)
	defer cancel()
	tick := time.NewTicker(answerPoll)
	defer tick.Stop()
	for {
		err := askRow(ctx, addr)
		if err == nil || errors.Is(err, ErrWrong) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

func askRow(ctx context.Context, addr string) error {
	c, err := wire.Dial(ctx, addr, wire.ClientOptions{Timeout: requestTimeout})
	if err != nil {
		return err
	}
	defer c.Close()
	key, _ := userTable.key(nil, 0)
	res, err := c.Query(ctx, userTable.statements(DefaultKeyspace)[readRow], &wire.Params{Consistency: 1, Values: [][]byte{key}})
	if err != nil {
		return err
	}
	if !res.Next() {
		return errors.Join(res.Err(), fmt.Errorf("%w: the first row is gone", ErrWrong))
	}
	return checkValue(res.Row()[1], seedOf(key, 0))
}

// idle watches the node while nothing is asked of it.
func (s *ownSystem) idle(ctx context.Context, o *VolumeOptions) (i Idle, err error) {
	wait := func(d time.Duration) error {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
			return nil
		}
	}
	if err := wait(o.Quiet); err != nil {
		return i, err
	}
	m := meter{pids: []int{s.cluster.Nodes[0].Pid()}}
	begun, before := time.Now(), m.read()
	err = wait(o.Idle)
	i.Seconds = time.Since(begun).Seconds()
	i.CPU, i.RSS = m.read().since(before).server.Seconds()/i.Seconds, m.resident()
	return i, err
}

func gigabytes(n int64) float64 { return float64(n) / 1e9 }

// Print writes the tables.
func (v *Volume) Print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "rows GB\trows/s\tserver µs/row\tp99 ms\tmax ms\tto disk GB\tamplification\ton disk GB\tresident MB\t")
	for _, s := range append(v.Steps, v.Settled) {
		speed := "settled\t\t\t\t"
		if s.OpsPerSec > 0 {
			speed = fmt.Sprintf("%s\t%.1f\t%.1f\t%.1f\t", rate(s.OpsPerSec), s.ServerCPU, millis(s.P99), millis(s.Max))
		}
		fmt.Fprintf(w, "%.2f\t%s%.2f\t%.2f\t%.2f\t%d\t\n", gigabytes(s.Bytes), speed, gigabytes(s.Written), s.Amplification, gigabytes(s.OnDisk), s.RSS>>20)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, s := range v.Starts {
		fmt.Fprintf(out, "first answer after %s: %.3f s\n", s.After, s.Seconds)
	}
	_, err := fmt.Fprintf(out, "idle for %.0f s: %.2f%% of a core, %d MB resident\n", v.Idle.Seconds, 100*v.Idle.CPU, v.Idle.RSS>>20)
	return err
}
