package exec

import (
	"bytes"
	"context"
	"slices"

	"nodedb/coordinator"
	"nodedb/node/row"
	"nodedb/query/cql"
	"nodedb/query/plan"
	"nodedb/query/types"
	"nodedb/query/wire"
)

// BatchItem is one statement of a protocol-level batch and its values.
type BatchItem struct {
	Plan   *plan.Plan
	Values [][]byte
	Unset  []bool
}

// MaxBatchStatements bounds the statements of one batch: the binary protocol counts them in two bytes.
const MaxBatchStatements = 65535

// Batch runs a protocol-level batch of INSERT, UPDATE and DELETE. Errors are *wire.Error.
func (x *Executor) Batch(ctx context.Context, kind cql.BatchKind, items []BatchItem, params *Params) (*Result, error) {
	r := request{x: x, ctx: ctx, params: params}
	if span := r.traced(); span != nil {
		span.Addf("Parsed and planned: BATCH of %d statement(s)", len(items))
	}
	res, err := r.batch(kind, items)
	if err != nil {
		return nil, wireError(err)
	}
	res.TraceID = r.trace
	res.Warnings = append(res.Warnings, r.warnings...)
	return res, nil
}

func (r *request) batch(kind cql.BatchKind, items []BatchItem) (*Result, error) {
	if kind == cql.CounterBatch {
		return nil, wire.Errorf(wire.CodeInvalid, "Counters come with a later release of nodedb")
	}
	var writes []coordinator.Write
	for i := range items {
		w, ok := items[i].Plan.Body.(*plan.Write)
		if !ok {
			return nil, wire.Errorf(wire.CodeInvalid, "Invalid statement in batch: only UPDATE, INSERT and DELETE statements are allowed (statement %d is a %s)",
				i+1, items[i].Plan.Kind)
		}
		if err := r.bind(items[i].Plan, items[i].Values, items[i].Unset, nil); err != nil {
			return nil, InStatement(i, len(items), err)
		}
		var err error
		if writes, err = r.mutations(writes, w, r.timestamp()); err != nil {
			return nil, InStatement(i, len(items), err)
		}
	}
	return r.apply(kind, writes)
}

func (r *request) batchStatement(b *plan.Batch) (*Result, error) {
	stamp := r.timestamp()
	if b.Timestamp != nil {
		v, err := b.Timestamp.Eval(&r.env)
		switch {
		case err != nil:
			return nil, err
		case plan.IsUnset(v):
		case len(v) != 8:
			return nil, b.Timestamp.Errorf("Invalid null value of timestamp")
		default:
			stamp = types.Int64(v)
		}
	}
	var writes []coordinator.Write
	for _, w := range b.Writes {
		var err error
		if writes, err = r.mutations(writes, w, stamp); err != nil {
			return nil, err
		}
	}
	return r.apply(b.Type, writes)
}

// apply writes a batch's mutations: one request, one mutation a partition.
func (r *request) apply(kind cql.BatchKind, writes []coordinator.Write) (*Result, error) {
	if err := checkWriteLevel(r.params.Level); err != nil {
		return nil, err
	}
	if err := r.guardWriteLevel(); err != nil {
		return nil, err
	}
	writes, err := merge(writes)
	if err != nil {
		return nil, err
	}
	size, tables := 0, []string(nil)
	for i := range writes {
		size += writes[i].Mutation.Size()
		if name := writes[i].Table.Keyspace + "." + writes[i].Table.Name; !slices.Contains(tables, name) {
			tables = append(tables, name)
		}
	}
	if size > plan.MaxBatchSize {
		return nil, wire.Errorf(wire.CodeInvalid, "Batch too large: it has %d bytes, the limit is %d", size, plan.MaxBatchSize)
	}
	if err := r.guardBatch(kind, tables, len(writes), size); err != nil {
		return nil, err
	}
	req := &coordinator.WriteRequest{Level: r.params.Level, Kind: coordinator.WriteBatch, Writes: writes, Trace: r.trace}
	if kind == cql.Unlogged {
		req.Kind = coordinator.WriteUnloggedBatch
	}
	if err := r.send(req); err != nil {
		return nil, err
	}
	return &Result{Kind: ResultVoid}, nil
}

// partitionID is what makes two mutations one.
type partitionID struct {
	storage row.StorageID
	key     string
}

// merge puts the mutations of one partition together.
func merge(writes []coordinator.Write) ([]coordinator.Write, error) {
	if len(writes) < 2 {
		return writes, nil
	}
	first := make(map[partitionID]int, len(writes))
	out := writes[:0:0]
	groups := make([][]*row.Mutation, 0, len(writes))
	for i := range writes {
		m := &writes[i].Mutation
		id := partitionID{m.Storage, string(m.Key)}
		at, ok := first[id]
		if !ok {
			at = len(out)
			first[id] = at
			out, groups = append(out, writes[i]), append(groups, nil)
		}
		groups[at] = append(groups[at], m)
	}
	for i, g := range groups {
		if len(g) == 1 {
			continue
		}
		if err := mergeInto(&out[i].Mutation, g); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func mergeInto(dst *row.Mutation, list []*row.Mutation) error {
	var headers [][]byte
	rows := map[string][][]byte{}
	var order []string
	for _, m := range list {
		if m.Header != nil {
			headers = append(headers, m.Header)
		}
		for _, e := range m.Rows {
			k := string(e.Clustering)
			if rows[k] == nil {
				order = append(order, k)
			}
			rows[k] = append(rows[k], e.Fragment)
		}
	}
	dst.Header, dst.Rows = nil, nil
	if len(headers) > 0 {
		h, err := row.MergeHeaders(nil, headers...)
		if err != nil {
			return err
		}
		dst.Header = h
	}
	for _, k := range order {
		fragment := rows[k][0]
		if len(rows[k]) > 1 {
			var err error
			if fragment, err = row.Merge(nil, rows[k]...); err != nil {
				return err
			}
		}
		dst.Rows = append(dst.Rows, row.Entry{Clustering: bytes.Clone([]byte(k)), Fragment: fragment})
	}
	return nil
}
