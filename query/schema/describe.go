package schema

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"nodedb/query/cql"
)

// Create is the CREATE KEYSPACE statement, as DESCRIBE prints it.
func (k *Keyspace) Create() string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE KEYSPACE %s WITH replication = {'class': %s", cql.QuoteName(k.Name), cql.QuoteString(k.Class))
	for _, o := range slices.Sorted(maps.Keys(k.Options)) {
		fmt.Fprintf(&b, ", %s: %s", cql.QuoteString(o), cql.QuoteString(k.Options[o]))
	}
	fmt.Fprintf(&b, "}  AND durable_writes = %t;", k.DurableWrites)
	return b.String()
}

// CreateType is the CREATE TYPE statement of one of its user types, as DESCRIBE prints it; empty when there is none.
func (k *Keyspace) CreateType(name string) string {
	t, ok := k.Types[name]
	if !ok {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TYPE %s.%s (\n", cql.QuoteName(k.Name), cql.QuoteName(name))
	for i, f := range t.Fields {
		end := ",\n"
		if i == len(t.Fields)-1 {
			end = "\n"
		}
		fmt.Fprintf(&b, "    %s %s%s", cql.QuoteName(f), t.Elems[i], end)
	}
	b.WriteString(");")
	return b.String()
}

// TypesInOrder gives the user types' names so that each stands after those it uses.
func (k *Keyspace) TypesInOrder() []string {
	var order []string
	done := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		if done[name] {
			return
		}
		done[name] = true
		for _, other := range slices.Sorted(maps.Keys(k.Types)) {
			if other != name && references(k.Types[name], other) {
				visit(other)
			}
		}
		order = append(order, name)
	}
	for _, name := range slices.Sorted(maps.Keys(k.Types)) {
		visit(name)
	}
	return order
}

// printed are the table options in the order in which Cassandra prints them: by name, but memtable, which follows compression.
var printed = slices.SortedFunc(maps.Keys(options), func(a, b string) int {
	place := func(name string) string {
		if name == "memtable" {
			return "compression, memtable"
		}
		return name
	}
	return strings.Compare(place(a), place(b))
})

// Create is the CREATE TABLE statement, as DESCRIBE prints it; with internals it names the table's id too. A virtual
// table's is a comment.
func (t *Table) Create(internals bool) string {
	var b strings.Builder
	if t.Virtual {
		b.WriteString("/*\nWarning: Table " + t.Keyspace + "." + t.Name + " is a virtual table and cannot be recreated with CQL.\nStructure, for reference:\nVIRTUAL TABLE ")
	} else {
		b.WriteString("CREATE TABLE ")
	}
	fmt.Fprintf(&b, "%s.%s (\n", cql.QuoteName(t.Keyspace), cql.QuoteName(t.Name))
	t.createColumns(&b)
	if t.Virtual {
		fmt.Fprintf(&b, ") WITH %scomment = %s;\n*/", t.createOrder(), cql.QuoteString(t.Options.Comment))
		return b.String()
	}
	b.WriteString(") WITH ")
	if internals {
		fmt.Fprintf(&b, "ID = %x-%x-%x-%x-%x\n    AND ", t.ID[:4], t.ID[4:6], t.ID[6:8], t.ID[8:10], t.ID[10:])
	}
	b.WriteString(t.createOrder())
	first := true
	for _, name := range printed {
		if name == "memory" && !t.Options.Memory {
			continue // ours, and not known to a peer that may read this
		}
		if !first {
			b.WriteString("\n    AND ")
		}
		first = false
		fmt.Fprintf(&b, "%s = %s", name, t.Options.literal(name))
	}
	b.WriteString(";")
	return b.String()
}

func (t *Table) createColumns(b *strings.Builder) {
	// Without a clustering key and with one partition key column the key is told in its line.
	single := len(t.PartitionKey) == 1 && len(t.Clustering) == 0
	list := slices.Concat(t.PartitionKey, t.Clustering, singleFirst(t.Statics), singleFirst(t.Regulars))
	for i, c := range list {
		fmt.Fprintf(b, "    %s %s", cql.QuoteName(c.Name), c.Type)
		if c.Kind == Static {
			b.WriteString(" static")
		}
		if single && c.Kind == PartitionKey {
			b.WriteString(" PRIMARY KEY")
		}
		if !single || i < len(list)-1 {
			b.WriteString(",")
		}
		b.WriteString("\n")
	}
	if single {
		return
	}
	partition := names(t.PartitionKey)
	if len(t.PartitionKey) > 1 {
		partition = "(" + partition + ")"
	}
	if len(t.Clustering) > 0 {
		partition += ", " + names(t.Clustering)
	}
	fmt.Fprintf(b, "    PRIMARY KEY (%s)\n", partition)
}

// singleFirst puts columns of one cell before those of many (collections and user types that aren't frozen), as Cassandra keeps them.
func singleFirst(columns []*Column) []*Column {
	out := slices.Clone(columns)
	rank := func(c *Column) int {
		if c.Type.IsMultiCell() {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(out, func(a, b *Column) int { return rank(a) - rank(b) })
	return out
}

func names(columns []*Column) string {
	var list []string
	for _, c := range columns {
		list = append(list, cql.QuoteName(c.Name))
	}
	return strings.Join(list, ", ")
}

func (t *Table) createOrder() string {
	if len(t.Clustering) == 0 {
		return ""
	}
	var list []string
	for _, c := range t.Clustering {
		order := " ASC"
		if c.Desc {
			order = " DESC"
		}
		list = append(list, cql.QuoteName(c.Name)+order)
	}
	return "CLUSTERING ORDER BY (" + strings.Join(list, ", ") + ")\n    AND "
}

// literal is an option's value as CQL.
func (o *TableOptions) literal(name string) string {
	def := options[name]
	switch {
	case def.isMap:
		m := o.Map(name)
		var list []string
		for _, k := range slices.Sorted(maps.Keys(m)) {
			list = append(list, cql.QuoteString(k)+": "+cql.QuoteString(m[k]))
		}
		return "{" + strings.Join(list, ", ") + "}"
	case def.quoted:
		return cql.QuoteString(o.Option(name))
	}
	return o.Option(name)
}
