package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"nodedb/node/disk"
	"nodedb/node/row"
	"nodedb/vnodes"
)

// Limit is what one operation costs by raw Pebble and through the engine, with the same bytes, the same options and the
// same sync.
type Limit struct {
	Name   string // what is done, and how many wait at once
	Raw    Cost   // Pebble alone
	Engine Cost
}

// Cost of one kind of operation.
type Cost struct {
	PerSecond float64 // operations a second of wall time
	CPU       float64 // microseconds of the process's CPU time an operation, flushes and compactions included; 0 where the system does not tell
}

// Ratio is the engine's share of raw Pebble's rate.
func (l Limit) Ratio() float64 { return l.Engine.PerSecond / l.Raw.PerSecond }

// CPURatio is raw Pebble's CPU time an operation divided by the engine's: what holds on a busy machine too.
func (l Limit) CPURatio() float64 { return l.Raw.CPU / l.Engine.CPU }

const (
	limitTable  = row.StorageID(1)
	limitValue  = 100     // bytes a row's value
	limitRows   = 200_000 // rows that reads and scans find
	limitBatch  = 500     // rows a batch while they are written
	limitColumn = row.ColumnID(1)

	// limitTurns is how often raw and engine take turns, so that both meet the same weather.
	limitTurns = 5
)

// limitBench is an engine of its own with rows of limitValue bytes.
type limitBench struct {
	e    *Engine
	raw  bool  // go to Pebble, past the engine
	rows int64 // that reads find
	next atomic.Int64
}

