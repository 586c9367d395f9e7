package stream

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"nodedb/node/row"
	"nodedb/node/rpc/simnet"
	"nodedb/vnodes"
)

// Each kind of difference, on each replica alone, is found and becomes equal everywhere, and what is equal costs next to nothing.
func TestEveryKindOfDifference(t *testing.T) {
	cell := func(c row.Cell) []byte {
		var b row.Builder
		b.Add(c)
		return b.Append(nil)
	}
	rowDeletion := func() []byte {
		var b row.Builder
		b.Delete(20)
		return b.Append(nil)
	}
	for name, m := range map[string]row.Mutation{
		"cell":               fragment(7, 3, cell(row.Cell{Column: 1, Timestamp: 20, Value: []byte("new")})),
		"another column":     fragment(7, 3, cell(row.Cell{Column: 2, Timestamp: 5, Value: []byte("new")})),
		"same value, newer":  fragment(7, 3, cell(row.Cell{Column: 1, Timestamp: 11, Value: []byte("old")})),
		"last byte":          fragment(7, 3, cell(row.Cell{Column: 1, Timestamp: 10, Value: []byte("ole")})),
		"tombstone":          fragment(7, 3, cell(row.Cell{Column: 1, Timestamp: 20, Kind: row.Tombstone})),
		"row deletion":       fragment(7, 3, rowDeletion()),
		"ttl":                fragment(7, 3, cell(row.Cell{Column: 1, Timestamp: 10, Value: []byte("old"), Expiry: 2_000_000, TTL: 50})),
		"expired already":    fragment(7, 3, cell(row.Cell{Column: 1, Timestamp: 10, Value: []byte("old"), Expiry: 5, TTL: 5})),
		"element":            fragment(7, 3, cell(row.Cell{Column: 3, Timestamp: 20, Path: []byte("p"), Value: []byte("v")})),
		"new row":            insert(7, 99, 10, "new"),
		"new partition":      insert(4000, 1, 10, "new"),
		"partition deletion": header(7, row.Header{Deletion: 20}),
		"deletion of none":   header(4001, row.Header{Deletion: 20}),
		"static":             header(7, row.Header{Deletion: row.NoDeletion, Static: cell(row.Cell{Column: 4, Timestamp: 20, Value: []byte("s")})}),
		"range deletion":     header(7, row.Header{Deletion: row.NoDeletion, Ranges: []row.RangeDeletion{{Start: key(2), End: key(4), Timestamp: 20}}}),
		"open range":         header(7, row.Header{Deletion: row.NoDeletion, Ranges: []row.RangeDeletion{{Start: key(2), Timestamp: 20}}}),
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, 3, func(t *testing.T, k *kit) {
				for _, r := range k.nodes {
					for p := range 40 {
						r.write(insert(p, 1, 10, "old"), insert(p, 3, 10, "old"), insert(p, 5, 10, "old"))
					}
				}
				k.repair()
				for i, r := range k.nodes {
					m := m
					m.Key = key(int(binary.BigEndian.Uint32(m.Key)) + i)
					m.Token = vnodes.PartitionToken(m.Key)
					r.write(m)
					out := k.repair()
					k.equal()
					// One row or header, held against two replicas: a header that deletes rows must not take them along.
					if out.Rows != 2 || out.Partitions != 2 || out.Pushed == 0 || (i > 0 && out.Fetched == 0) {
						t.Errorf("on replica %d: outcome %+v", i, out)
					}
					if again := k.repair(); again.Rows != 0 || again.Sent+again.Received > 400 {
						t.Errorf("once equal, a session still found %+v", again)
					}
				}
			})
		})
	}
}

// Replicas with anything at all on them are equal after one session, to the merge of all.
func TestSessionAgainstMerge(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var ms [3][]row.Mutation
		common := rapid.IntRange(0, 60).Draw(rt, "common rows")
		wide := rapid.IntRange(0, 200).Draw(rt, "rows of one partition")
		for i := range ms {
			for n := range common {
				ms[i] = append(ms[i], insert(n%23, n, 5, "common"))
			}
			for n := range wide {
				ms[i] = append(ms[i], insert(1000, n, 5, "wide"))
			}
			for range rapid.IntRange(0, 8).Draw(rt, "own") {
				ms[i] = append(ms[i], drawOwn(rt))
			}
		}
		synctest.Test(t, func(t *testing.T) {
			k := newKit(t, 4)
			defer k.close()
			for i := range ms {
				k.nodes[i].write(ms[i]...)
				k.nodes[3].write(ms[i]...) // the merge of all, which is no peer
			}
			s, peers := k.session()
			out, err := s.Run(context.Background(), peers[:2])
			if err != nil || !out.Agreed() {
				rt.Fatalf("no agreement: %v %v", err, out.Failed)
			}
			want := k.nodes[3].content()
			for i := range 3 {
				if k.nodes[i].content() != want {
					rt.Fatalf("replica %d is not the merge of all", i)
				}
			}
		})
	})
}

