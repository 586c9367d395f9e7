package load

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"nodedb/query/types"
	"nodedb/query/wire"
)

// server is a node that knows one table, keeps the newest cell by timestamp, and answers as its faults say.
type server struct {
	net.Listener
	table []wire.Column
	kinds []string // of the columns

	mu struct {
		sync.Mutex
		rows       map[string]map[string]cell // primary key, column
		statements map[string][]string        // prepared: columns of the markers
		requests   int
		batches    int
		widest     int // rows in one batch
		conns      []net.Conn
		peers      []string
		fault      func(request int, rows []map[string][]byte) *wire.Error // nil: none
	}
	owned sync.WaitGroup
}

type cell struct {
	value []byte
	stamp int64
}

func newServer(t testing.TB, columns ...string) *server {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Listener: l}
	for _, c := range columns {
		f := strings.SplitN(c, " ", 3) // name, kind, type
		typ, err := types.Parse(f[2], nil)
		if err != nil {
			t.Fatal(err)
		}
		s.table = append(s.table, wire.Column{Keyspace: "ks", Table: "t", Name: f[0], Type: typ})
		s.kinds = append(s.kinds, f[1])
	}
	s.mu.rows = map[string]map[string]cell{}
	s.mu.statements = map[string][]string{}
	s.owned.Go(s.accept)
	t.Cleanup(func() { l.Close(); s.drop(); s.owned.Wait() })
	return s
}

// drop cuts all connections.
func (s *server) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.mu.conns {
		c.Close()
	}
	s.mu.conns = nil
}

func (s *server) accept() {
	for {
		conn, err := s.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.mu.conns = append(s.mu.conns, conn)
		s.mu.Unlock()
		w := wire.NewWriter(conn, wire.WriterOptions{})
		s.owned.Go(func() { _ = w.Run(); conn.Close() })
		s.owned.Go(func() { s.serve(conn, w) })
	}
}

func (s *server) serve(conn net.Conn, w *wire.Writer) {
	defer w.Close()
	r := wire.NewFrameReader(conn, wire.MaxFrameBytes)
	for {
		h, body, err := r.Next()
		if err != nil {
			return
		}
		op, answer := s.answer(h, body)
		h.Response, h.Op, h.Flags = true, op, 0
		_ = w.End(append(w.Begin(h), answer...))
	}
}

func (s *server) answer(h wire.Header, body []byte) (wire.Opcode, []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fail := func(e *wire.Error) (wire.Opcode, []byte) { return wire.OpError, e.Append(nil, h.Version) }
	switch h.Op {
	case wire.OpStartup:
		return wire.OpReady, nil
	case wire.OpQuery:
		var q wire.Query
		if err := q.Decode(body, h.Version); err != nil {
			return fail(wire.Errorf(wire.CodeProtocol, "%v", err))
		}
		return wire.OpResult, s.query(&q)
	case wire.OpPrepare:
		var p wire.Prepare
		if err := p.Decode(body, h.Version); err != nil {
			return fail(wire.Errorf(wire.CodeProtocol, "%v", err))
		}
		return wire.OpResult, s.prepare(p.CQL).Append(nil, h.Version)
	case wire.OpExecute:
		var e wire.Execute
		if err := e.Decode(body, h.Version); err != nil {
			return fail(wire.Errorf(wire.CodeProtocol, "%v", err))
		}
		return s.write(h, []wire.BatchStatement{{ID: e.ID, Values: e.Values, Unset: e.Unset}})
	case wire.OpBatch:
		var b wire.Batch
		if err := b.Decode(body, h.Version); err != nil {
			return fail(wire.Errorf(wire.CodeProtocol, "%v", err))
		}
		s.mu.batches++
		s.mu.widest = max(s.mu.widest, len(b.Statements))
		return s.write(h, b.Statements)
	}
	return fail(wire.Errorf(wire.CodeProtocol, "unexpected %s", h.Op))
}