// openLimits opens an empty store, without a row cache: what it measures is the way to the rows.
func openLimits(fs disk.FS, dir string, mode SyncMode, raw bool) (*limitBench, error) {
	e, err := Open(Options{FS: fs, Dir: dir, Sync: mode, SyncPeriod: 10 * time.Millisecond, RowBytes: -1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	return &limitBench{e: e, raw: raw, rows: limitRows}, e.SetTables(map[row.StorageID]TableKind{limitTable: OnDisk}, limitTable)
}

// limitKey spreads n over the ring, as Murmur3 would, and gives its partition key.
func limitKey(n int64) (vnodes.Token, []byte) {
	h := uint64(n+1) * 0x9E3779B97F4A7C15
	h ^= h >> 29
	h *= 0xBF58476D1CE4E5B9
	return vnodes.Token(h ^ h>>32), binary.BigEndian.AppendUint64(make([]byte, 0, 16), uint64(n))
}

// limitFragment is a row of one cell of limitValue bytes that don't compress.
func limitFragment(n int64) []byte {
	value := make([]byte, limitValue)
	x := uint64(n)*0x9E3779B97F4A7C15 + 1
	for i := 0; i+8 <= len(value); i += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		binary.LittleEndian.PutUint64(value[i:], x)
	}
	var b row.Builder
	b.Add(row.Cell{Column: limitColumn, Timestamp: n + 1, Value: value})
	return b.Append(nil)
}

// write writes one new row and calls done.
func (l *limitBench) write(done func(error)) {
	n := l.next.Add(1)
	token, key := limitKey(n)
	fragment := limitFragment(n)
	if !l.raw {
		l.e.Apply([]row.Mutation{{Storage: limitTable, Token: token, Key: key, Rows: []row.Entry{{Fragment: fragment}}}}, done)
		return
	}
	b := l.e.db.NewBatch()
	_ = b.Set(append(appendPrefix(nil, limitTable, token, key), markerRow), fragment, nil)
	done(b.Commit(&pebble.WriteOptions{Sync: l.e.mode == SyncBatch}))
	_ = b.Close()
}

// read reads the row of partition n.
func (l *limitBench) read(ctx context.Context, n int64, buf []byte) ([]byte, error) {
	token, key := limitKey(n)
	if !l.raw {
		return l.e.Read(ctx, &ReadSpec{Storage: limitTable, Token: token, Key: key, Now: 1, RowLimit: 1}, buf)
	}
	value, closer, err := l.e.db.Get(append(appendPrefix(nil, limitTable, token, key), markerRow))
	if err != nil {
		return nil, err
	}
	return append(buf[:0], value...), closer.Close()
}

// scan reads all rows and gives their number.
func (l *limitBench) scan(ctx context.Context, buf []byte) (rows int, err error) {
	if l.raw {
		lower, upper := tableSpan(limitTable)
		it, err := l.e.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
		if err != nil {
			return 0, err
		}
		for ok := it.First(); ok; ok = it.Next() {
			value, _ := it.ValueAndErr() // Close has the error too
			buf = append(buf[:0], value...)
			rows++
		}
		return rows, it.Close()
	}
	spec := ReadSpec{Storage: limitTable, Range: vnodes.Range{Start: vnodes.MinToken, End: vnodes.MaxToken}, Now: 1}
	var r row.PageReader
	for {
		before := l.e.counts.entries.Load()
		page, err := l.e.Read(ctx, &spec, buf)
		if err != nil {
			return rows, err
		}
		buf = page
		rows += int(l.e.counts.entries.Load() - before)
		if spec.After, err = stopOf(&r, page); err != nil || spec.After == nil {
			return rows, err
		}
	}
}

// stopOf walks over a page to its end.
func stopOf(r *row.PageReader, page []byte) (*row.Position, error) {
	r.Reset(page)
	for {
		if event, err := r.Next(); err != nil || event == row.PageEnd {
			return r.Stop(), err
		}
	}
}

// fill writes the rows, in batches, and compacts them.
func (l *limitBench) fill() error {
	errs := make(chan error, l.rows/limitBatch)
	for at := int64(0); at < l.rows; at += limitBatch {
		ms := make([]row.Mutation, limitBatch)
		for i := range ms {
			n := at + int64(i) + 1
			token, key := limitKey(n)
			ms[i] = row.Mutation{Storage: limitTable, Token: token, Key: key, Rows: []row.Entry{{Fragment: limitFragment(n)}}}
		}
		l.e.Apply(ms, func(err error) { errs <- err })
	}
	for range l.rows / limitBatch {
		if err := <-errs; err != nil {
			return err
		}
	}
	lower, upper := tableSpan(limitTable)
	return l.e.db.Compact(context.Background(), lower, upper, false)
}

// MeasureLimits measures, in an empty directory, what Pebble alone and the engine reach on this machine, each for about
// d: synced writes with 1, 16, 64 and 256 waiting, periodically synced writes, point reads, a scan.
func MeasureLimits(ctx context.Context, fs disk.FS, dir string, d time.Duration) ([]Limit, error) {
	return measureLimits(ctx, fs, dir, d, limitRows)
}

func measureLimits(ctx context.Context, fs disk.FS, dir string, d time.Duration, rows int64) ([]Limit, error) {
	var limits []Limit
	for i, c := range []struct {
		mode    SyncMode
		waiting int
	}{{SyncBatch, 1}, {SyncBatch, 16}, {SyncBatch, 64}, {SyncBatch, 256}, {SyncPeriodic, 1}} {
		l, err := measureWrites(ctx, fs, fs.PathJoin(dir, fmt.Sprint("writes-", i)), c.mode, c.waiting, d)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.Name, err)
		}
		limits = append(limits, l)
	}
	reads, err := measureReads(ctx, fs, fs.PathJoin(dir, "reads"), d, rows)
	return append(limits, reads...), err
}

// takeTurns has raw and engine work for d each, in turns. A side works until its deadline and gives how much it did.
func takeTurns(ctx context.Context, name string, d time.Duration, raw, engine func(deadline time.Time) (int64, error)) (Limit, error) {
	l := Limit{Name: name}
	var ops [2]int64
	var wall, cpu [2]time.Duration
	for range limitTurns {
		for i, side := range []func(time.Time) (int64, error){raw, engine} {
			start, used := time.Now(), cpuTime()
			n, err := side(start.Add(d / limitTurns))
			if err = errors.Join(err, ctx.Err()); err != nil {
				return l, err
			}
			ops[i] += n
			wall[i] += time.Since(start)
			cpu[i] += cpuTime() - used
		}
	}
	cost := func(i int) Cost {
		return Cost{PerSecond: float64(ops[i]) / wall[i].Seconds(), CPU: cpu[i].Seconds() * 1e6 / float64(ops[i])}
	}
	l.Raw, l.Engine = cost(0), cost(1)
	return l, nil
}