// drawOwn draws a write that one replica alone has.
func drawOwn(t *rapid.T) row.Mutation {
	k := rapid.SampledFrom([]int{0, 1, 2, 3, 22, 1000, 1000, 5000}).Draw(t, "key")
	c := rapid.IntRange(0, 210).Draw(t, "clustering")
	ts := rapid.Int64Range(3, 9).Draw(t, "timestamp")
	switch rapid.IntRange(0, 4).Draw(t, "kind") {
	case 0:
		return header(k, row.Header{Deletion: ts})
	case 1:
		r := row.RangeDeletion{Start: key(c), Timestamp: ts}
		if rapid.Bool().Draw(t, "closed") {
			r.End = key(c + rapid.IntRange(1, 50).Draw(t, "length"))
		}
		return header(k, row.Header{Deletion: row.NoDeletion, Ranges: []row.RangeDeletion{r}})
	case 2:
		var b row.Builder
		b.Add(row.Cell{Column: 1, Timestamp: ts, Kind: row.Tombstone})
		return fragment(k, c, b.Append(nil))
	}
	return insert(k, c, ts, rapid.SampledFrom([]string{"a", "b"}).Draw(t, "value"))
}

// One row of a partition of 100,000 that differs moves a few KiB, and a deletion of all of them less than their hashes would take.
func TestOneRowOfALargePartition(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 300,000 rows")
	}
	bubble(t, 3, func(t *testing.T, k *kit) {
		const rows = 100_000
		for _, r := range k.nodes {
			m := row.Mutation{Storage: testTable, Token: vnodes.PartitionToken(key(1)), Key: key(1)}
			for c := range rows {
				m.Rows = append(m.Rows, insert(1, c, 10, fmt.Sprint("value of row ", c)).Rows...)
				if len(m.Rows) == 5000 {
					r.write(m)
					m.Rows = nil
				}
			}
		}
		k.nodes[1].write(insert(1, 51_234, 20, "changed"))
		out := k.repair()
		k.equal()
		if out.Rows != 2 || out.Sent+out.Received > 8<<10 {
			t.Errorf("one row differed: %+v", out)
		}
		k.nodes[2].write(header(1, row.Header{Deletion: 50}))
		out = k.repair()
		k.equal()
		if out.Sent+out.Received > 8<<10 {
			t.Errorf("a deletion differed: %+v", out)
		}
	})
}

// A replica that lost everything, or has everything alone, is dealt with page by page.
func TestOneSided(t *testing.T) {
	for _, full := range []int{0, 1} {
		bubble(t, 2, func(t *testing.T, k *kit) {
			value := strings.Repeat("x", 2000)
			var ms []row.Mutation
			for n := range 4000 {
				ms = append(ms, insert(n%7, n, 10, value))
			}
			k.nodes[full].write(ms...)
			out := k.repair()
			k.equal()
			if out.Rows != 4000 || out.Partitions != 7 || out.Fetched+out.Pushed != 4000 {
				t.Errorf("all of replica %d: %+v", full, out)
			}
		})
	}
}

// A write that is on its way when the comparison meets it has arrived when it is looked at again, and nothing is moved.
func TestWritesOnTheirWayAreLeftAlone(t *testing.T) {
	bubble(t, 2, func(t *testing.T, k *kit) {
		for n := range 100 {
			k.nodes[0].write(insert(n, 1, 10, "v"))
			k.nodes[1].write(insert(n, 1, 10, "v"))
		}
		k.nodes[0].write(insert(5, 1, 20, "on its way"))
		time.AfterFunc(500*time.Millisecond, func() { k.nodes[1].write(insert(5, 1, 20, "on its way")) })
		if out := k.repair(); out.Rows != 0 || out.Pushed != 0 {
			t.Errorf("moved %+v", out)
		}
		k.equal()
	})
}

// Verification names what differs, where, and changes nothing.
func TestVerifyReports(t *testing.T) {
	bubble(t, 3, func(t *testing.T, k *kit) {
		for _, r := range k.nodes {
			for n := range 300 {
				r.write(insert(n, n%3, 10, "v"))
			}
		}
		k.nodes[0].write(insert(5, 77, 10, "here only"))
		k.nodes[1].write(insert(6, 78, 10, "there only"), header(9, row.Header{Deletion: 1}))
		k.nodes[2].write(insert(7, 1, 20, "newer there"))
		before := [3]string{k.nodes[0].content(), k.nodes[1].content(), k.nodes[2].content()}
		s, peers := k.session()
		var got []string
		s.Report = func(d Difference) {
			got = append(got, fmt.Sprintf("%d/%x/%x here=%v there=%v", d.Peer[15]-1, d.Key, d.Clustering, d.Here, d.There))
		}
		out, err := s.Run(context.Background(), peers)
		if err != nil || !out.Agreed() || out.Fetched+out.Pushed != 0 {
			t.Fatal(err, out)
		}
		want := []string{"1/00000005/0000004d here=true there=false", "1/00000006/0000004e here=false there=true", "1/00000009/ here=false there=true",
			"2/00000005/0000004d here=true there=false", "2/00000007/00000001 here=true there=true"}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("reported\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		for i, r := range k.nodes {
			if r.content() != before[i] {
				t.Errorf("verification changed replica %d", i)
			}
		}
	})
}

