package query

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nodedb/coordinator"
	"nodedb/coordinator/consistency"
	"nodedb/node/disk"
	"nodedb/node/row"
	"nodedb/node/storage"
	"nodedb/query/schema"
	"nodedb/query/virtual"
	"nodedb/vnodes"
)

// oneNode is an exec.Cluster of one replica: the real storage engine on memory files, schema applied directly, a clock
// that stands still.
type oneNode struct {
	t       testing.TB
	store   *storage.Engine
	catalog atomic.Pointer[schema.Catalog]
	ring    *vnodes.Ring
	stamp   atomic.Int64
	seconds atomic.Int64
	reads   atomic.Int64
	warning string // of schema changes

	mu struct {
		sync.Mutex
		fail      error // what reads and writes answer, when set
		byteLimit int   // of a read's page, to make pages small; 0: the storage's own
		workLimit int
		kind      coordinator.WriteKind // of the last write
		level     consistency.Level     // of the last write or read
		read      consistency.Level     // of the last read
	}
}

const startSeconds = 1_700_000_000

func newOneNode(t testing.TB) *oneNode {
	t.Helper()
	store, err := storage.Open(storage.Options{
		FS: disk.Crashable(), Dir: "d", Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Fatal: func(err error) { t.Errorf("storage stopped: %v", err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	n := &oneNode{t: t, store: store}
	n.ring = vnodes.NewRing(1, []vnodes.Node{{ID: vnodes.HostID{15: 1}, Address: "127.0.0.1", DC: "dc1", Rack: "r1", Weight: 1, Tokens: []vnodes.Token{0}}})
	n.catalog.Store(schema.Empty())
	n.seconds.Store(startSeconds)
	n.stamp.Store(startSeconds * 1e6)
	return n
}

func (n *oneNode) Catalog() *schema.Catalog { return n.catalog.Load() }

// asked notes the level of a write or read, and gives what it fails with.
func (n *oneNode) asked(level consistency.Level) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.level = level
	return n.mu.fail
}

func (n *oneNode) Write(_ context.Context, r *coordinator.WriteRequest, done func(error)) {
	if err := n.asked(r.Level); err != nil {
		done(err)
		return
	}
	ms := make([]row.Mutation, len(r.Writes))
	for i := range r.Writes {
		// Through the bytes, as on the way to a replica.
		var err error
		if ms[i], _, err = row.DecodeMutation(r.Writes[i].Mutation.Append(nil)); err != nil {
			done(err)
			return
		}
	}
	n.mu.Lock()
	n.mu.kind = r.Kind
	n.mu.Unlock()
	n.store.Apply(ms, done)
}

// setFailure is what reads and writes answer from now on; nil: what there is.
func (n *oneNode) setFailure(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.fail = err
}

// lastRead is the level of the last read.
func (n *oneNode) lastRead() consistency.Level {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.read
}

// lastKind is the kind of the last write.
func (n *oneNode) lastKind() coordinator.WriteKind {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.kind
}

func (n *oneNode) Read(ctx context.Context, r *coordinator.ReadRequest, done func([]byte, error)) {
	if err := n.asked(r.Level); err != nil {
		done(nil, err)
		return
	}
	n.reads.Add(1)
	spec := r.Spec
	n.mu.Lock()
	spec.ByteLimit, spec.WorkLimit, n.mu.read = n.mu.byteLimit, n.mu.workLimit, r.Level
	n.mu.Unlock()
	done(n.store.Read(ctx, &spec, r.Room))
}

func (n *oneNode) ChangeSchema(_ context.Context, ch *schema.Change) (schema.Target, string, error) {
	decoded, err := schema.DecodeChange(ch.Append(nil))
	if err != nil {
		return schema.Target{}, "", err
	}
	old := n.catalog.Load()
	next, target, err := old.Apply(decoded, old.Epoch+1)
	if err != nil {
		return target, "", err
	}
	tables := map[row.StorageID]storage.TableKind{}
	for _, k := range next.Keyspaces {
		for _, t := range k.Tables {
			tables[t.Storage] = storage.OnDisk
			if t.Options.Memory {
				tables[t.Storage] = storage.InMemory
			}
		}
	}
	if err := n.store.SetTables(tables, next.Highest); err != nil {
		return target, "", err
	}
	n.catalog.Store(next)
	return target, n.warning, nil
}

func (n *oneNode) Timestamp() int64 { return n.stamp.Add(1) }
func (n *oneNode) Seconds() int64   { return n.seconds.Load() }

func (n *oneNode) Topology() virtual.Topology {
	node, _ := n.ring.Node(vnodes.HostID{15: 1})
	return virtual.Topology{
		ClusterName: "test", ReleaseVersion: "5.0.0-nodedb", Self: node.ID, Nodes: []virtual.NodeInfo{{Node: node, Up: true}}, Ring: n.ring, NativePort: 9042,
	}
}

// testEngine is an engine whose ids and time are the same in each run.
func testEngine(t testing.TB) (*Engine, *oneNode) {
	n := newOneNode(t)
	var ids atomic.Int64
	o := Options{}
	o.Exec.Now = func() time.Time { return time.Unix(n.seconds.Load(), 0) }
	o.Exec.UUID = func() (id [16]byte) {
		v := ids.Add(1)
		for i := range id {
			id[i] = byte(v >> (8 * (i % 8)))
		}
		id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
		return id
	}
	return NewEngine(n, o), n
}

func testParams() *Params { return &Params{Level: consistency.One, Timestamp: NoTimestamp} }
