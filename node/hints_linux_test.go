package node

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"nodedb/coordinator"
	"nodedb/hints"
	"nodedb/node/config"
	"nodedb/node/row"
	"nodedb/query/schema"
	"nodedb/vnodes"
)

var hintCount = flag.Int("hints", 5000, "hints that TestDrainHints drains")

// hintPair is two nodes of one cluster, in this process, on addresses of their own. The table k.t has a copy on each.
type hintPair struct {
	t     *testing.T
	conf  [2]*config.Config
	nodes [2]*Node
	table *schema.Table
}

func newHintPair(t *testing.T) *hintPair {
	t.Helper()
	p := &hintPair{t: t}
	prefix := fmt.Sprintf("127.232.%d", 1+os.Getpid()%250)
	for i := range p.conf {
		p.conf[i] = config.Default()
		p.conf[i].Listen, p.conf[i].Data, p.conf[i].Join = fmt.Sprintf("%s.%d", prefix, i+1), t.TempDir(), []string{prefix + ".1", prefix + ".2"}
	}
	var both sync.WaitGroup
	for i := range p.conf {
		both.Go(func() { p.start(i) })
	}
	both.Wait()
	t.Cleanup(func() { p.stop(0); p.stop(1) })
	if t.Failed() {
		t.FailNow()
	}
	for _, ch := range []*schema.Change{
		{Op: schema.CreateKeyspace, Keyspace: "k", Class: "SimpleStrategy", Replication: map[string]string{"replication_factor": "2"}},
		p.create("t"), p.create("dropped"),
	} {
		if _, _, err := p.nodes[0].cluster.ChangeSchema(t.Context(), ch); err != nil {
			t.Fatal(err)
		}
	}
	p.table, _ = p.nodes[0].cluster.View().Catalog.Table("k", "t")
	return p
}

func (p *hintPair) create(name string) *schema.Change {
	return &schema.Change{Op: schema.CreateTable, Keyspace: "k", Name: name, ID: [16]byte([]byte(fmt.Sprintf("%16s", name))), Columns: []schema.ColumnDef{
		{Name: "k", Type: "int", Kind: schema.PartitionKey}, {Name: "v", Type: "text", Kind: schema.Regular, Position: -1},
	}}
}

func (p *hintPair) start(i int) {
	n, err := Start(p.t.Context(), Options{
		Config: p.conf[i], Logger: slog.New(slog.DiscardHandler), Progress: func(string) {}, Fatal: func(err error) { p.t.Errorf("a node stopped: %v", err) },
	})
	if err != nil {
		p.t.Error(err)
		return
	}
	p.nodes[i] = n
}

func (p *hintPair) stop(i int) {
	if n := p.nodes[i]; n != nil {
		p.nodes[i] = nil
		if err := n.Close(context.Background()); err != nil {
			p.t.Error(err)
		}
	}
}

// mutation writes row k, about 100 bytes.
func (p *hintPair) mutation(k int) []byte {
	var b row.Builder
	b.Add(row.Cell{Column: row.Marker, Timestamp: 1})
	b.Add(row.Cell{Column: 1, Timestamp: 1, Value: []byte(fmt.Sprintf("%044d", k))})
	key := []byte{byte(k >> 24), byte(k >> 16), byte(k >> 8), byte(k)}
	m := row.Mutation{Storage: p.table.Storage, Token: vnodes.PartitionToken(key), Key: key, Rows: []row.Entry{{Fragment: b.Append(nil)}}}
	return m.Append(nil)
}

// rows is how many partitions a node holds.
func (p *hintPair) rows(i int) int {
	p.t.Helper()
	sum, err := p.nodes[i].Checksum(p.t.Context(), "k", "t")
	if err != nil {
		p.t.Fatal(err)
	}
	return int(sum.Rows)
}

// drained waits until node 0 has no hints for a peer.
func (p *hintPair) drained(id vnodes.HostID) {
	p.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for p.nodes[0].hints.Pending(id) > 0 {
		select {
		case <-tick.C:
		case <-p.t.Context().Done():
			p.t.Fatal("the hints are not delivered")
		}
	}
}

