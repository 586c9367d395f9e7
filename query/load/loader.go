package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"nodedb/query/types"
	"nodedb/query/wire"
)

// loader is one load: it reads, converts and groups rows, and gives them to the sender.
type loader struct {
	o               Options
	in              *input
	keyspace, table string
	started         time.Time

	source  rowSource
	stmt    *statement
	hosts   *hosts
	sender  *sender
	rejects *rejects
	groups  *groups
	bar     *bar
	stamp   int64 // the last row's timestamp, µs
	number  int64 // the last row read
	result  Summary
}

func (l *loader) run(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	if err := l.prepare(ctx); err != nil {
		return err
	}
	l.sender = newSender(&l.o, l.hosts, l.stmt.columns, l.rejects, fail)
	// Retries end with ctx; what is in flight then has a moment for its answer before the connections go.
	stopping := context.AfterFunc(ctx, func() {
		time.AfterFunc(stopGrace, l.hosts.stop)
	})
	l.sender.start(ctx)
	l.bar = startBar(l)
	err := l.read(ctx)
	l.sender.drain()
	stopping()
	connected := l.hosts.connected()
	l.hosts.close()
	l.bar.finish()
	l.result.Hosts = connected // only now: the bar reads the result
	if cause := context.Cause(ctx); cause != nil {
		err = cause
		if !errors.Is(err, ErrStopped) {
			err = fmt.Errorf("%w after row %d: %w", ErrStopped, l.number, cause)
		}
	}
	return errors.Join(err, l.rejects.close())
}

// prepare connects, learns the table's columns, reads the header and prepares the statement. Nothing is written before all of it holds.
func (l *loader) prepare(ctx context.Context) error {
	conn, addr, err := dialFirst(ctx, &l.o)
	if err != nil {
		return err
	}
	others, p, err := l.prepareOn(ctx, conn, addr)
	if err != nil {
		_ = conn.Close()
		return err
	}
	// Connections outlive ctx for a moment (run), hence the context without its end.
	l.hosts = newHosts(context.WithoutCancel(ctx), &l.o, l.stmt.cql, conn, addr, p, others)
	return nil
}

func (l *loader) summary() Summary {
	s := l.result
	s.Table = l.keyspace + "." + l.table
	s.Seconds = time.Since(l.started).Seconds()
	s.Bytes = l.in.read.Load()
	if l.sender != nil {
		s.Rows, s.Requests, s.Retries = l.sender.rows.Load(), l.sender.requests.Load(), l.sender.retries.Load()
	}
	if l.rejects != nil {
		if s.Rejects = l.rejects.total(); s.Rejects > 0 {
			s.RejectsFile = l.rejects.path
		}
	}
	if s.Seconds > 0 {
		s.RowsPerSec = float64(s.Rows) / s.Seconds
	}
	return s
}

// read takes rows from the input to its end. Rows wait in groups until a window is full or the input would have to be waited for.
func (l *loader) read(ctx context.Context) error {
	l.source.lines().beforeRead = func() { l.flush(ctx) }
	for ctx.Err() == nil {
		w, bad, err := l.source.next()
		switch {
		case err == io.EOF:
			l.flush(ctx)
			return nil
		case err != nil:
			l.flush(ctx)
			return fmt.Errorf("%w: %s, after row %d: %w", ErrInput, l.in.name, l.number, err)
		}
		if err := l.take(ctx, w, bad); err != nil {
			return err
		}
	}
	l.flush(ctx)
	return nil
}

// take puts one row into its group, or among the rejects.
func (l *loader) take(ctx context.Context, w *row, bad *reject) error {
	l.number++
	if l.number <= l.o.Skip {
		return nil
	}
	if bad != nil {
		if err := l.rejects.add(bad); err != nil {
			l.flush(ctx)
			return err
		}
		return nil
	}
	l.stamp = max(l.stamp+1, l.o.Now().UnixMicro())
	w.set(len(w.values)-1, types.AppendInt64(make([]byte, 0, 8), l.stamp))
	if full := l.groups.add(w, l.o.BatchRows); full != nil {
		l.sender.submit(ctx, full.rows)
	}
	if l.groups.rows >= windowRows || l.groups.size >= windowBytes {
		l.flush(ctx)
	}
	return nil
}

// flush gives all groups to the sender.
func (l *loader) flush(ctx context.Context) {
	for _, g := range l.groups.take() {
		if len(g.rows) > 0 {
			l.sender.submit(ctx, g.rows)
		}
	}
}

// prepareOn does on one connection what prepare says.
func (l *loader) prepareOn(ctx context.Context, conn Conn, addr string) (others []string, p *wire.Prepared, err error) {
	all, err := tableColumns(ctx, conn, l.keyspace, l.table)
	if err != nil {
		return nil, nil, err
	}
	l.source = newSource(&l.o, l.in.r)
	columns, header, err := l.source.begin(all)
	if err != nil {
		return nil, nil, fmt.Errorf("%s into %s.%s: %w", l.in.name, l.keyspace, l.table, err)
	}
	l.stmt = newStatement(l.keyspace, l.table, columns, l.o.TTL)
	if p, err = conn.Prepare(ctx, l.stmt.cql); err != nil {
		return nil, nil, fmt.Errorf("%w %s.%s: %w", ErrTable, l.keyspace, l.table, err)
	}
	if err := l.stmt.adopt(p); err != nil {
		return nil, nil, err
	}
	l.source.use(l.stmt.types)
	l.groups = newGroups(columns)
	l.rejects = &rejects{path: l.o.Rejects, header: header}
	for _, other := range l.o.Hosts {
		others = append(others, withPort(other))
	}
	if !l.o.Single {
		others = append(others, peers(ctx, conn, addr)...)
	}
	return others, p, nil
}
