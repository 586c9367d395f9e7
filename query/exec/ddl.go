package exec

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"nodedb/query/plan"
	"nodedb/query/schema"
	"nodedb/query/wire"
)

// change has a change of the schema decided.
func (r *request) change(c *plan.Change) (*Result, error) {
	ch := c.Change // plans are shared: this run's own copy
	if c.AssignID {
		ch.ID = r.x.sources.Timeuuid()
	}
	topology := r.x.cluster.Topology()
	known := map[string]bool{}
	for _, n := range topology.Nodes {
		known[n.DC] = true
	}
	if c.Expand {
		ch.Replication = expand(ch.Replication, known)
	}
	if strings.HasSuffix(ch.Class, "NetworkTopologyStrategy") {
		for dc := range ch.Replication {
			if !known[dc] {
				text := fmt.Sprintf("Unrecognized strategy option {%s} passed to NetworkTopologyStrategy for keyspace %s; the datacenters are %s", dc, ch.Keyspace,
					strings.Join(slices.Sorted(maps.Keys(known)), ", "))
				return nil, wire.Errorf(wire.CodeConfig, "%s", c.At("WITH replication", text))
			}
		}
	}
	if err := r.guardChange(&ch); err != nil {
		return nil, err
	}
	// Not checked against the catalog here: it may be behind, and the metadata log judges on the newest.
	target, warning, err := r.x.cluster.ChangeSchema(r.ctx, &ch)
	if err != nil {
		return nil, placed(c, err)
	}
	res := &Result{Kind: ResultVoid}
	if target != (schema.Target{}) && !c.Truncate {
		res.Kind, res.Change = ResultSchemaChange, Change(target)
	}
	if warning != "" {
		res.Warnings = []string{warning}
	}
	return res, nil
}

// placed points a judgement on a change at what it is about in the text.
func placed(c *plan.Change, err error) error {
	se := (*schema.Error)(nil)
	if errors.As(err, &se) {
		e := *se
		e.Msg = c.At(se.About, se.Msg)
		return &e
	}
	if errors.Is(err, schema.ErrInvalid) || errors.Is(err, schema.ErrConfig) || errors.Is(err, schema.ErrNotFound) {
		e := schemaError(err).(*wire.Error)
		e.Message = c.At("", e.Message)
		return e
	}
	return err
}

// expand gives every datacenter that isn't named the replication_factor.
func expand(given map[string]string, known map[string]bool) map[string]string {
	out := maps.Clone(given)
	factor := out["replication_factor"]
	delete(out, "replication_factor")
	for dc := range known {
		if _, ok := out[dc]; !ok {
			out[dc] = factor
		}
	}
	return out
}
