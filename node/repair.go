package node

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"nodedb/antientropy"
	"nodedb/antientropy/stream"
	"nodedb/coordinator"
	"nodedb/query/httpapi"
	"nodedb/query/schema"
	"nodedb/query/virtual"
	"nodedb/query/wire"
	"nodedb/vnodes"
)

// openRepair wires anti-entropy: it reads the store itself, and writes as the request path does.
func (n *Node) openRepair() (err error) {
	c := n.cluster
	n.repairer, err = antientropy.New(antientropy.Options{
		Self: c.self, Alive: c.Alive, Peer: c.Peer, Await: c.Await, Transport: n.transport, Store: n.engine, System: n.engine, Pending: n.pending.Contains,
		Requested: n.replica.Requested,
		Hinted:    n.replica.Hinted,
		View: func() stream.View {
			v := c.View()
			return stream.View{Epoch: v.Epoch, Ring: v.Ring, Catalog: v.Catalog}
		},
		Apply: func(needs, ring uint64, mutations [][]byte, done func(error)) {
			n.replica.Write(&coordinator.WriteMessage{Fence: coordinator.Fence{Needs: needs, Ring: ring}, Repair: true, Mutations: mutations}, done)
		},
		Now:    func() time.Time { return time.UnixMicro(n.clock.Time()) }, // a wall clock that jumps must not make agreements old or new
		Target: time.Duration(n.Config.AntiEntropyTarget), Grace: time.Duration(n.Config.AntiEntropyGrace), Throttle: int64(n.Config.AntiEntropyThrottle),
		Logger: n.logger, Metrics: n.metrics,
	})
	if err != nil {
		return err
	}
	c.repairer = n.repairer
	n.repairer.Register(n.transport)
	return nil
}

// AntiEntropy is what system_views.anti_entropy shows.
func (c *cluster) AntiEntropy() []virtual.RangeAgreement {
	catalog := c.Catalog()
	var out []virtual.RangeAgreement
	for _, r := range c.repairer.Records() {
		if t, ok := catalog.TableByStorage(r.Table); ok {
			out = append(out, virtual.RangeAgreement{
				Keyspace: t.Keyspace, Table: t.Name, Range: r.Range, Agreed: r.Agreed, Compared: r.Compared, Problem: r.Problem,
				Rows: int64(r.Rows), Partitions: int64(r.Partitions), Sent: int64(r.Sent), Received: int64(r.Received),
				TotalRows: int64(r.TotalRows), TotalSent: int64(r.TotalSent), TotalReceived: int64(r.TotalReceived),
			})
		}
	}
	return out
}

// Agreements gives what this node knows of the ranges that it owns, and when all their owners last agreed.
func (n *Node) Agreements() []virtual.RangeAgreement { return n.cluster.AntiEntropy() }

// repairRecordsTimeout bounds the wait for the other nodes' records.
const repairRecordsTimeout = 10 * time.Second

// repairStatus answers /v1/repair: what is known of every range, the newest record of its owners.
func (n *Node) repairStatus(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), repairRecordsTimeout)
	defer cancel()
	records, unheard := n.repairer.ClusterRecords(ctx)
	status := RepairStatus{Now: time.UnixMicro(n.clock.Time()).UTC(), Target: time.Duration(n.Config.AntiEntropyTarget).String(), Ranges: []RepairRange{}, Unheard: unheard}
	catalog := n.cluster.Catalog()
	for _, rec := range records {
		if t, ok := catalog.TableByStorage(rec.Table); ok {
			status.Ranges = append(status.Ranges, repairRange(t, &rec))
		}
	}
	httpapi.Reply(w, status)
}

func repairRange(t *schema.Table, rec *antientropy.Record) RepairRange {
	return RepairRange{
		Keyspace: t.Keyspace, Table: t.Name, Start: token(rec.Range.Start), End: token(rec.Range.End), Agreed: stamp(rec.Agreed), Compared: stamp(rec.Compared),
		Problem: rec.Problem, Rows: rec.Rows, Partitions: rec.Partitions, Sent: rec.Sent, Received: rec.Received,
		TotalRows: rec.TotalRows, TotalSent: rec.TotalSent, TotalReceived: rec.TotalReceived,
	}
}