// cpu is what this process has used.
func cpu(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Hints for a node that is down: all there once it is back. With -hints 1000000 it measures what one costs, both sides together.
func TestDrainHints(t *testing.T) {
	p := newHintPair(t)
	id := p.nodes[1].cluster.self
	p.stop(1)
	store := p.nodes[0].hints
	var kept sync.WaitGroup
	for k := range *hintCount {
		kept.Add(1)
		store.Add(id, p.mutation(k), func(err error) {
			if err != nil {
				t.Error(err)
			}
			kept.Done()
		})
		if k%1000 == 999 { // not more than the store's queue takes
			kept.Wait()
		}
	}
	kept.Wait()
	begun, used := time.Now(), cpu(t)
	p.start(1)
	p.drained(id)
	took, used := time.Since(begun), cpu(t)-used
	if got := p.rows(1); got != *hintCount {
		t.Errorf("%d rows, want %d", got, *hintCount)
	}
	n := time.Duration(*hintCount)
	t.Logf("%d hints drained in %v: %v and %v of CPU a hint, both sides; %+v", n, took, took/n, used/n, store.Stats())
}

// One hint that its replica refuses must not take with it those that travel with it.
func TestARefusedHintInABatch(t *testing.T) {
	p := newHintPair(t)
	dropped, _ := p.nodes[0].cluster.View().Catalog.Table("k", "dropped")
	var batch [][]byte
	for k := range 100 {
		batch = append(batch, p.mutation(k))
	}
	malformed := p.mutation(200)
	malformed = malformed[:len(malformed)-5]
	batch[37], batch[99] = malformed, malformed
	gone := row.Mutation{Storage: dropped.Storage, Key: []byte("k")}
	batch[0] = gone.Append(nil)
	// Dropped while the batch is on its way: the sender still finds the table.
	view := p.nodes[0].cluster.View()
	if _, _, err := p.nodes[0].cluster.ChangeSchema(t.Context(), &schema.Change{Op: schema.DropTable, Keyspace: "k", Name: "dropped"}); err != nil {
		t.Fatal(err)
	}
	p.nodes[0].cluster.view.Store(coordinator.NewView(view.Epoch, view.Ring, view.Catalog))
	outcome := make([]error, len(batch))
	var answers sync.WaitGroup
	answers.Add(len(batch))
	p.nodes[0].deliverHints(p.nodes[1].cluster.self, batch, func(i int, err error) {
		outcome[i] = err
		answers.Done()
	})
	answers.Wait()
	for i, err := range outcome {
		var want error
		switch i {
		case 0:
			want = hints.ErrObsolete
		case 37, 99:
			want = hints.ErrRefused
		}
		if !errors.Is(err, want) {
			t.Errorf("hint %d: %v, want %v", i, err, want)
		}
	}
	if got := p.rows(1); got != len(batch)-3 {
		t.Errorf("%d rows, want %d", got, len(batch)-3)
	}
}

// Hints of a node that is no member any more go to the present owners: at ANY one may be all there is of a write.
func TestHintsOfARemovedNode(t *testing.T) {
	p := newHintPair(t)
	removed := vnodes.HostID{15: 99}
	kept := make(chan error, 1)
	p.nodes[0].hints.Add(removed, p.mutation(1), func(err error) { kept <- err })
	if err := <-kept; err != nil {
		t.Fatal(err)
	}
	p.nodes[0].hints.Wake(removed)
	p.drained(removed)
	if a, b := p.rows(0), p.rows(1); a != 1 || b != 1 { // QUORUM of two is both
		t.Errorf("%d and %d rows on the owners, want one on each", a, b)
	}
}

// A hint whose replica doesn't own the partition any more goes to the nodes that do: sent where it was meant to go, no read would find it.
func TestAHintForAFormerOwnerGoesToTheOwner(t *testing.T) {
	p := newHintPair(t)
	table := p.create("single")
	table.Keyspace = "one"
	for _, ch := range []*schema.Change{
		{Op: schema.CreateKeyspace, Keyspace: "one", Class: "SimpleStrategy", Replication: map[string]string{"replication_factor": "1"}}, table,
	} {
		if _, _, err := p.nodes[0].cluster.ChangeSchema(t.Context(), ch); err != nil {
			t.Fatal(err)
		}
	}
	view := p.nodes[0].cluster.View()
	p.table, _ = view.Catalog.Table("one", "single")
	place, _, _ := view.Placement("one")
	var batch [][]byte
	for k := 0; len(batch) < 10; k++ {
		m := p.mutation(k)
		if _, token, err := row.MutationPlace(m); err == nil && place.Replicas(token).Contains(p.nodes[0].cluster.self) {
			batch = append(batch, m)
		}
	}
	var answers sync.WaitGroup
	answers.Add(len(batch))
	p.nodes[0].deliverHints(p.nodes[1].cluster.self, batch, func(i int, err error) {
		if err != nil {
			t.Errorf("hint %d: %v", i, err)
		}
		answers.Done()
	})
	answers.Wait()
	for i, want := range []uint64{uint64(len(batch)), 0} {
		if sum, err := p.nodes[i].Checksum(t.Context(), "one", "single"); err != nil || uint64(sum.Rows) != want {
			t.Errorf("node %d holds %d rows, %v; want %d", i+1, sum.Rows, err, want)
		}
	}
}
