package exec

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"nodedb/query/cql"
	"nodedb/query/plan"
	"nodedb/query/schema"
	"nodedb/query/types"
	"nodedb/query/virtual"
	"nodedb/query/wire"
)

// partitioner is what drivers know our hash by.
const partitioner = "org.apache.cassandra.dht.Murmur3Partitioner"

// description gathers the rows of a DESCRIBE.
type description struct {
	d      *plan.Describe
	rows   []byte
	count  int
	create bool // with the create_statement column
}

func (r *request) describe(d *plan.Describe) (*Result, error) {
	out := &description{d: d, create: len(r.plan.Columns) == 4}
	if err := out.run(r); err != nil {
		return nil, err
	}
	return &Result{Kind: ResultRows, Columns: r.plan.Columns, Rows: out.rows, RowCount: out.count}, nil
}

func (o *description) run(r *request) error {
	all := maps.Clone(r.x.system)
	maps.Copy(all, r.x.Catalog().Keyspaces)
	n := o.d.Name
	switch o.d.What {
	case "CLUSTER":
		return o.cluster(r)
	case "KEYSPACES":
		for _, ks := range sorted(all) {
			o.row(ks, "keyspace", ks, "")
		}
	case "TABLES", "TYPES", "FUNCTIONS", "AGGREGATES":
		o.list(all)
	case "SCHEMA":
		for _, ks := range sorted(all) {
			if o.d.Full || !schema.IsSystem(ks) {
				o.keyspace(all[ks], false)
			}
		}
	case "KEYSPACE":
		name := n.Name
		if name == "" {
			name = o.d.Keyspace
		}
		if name == "" {
			return invalid("No keyspace specified and no current keyspace")
		}
		ks, ok := all[name]
		if !ok {
			return plan.At(n, "'%s' not found in keyspaces", name)
		}
		o.keyspace(ks, o.d.Only)
	default:
		return o.named(all)
	}
	return nil
}

func invalid(format string, args ...any) error { return wire.Errorf(wire.CodeInvalid, format, args...) }

// sorted gives names as Cassandra lists them: without regard to case.
func sorted[V any](m map[string]V) []string {
	return slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		return cmp.Or(strings.Compare(strings.ToLower(a), strings.ToLower(b)), strings.Compare(a, b))
	})
}

// row adds one row. Names are quoted where CQL needs it.
func (o *description) row(keyspace, kind, name, create string) {
	for _, text := range []string{cql.QuoteName(keyspace), kind, cql.QuoteName(name)} {
		o.rows = types.AppendElement(o.rows, []byte(text))
	}
	if o.create {
		o.rows = types.AppendElement(o.rows, []byte(create))
	}
	o.count++
}

// list names all tables or types: of the session's keyspace when there is one.
func (o *description) list(all map[string]*schema.Keyspace) {
	for _, name := range sorted(all) {
		if o.d.Keyspace != "" && o.d.Keyspace != name {
			continue
		}
		switch o.d.What {
		case "TABLES":
			for _, t := range sorted(all[name].Tables) {
				o.row(name, "table", t, "")
			}
		case "TYPES":
			for _, t := range sorted(all[name].Types) {
				o.row(name, "type", t, "")
			}
		}
	}
}

// keyspace describes a keyspace and, unless only is set, all in it.
func (o *description) keyspace(ks *schema.Keyspace, only bool) {
	create := ks.Create()
	if isVirtual(ks) {
		create = fmt.Sprintf("/*\nWarning: Keyspace %s is a virtual keyspace and cannot be recreated with CQL.\nStructure, for reference:\nVIRTUAL KEYSPACE %s;\n*/", ks.Name, ks.Name)
	}
	o.row(ks.Name, "keyspace", ks.Name, create)
	if only {
		return
	}
	for _, t := range ks.TypesInOrder() {
		o.row(ks.Name, "type", t, ks.CreateType(t))
	}
	for _, t := range sorted(ks.Tables) {
		o.row(ks.Name, "table", t, ks.Tables[t].Create(o.d.Internals))
	}
}

func isVirtual(ks *schema.Keyspace) bool {
	for _, t := range ks.Tables {
		return t.Virtual
	}
	return schema.IsSystem(ks.Name)
}

// named describes one table or type, or what a bare name means: a keyspace, table or type.
func (o *description) named(all map[string]*schema.Keyspace) error {
	n := o.d.Name
	name, kind := n.Keyspace, strings.ToLower(o.d.What)
	if name == "" {
		if ks, ok := all[n.Name]; ok && kind == "" {
			o.keyspace(ks, false)
			return nil
		}
		name = o.d.Keyspace
	}
	if name == "" {
		if kind == "" {
			return plan.At(n, "'%s' not found in keyspaces", n.Name)
		}
		return invalid("No keyspace specified and no current keyspace")
	}
	ks, ok := all[name]
	if !ok {
		return plan.At(n, "'%s' not found in keyspaces", name)
	}
	if t, ok := ks.Tables[n.Name]; ok && (kind == "table" || kind == "") {
		o.row(name, "table", t.Name, t.Create(o.d.Internals))
		return nil
	}
	if create := ks.CreateType(n.Name); create != "" && (kind == "type" || kind == "") {
		o.row(name, "type", n.Name, create)
		return nil
	}
	switch kind {
	case "table":
		return plan.At(n, "Table '%s' not found in keyspace '%s'", n.Name, name)
	case "type":
		return plan.At(n, "User defined type '%s' not found in '%s'", n.Name, name)
	case "":
		return plan.At(n, "'%s' not found in keyspace '%s'", n.Name, name)
	}
	return plan.At(n, "%s '%s' not found in keyspace '%s'", o.d.What, n.Name, name)
}

func (o *description) cluster(r *request) error {
	t := r.x.cluster.Topology()
	for _, text := range []string{t.ClusterName, partitioner, "org.apache.cassandra.locator.GossipingPropertyFileSnitch"} {
		o.rows = types.AppendElement(o.rows, []byte(text))
	}
	o.count = 1
	ks, ok := r.x.Catalog().Keyspace(o.d.Keyspace)
	if len(r.plan.Columns) < 4 {
		return nil
	}
	if !ok {
		return invalid("Keyspace '%s' does not exist", o.d.Keyspace)
	}
	o.rows = types.AppendElement(o.rows, ownership(r.plan.Columns[3].Type, t, ks))
	return nil
}

// ownership maps each range's end token to the addresses of its replicas, as a value of map<text, list<text>>.
func ownership(mapType *types.Type, t virtual.Topology, ks *schema.Keyspace) []byte {
	var pairs []byte
	ranges := t.Ring.Place(ks.Replication).Ranges()
	for _, rr := range ranges {
		var list []byte
		for _, n := range rr.Replicas.Read() {
			list = types.AppendElement(list, []byte(n.Address))
		}
		pairs = types.AppendElement(pairs, []byte(strconv.FormatInt(int64(rr.Range.End), 10)))
		pairs = types.AppendElement(pairs, append(types.AppendCount(nil, len(rr.Replicas.Read())), list...))
	}
	return mapType.Canonical(append(types.AppendCount(nil, len(ranges)), pairs...))
}