func token(t vnodes.Token) string { return strconv.FormatInt(int64(t), 10) }

func stamp(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// lineTimeout is how long a client may take to read one line of progress.
const lineTimeout = 30 * time.Second

// repairTable answers POST /v1/repair/KEYSPACE/TABLE[?verify=true]: a line of JSON for each look at the progress, the last with ended.
func (n *Node) repairTable(w http.ResponseWriter, r *http.Request) {
	t, ok := n.cluster.Catalog().Table(r.PathValue("keyspace"), r.PathValue("table"))
	verify, err := strconv.ParseBool(orElse(r.URL.Query().Get("verify"), "false"))
	switch {
	case err != nil:
		httpapi.Refuse(w, wire.Errorf(wire.CodeInvalid, "verify: want true or false, got %q", r.URL.Query().Get("verify")))
		return
	case !ok:
		httpapi.Refuse(w, wire.Errorf(wire.CodeInvalid, "%s.%s: %v", r.PathValue("keyspace"), r.PathValue("table"), ErrNoTable))
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	control := http.NewResponseController(w)
	enc := json.NewEncoder(w)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	_, err = n.repairer.Repair(ctx, n.Host.NewID(), t.Storage, verify, func(p *antientropy.Progress) {
		_ = control.SetWriteDeadline(time.Now().Add(lineTimeout)) // not every writer has deadlines
		if enc.Encode(n.progressOf(t, p)) != nil || control.Flush() != nil || !n.ready.Load() {
			cancel() // nobody reads, or the node drains
		}
	})
	if err != nil && ctx.Err() == nil {
		_ = enc.Encode(RepairProgress{Ended: true, Problems: []string{err.Error()}})
	}
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// progressOf names what a repair found in the table's own terms. The differences are told once, at the end.
func (n *Node) progressOf(t *schema.Table, p *antientropy.Progress) RepairProgress {
	out := RepairProgress{
		Ended: p.Ended, Ranges: p.Ranges, Done: p.Done, Rows: p.Rows, Partitions: p.Partitions, Fetched: p.Fetched, Pushed: p.Pushed,
		Sent: p.Sent, Received: p.Received, Problems: p.Problems,
	}
	if !p.Ended {
		return out
	}
	view := n.cluster.View()
	address := func(id vnodes.HostID) string {
		if m, ok := view.Ring.Node(id); ok {
			return m.Address
		}
		return id.String()
	}
	for i := range p.Differences {
		d := &p.Differences[i]
		out.Differences = append(out.Differences, RepairDifference{
			Node: address(d.There), Against: address(d.Here), Partition: partitionText(t, d.Key), Clustering: clusteringText(t, d.Clustering), What: whatDiffers(d),
		})
	}
	return out
}

func whatDiffers(d *antientropy.Difference) string {
	switch {
	case !d.HasThere:
		return "missing"
	case !d.HasHere:
		return "extra"
	}
	return "different"
}

// partitionText writes a partition key as CQL.
func partitionText(t *schema.Table, key []byte) string {
	values, err := t.SplitPartitionKey(nil, key)
	if err != nil {
		return fmt.Sprintf("0x%x", key)
	}
	return columnsText(t.PartitionKey, values)
}

// clusteringText writes a clustering key as CQL; "" is the partition's header.
func clusteringText(t *schema.Table, key []byte) string {
	if key == nil {
		return ""
	}
	values, err := t.SplitClustering(nil, key)
	if err != nil {
		return fmt.Sprintf("0x%x", key)
	}
	return columnsText(t.Clustering, values)
}

func columnsText(columns []*schema.Column, values [][]byte) string {
	var out []byte
	for i, c := range columns {
		if i > 0 {
			out = append(out, " AND "...)
		}
		out = append(append(out, c.Name...), " = "...)
		if i < len(values) {
			out = c.Type.AppendLiteral(out, values[i])
		}
	}
	return string(out)
}