// A peer that is gone, or has moved on to a newer ring, is named; the others become equal.
func TestFailedPeersAreNamed(t *testing.T) {
	bubble(t, 3, func(t *testing.T, k *kit) {
		k.nodes[0].write(insert(1, 1, 10, "v"))
		k.nodes[1].net.Close()
		s, peers := k.session()
		out, err := s.Run(context.Background(), peers)
		if err != nil || out.Agreed() || len(out.Failed) != 1 || out.Failed[nodeID(1)] == nil {
			t.Fatal(err, out)
		}
		if k.nodes[2].content() != k.nodes[0].content() {
			t.Error("the live replica is not equal")
		}
		k.nodes[0].write(insert(2, 1, 10, "v"))
		k.view.Store(&View{Epoch: 4, Ring: vnodes.NewRing(4, nil), Catalog: catalog(t)})
		out, err = s.Run(context.Background(), peers[1:])
		if err != nil || out.Failed[nodeID(2)] == nil || !strings.Contains(out.Failed[nodeID(2)].Error(), "epoch 4") {
			t.Errorf("a session of an old ring: %v %v", err, out.Failed)
		}
		if strings.Contains(k.nodes[2].content(), string(key(2))) {
			t.Error("a replica took what was sent under an old ring")
		}
	})
}

// Lost, doubled and late messages cost time, nothing else.
func TestFaultyNetwork(t *testing.T) {
	bubble(t, 3, func(t *testing.T, k *kit) {
		for i, r := range k.nodes {
			for n := range 600 {
				if n%(11+i) != 0 {
					r.write(insert(n%50, n, 10, "v"))
				}
			}
		}
		k.net.SetFaults(simnet.Faults{Drop: 0.05, Duplicate: 0.2, MinDelay: time.Millisecond, MaxDelay: 300 * time.Millisecond})
		for try := 0; ; try++ {
			s, peers := k.session()
			out, err := s.Run(context.Background(), peers)
			if err != nil {
				t.Fatal(err)
			}
			if out.Agreed() {
				break
			}
			if try == 20 {
				t.Fatal("no agreement in 20 sessions", out.Failed)
			}
		}
		k.equal()
	})
}

// What the owners held when a session began is everywhere when it agreed, whatever is written meanwhile.
func TestAgreementUnderWrites(t *testing.T) {
	bubble(t, 3, func(t *testing.T, k *kit) {
		for i, r := range k.nodes {
			for n := range 300 {
				r.write(insert(n%20, 1000*i+n, 10, fmt.Sprint("first ", i)))
			}
		}
		k.net.SetFaults(simnet.Faults{MinDelay: 10 * time.Millisecond, MaxDelay: 50 * time.Millisecond})
		stop, ended := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				case <-time.After(3 * time.Millisecond):
					k.nodes[n%3].write(insert(n%20, 1000*(n%3)+n%400, 20, "later"))
				}
			}
		}()
		s, peers := k.session()
		out, err := s.Run(context.Background(), peers)
		close(stop)
		<-ended
		if err != nil || !out.Agreed() {
			t.Fatal(err, out)
		}
		for at, r := range k.nodes {
			content := []byte(r.content())
			for i := range 3 {
				for n := range 300 {
					// The row's place stands in the page, whatever was written over it since.
					if !bytes.Contains(content, append([]byte{4}, key(1000*i+n)...)) {
						t.Fatalf("replica %d lacks row %d of replica %d", at, n, i)
					}
				}
			}
		}
	})
}

// However slow the pace, an answer comes before its request's deadline, and the next goes on from there.
func TestSlowPaceGetsThere(t *testing.T) {
	bubble(t, 2, func(t *testing.T, k *kit) {
		value := strings.Repeat("x", 2000)
		for _, r := range k.nodes {
			var ms []row.Mutation
			for n := range 4000 {
				ms = append(ms, insert(n%7, n, 10, value))
			}
			r.write(ms...)
		}
		k.nodes[1].write(insert(3, 5000, 10, "there only"))
		k.nodes[1].server.Pace = NewPace(100<<10, nil) // 4 MiB in 41 s
		k.repair()
		k.equal()
	})
}

// A server that is closed does not wait for its pace.
func TestCloseEndsPacedAnswers(t *testing.T) {
	bubble(t, 2, func(t *testing.T, k *kit) {
		var ms []row.Mutation
		for n := range 4000 {
			ms = append(ms, insert(n%7, n, 10, strings.Repeat("x", 2000)))
		}
		k.nodes[1].write(ms...)
		k.nodes[1].server.Pace = NewPace(2<<10, nil) // a page in 16 s
		s, peers := k.session()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = s.Run(context.Background(), peers)
		}()
		time.Sleep(time.Second)
		begun := time.Now()
		_ = k.nodes[1].net.Close()
		k.nodes[1].server.Close()
		if took := time.Since(begun); took > time.Second {
			t.Errorf("Close took %s", took)
		}
		<-ended
	})
}