func measureWrites(ctx context.Context, fs disk.FS, dir string, mode SyncMode, waiting int, d time.Duration) (l Limit, err error) {
	name := fmt.Sprintf("write 100 B, synced, %d waiting", waiting)
	if mode == SyncPeriodic {
		name = "write 100 B, synced every 10 ms"
	}
	raw, err := openLimits(fs, dir+"-raw", mode, true)
	if err != nil {
		return l, err
	}
	engine, err := openLimits(fs, dir+"-engine", mode, false)
	if err != nil {
		return l, errors.Join(err, raw.e.Close())
	}
	side := func(b *limitBench) func(time.Time) (int64, error) {
		return func(deadline time.Time) (int64, error) { return b.writeUntil(ctx, deadline, waiting) }
	}
	l, err = takeTurns(ctx, name, d, side(raw), side(engine))
	return l, errors.Join(err, raw.e.Close(), engine.e.Close())
}

// writeUntil keeps so many writes waiting. Raw Pebble's Commit blocks: it needs a goroutine each; the engine is driven
// by one.
func (l *limitBench) writeUntil(ctx context.Context, deadline time.Time, waiting int) (int64, error) {
	slots, failed := make(chan struct{}, waiting), atomic.Pointer[error]{}
	before := l.next.Load()
	done := func(err error) {
		if err != nil {
			failed.CompareAndSwap(nil, &err)
		}
		<-slots
	}
	workers := 1
	if l.raw {
		workers = waiting
	}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for time.Now().Before(deadline) && ctx.Err() == nil && failed.Load() == nil {
				slots <- struct{}{}
				l.write(done)
			}
		})
	}
	wg.Wait()
	for range waiting { // the last ones
		slots <- struct{}{}
	}
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return l.next.Load() - before, nil
}

// measureReads measures point reads and scans over compacted rows, in one store.
func measureReads(ctx context.Context, fs disk.FS, dir string, d time.Duration, rows int64) ([]Limit, error) {
	engine, err := openLimits(fs, dir, SyncPeriodic, false)
	if err != nil {
		return nil, err
	}
	engine.rows = rows
	if err := engine.fill(); err != nil {
		return nil, errors.Join(err, engine.e.Close())
	}
	raw := &limitBench{e: engine.e, raw: true, rows: rows}
	buf := make([]byte, 0, 2*defaultByteLimit)
	read := func(b *limitBench) func(time.Time) (int64, error) {
		return func(deadline time.Time) (n int64, err error) { return b.readUntil(ctx, deadline, buf) }
	}
	scan := func(b *limitBench) func(time.Time) (int64, error) {
		return func(deadline time.Time) (n int64, err error) { return b.scanUntil(ctx, deadline, buf) }
	}
	point, err := takeTurns(ctx, "read one row, warm", d, read(raw), read(engine))
	all, scanErr := takeTurns(ctx, "scan 100 B rows, each a partition", d, scan(raw), scan(engine))
	return []Limit{point, all}, errors.Join(err, scanErr, engine.e.Close())
}

func (l *limitBench) readUntil(ctx context.Context, deadline time.Time, buf []byte) (n int64, err error) {
	for ; time.Now().Before(deadline) && ctx.Err() == nil; n++ {
		if buf, err = l.read(ctx, l.next.Add(7919)%l.rows+1, buf); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (l *limitBench) scanUntil(ctx context.Context, deadline time.Time, buf []byte) (rows int64, err error) {
	for time.Now().Before(deadline) && ctx.Err() == nil {
		n, err := l.scan(ctx, buf)
		if rows += int64(n); err != nil {
			return rows, err
		}
	}
	return rows, nil
}