func (s *server) query(q *wire.Query) []byte {
	text := func(name string) wire.Column {
		return wire.Column{Keyspace: "system", Table: "x", Name: name, Type: types.VarcharType}
	}
	if strings.Contains(q.CQL, "system.peers_v2") {
		meta := wire.EncodeMetadata([]wire.Column{{Keyspace: "system", Table: "x", Name: "native_address", Type: types.InetType},
			{Keyspace: "system", Table: "x", Name: "native_port", Type: types.IntType}})
		var rows []byte
		for _, p := range s.mu.peers {
			addr := net.TCPAddr{}
			if a, err := net.ResolveTCPAddr("tcp", p); err == nil {
				addr = *a
			}
			rows = wire.AppendBytes(rows, addr.IP.To4())
			rows = wire.AppendBytes(rows, types.AppendInt32(nil, int32(addr.Port)))
		}
		return meta.AppendRows(nil, wire.RowsOptions{}, len(s.mu.peers), rows)
	}
	meta := wire.EncodeMetadata([]wire.Column{text("column_name"), text("kind"), {Keyspace: "system", Table: "x", Name: "position", Type: types.IntType}})
	if len(q.Values) != 2 || string(q.Values[0]) != "ks" || string(q.Values[1]) != "t" {
		return meta.AppendRows(nil, wire.RowsOptions{}, 0, nil)
	}
	var rows []byte
	position := map[string]int32{}
	for i, c := range s.table {
		rows = wire.AppendBytes(rows, []byte(c.Name))
		rows = wire.AppendBytes(rows, []byte(s.kinds[i]))
		rows = wire.AppendBytes(rows, types.AppendInt32(nil, position[s.kinds[i]]))
		position[s.kinds[i]]++
	}
	return meta.AppendRows(nil, wire.RowsOptions{}, len(s.table), rows)
}

func (s *server) prepare(cql string) *wire.Prepared {
	open, end := strings.Index(cql, "("), strings.Index(cql, ")")
	p := &wire.Prepared{ID: []byte(fmt.Sprintf("id%d", len(s.mu.statements)))}
	var names []string
	for _, name := range strings.Split(cql[open+1:end], ", ") {
		name = strings.Trim(name, `"`)
		names = append(names, name)
		for _, c := range s.table {
			if c.Name == name {
				p.Markers = append(p.Markers, c)
			}
		}
	}
	p.Markers = append(p.Markers, wire.Column{Keyspace: "ks", Table: "t", Name: "[timestamp]", Type: types.BigintType})
	s.mu.statements[string(p.ID)] = names
	return p
}

func (s *server) write(h wire.Header, statements []wire.BatchStatement) (wire.Opcode, []byte) {
	s.mu.requests++
	var rows []map[string][]byte
	var stamps []int64
	for _, st := range statements {
		names, ok := s.mu.statements[string(st.ID)]
		if !ok {
			return wire.OpError, wire.Errorf(wire.CodeUnprepared, "unknown statement").Append(nil, h.Version)
		}
		row := map[string][]byte{}
		for i, name := range names {
			if st.Unset == nil || !st.Unset[i] {
				row[name] = bytes.Clone(st.Values[i])
			}
		}
		rows = append(rows, row)
		stamps = append(stamps, types.Int64(st.Values[len(names)]))
	}
	if s.mu.fault != nil {
		if e := s.mu.fault(s.mu.requests, rows); e != nil {
			return wire.OpError, e.Append(nil, h.Version)
		}
	}
	for i, row := range rows {
		s.store(row, stamps[i])
	}
	return wire.OpResult, wire.AppendResultKind(nil, wire.KindVoid)
}

func (s *server) store(row map[string][]byte, stamp int64) {
	var key []byte
	for i, c := range s.table {
		if s.kinds[i] == "partition_key" || s.kinds[i] == "clustering" {
			key = types.AppendElement(key, row[c.Name])
		}
	}
	cells := s.mu.rows[string(key)]
	if cells == nil {
		cells = map[string]cell{}
		s.mu.rows[string(key)] = cells
	}
	for name, v := range row {
		if old, ok := cells[name]; !ok || stamp > old.stamp {
			cells[name] = cell{v, stamp}
		}
	}
}

// dump is the table's content as text, sorted, one row a line: name=value pairs in the table's order.
func (s *server) dump() map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]bool{}
	for _, cells := range s.mu.rows {
		var line []string
		for _, c := range s.table {
			if v, ok := cells[c.Name]; ok {
				line = append(line, c.Name+"="+string(c.Type.AppendText(nil, v.value)))
			}
		}
		all[strings.Join(line, " ")] = true
	}
	return all
}
