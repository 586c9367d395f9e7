package schema

import (
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"

	"nodedb/node/row"
	"nodedb/query/types"
)

// catalogVersion is the newest layout of a catalog's bytes:
//
//	catalog:  | 1 | epoch | highest storage id | keyspaces |
//	keyspace: | name | class | options map | durable | epoch | types | tables |
//	type:     | name | fields: count, then | name | type | |
//	table:    | name | id, 16 | storage id | epoch | next column id | comment | default ttl | gc grace | memory | extra map | columns |
//	column:   | name | id | kind | position+1 | desc | type |
//
// Lists are a count and their members by name, columns in the order of SELECT *. The Version is not written: it is a
// hash of these bytes.
const catalogVersion = 1

// Append writes the whole catalog (versioned, canonical); DecodeCatalog reads it. For the metadata log's snapshots.
func (c *Catalog) Append(dst []byte) []byte {
	dst = append(dst, catalogVersion)
	dst = binary.AppendUvarint(dst, c.Epoch)
	dst = binary.AppendUvarint(dst, uint64(c.Highest))
	dst = binary.AppendUvarint(dst, uint64(len(c.Keyspaces)))
	for _, name := range slices.Sorted(maps.Keys(c.Keyspaces)) {
		dst = c.Keyspaces[name].append(dst)
	}
	return dst
}

func (k *Keyspace) append(dst []byte) []byte {
	dst = appendString(appendString(dst, k.Name), k.Class)
	dst = appendBool(appendMap(dst, k.Options), k.DurableWrites)
	dst = binary.AppendUvarint(dst, k.Epoch)
	dst = binary.AppendUvarint(dst, uint64(len(k.Types)))
	for _, name := range slices.Sorted(maps.Keys(k.Types)) {
		t := k.Types[name]
		dst = appendString(dst, name)
		dst = binary.AppendUvarint(dst, uint64(len(t.Fields)))
		for i, f := range t.Fields {
			dst = appendString(appendString(dst, f), t.Elems[i].String())
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(k.Tables)))
	for _, name := range slices.Sorted(maps.Keys(k.Tables)) {
		dst = k.Tables[name].append(dst)
	}
	return dst
}

func (t *Table) append(dst []byte) []byte {
	dst = appendString(dst, t.Name)
	dst = append(dst, t.ID[:]...)
	dst = binary.AppendUvarint(dst, uint64(t.Storage))
	dst = binary.AppendUvarint(dst, t.Epoch)
	dst = binary.AppendUvarint(dst, uint64(t.NextColumn))
	dst = appendString(dst, t.Options.Comment)
	dst = binary.AppendUvarint(dst, uint64(t.Options.DefaultTTL))
	dst = binary.AppendUvarint(dst, uint64(t.Options.GCGraceSeconds))
	dst = appendMap(appendBool(dst, t.Options.Memory), t.Options.Extra)
	dst = binary.AppendUvarint(dst, uint64(len(t.Columns)))
	for _, c := range t.Columns {
		dst = appendString(dst, c.Name)
		dst = binary.AppendUvarint(dst, uint64(c.ID))
		dst = append(dst, byte(c.Kind))
		dst = binary.AppendUvarint(dst, uint64(c.Position+1))
		dst = appendString(appendBool(dst, c.Desc), c.Type.String())
	}
	return dst
}

// DecodeCatalog reads a catalog's bytes. Errors wrap ErrFormat.
func DecodeCatalog(b []byte) (*Catalog, error) {
	r := reader{b: b}
	r.version("catalog", catalogVersion)
	c := &Catalog{
		Epoch:     r.number("epoch", math.MaxUint64),
		Highest:   row.StorageID(r.number("highest storage id", math.MaxUint32)),
		Keyspaces: map[string]*Keyspace{},
	}
	for n := r.count("keyspaces"); n > 0 && r.err == nil; n-- {
		k := r.keyspace()
		if _, twice := c.Keyspaces[k.Name]; twice {
			r.fail("keyspace " + k.Name + ", twice")
		}
		c.Keyspaces[k.Name] = k
	}
	if err := r.end("catalog"); err != nil {
		return nil, err
	}
	if !slices.Equal(c.Append(nil), b) {
		return nil, fmt.Errorf("%w: catalog is not canonical", ErrFormat)
	}
	c.seal()
	return c, nil
}

func (r *reader) keyspace() *Keyspace {
	k := &Keyspace{
		Name: r.string("keyspace"), Class: r.string("class"), Options: r.stringMap("replication"),
		DurableWrites: r.bool("durable writes"), Epoch: r.number("epoch", math.MaxUint64),
		Tables: map[string]*Table{}, Types: map[string]*types.Type{},
	}
	if r.err == nil {
		var err error
		if k.Replication, err = replication(k.Name, k.Class, k.Options); err != nil {
			r.fail("replication: " + err.Error())
		}
	}
	r.types(k)
	for n := r.count("tables"); n > 0 && r.err == nil; n-- {
		t := r.table(k)
		k.Tables[t.Name] = t
	}
	return k
}

// rawType is a user type whose fields are still text: they may name types that stand later.
type rawType struct {
	fields, types []string
	open          bool // being resolved: meeting it again is a circle
}

func (r *reader) types(k *Keyspace) {
	raw := map[string]*rawType{}
	for n := r.count("types"); n > 0 && r.err == nil; n-- {
		name, t := r.string("type"), &rawType{}
		for m := r.count("fields"); m > 0 && r.err == nil; m-- {
			t.fields = append(t.fields, r.string("field"))
			t.types = append(t.types, r.string("field type"))
		}
		raw[name] = t
	}
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		if _, err := resolveRaw(k, raw, name); err != nil {
			r.fail("type " + name + ": " + err.Error())
			return
		}
	}
}

func resolveRaw(k *Keyspace, raw map[string]*rawType, name string) (*types.Type, error) {
	if t, ok := k.Types[name]; ok {
		return t, nil
	}
	rt, ok := raw[name]
	if !ok || rt.open {
		return nil, invalid("Unknown type %s.%s", k.Name, name)
	}
	rt.open = true
	t := &types.Type{Kind: types.UDT, Keyspace: k.Name, Name: name, Fields: rt.fields}
	for _, text := range rt.types {
		ft, err := types.Parse(text, func(_, n string) (*types.Type, error) { return resolveRaw(k, raw, n) })
		if err != nil {
			return nil, err
		}
		t.Elems = append(t.Elems, ft)
	}
	k.Types[name] = t
	return t, nil
}

func (r *reader) table(k *Keyspace) *Table {
	t := &Table{
		Keyspace: k.Name, Name: r.string("table"), ID: r.id("table id"),
		Storage: row.StorageID(r.number("storage id", math.MaxUint32)), Epoch: r.number("epoch", math.MaxUint64),
		NextColumn: row.ColumnID(r.number("next column", math.MaxUint16)),
		Options: TableOptions{
			Comment: r.string("comment"), DefaultTTL: int32(r.number("default ttl", math.MaxInt32)),
			GCGraceSeconds: int32(r.number("gc grace", math.MaxInt32)), Memory: r.bool("memory"), Extra: r.stringMap("options"),
		},
	}
	for n := r.count("columns"); n > 0 && r.err == nil; n-- {
		r.column(k, t)
	}
	if r.err == nil && len(t.PartitionKey) == 0 {
		r.fail("table " + t.Name + ": no partition key")
	}
	return t.Index()
}

func (r *reader) column(k *Keyspace, t *Table) {
	c := &Column{
		Name: r.string("column"), ID: row.ColumnID(r.number("column id", math.MaxUint16)), Kind: ColumnKind(r.byte("kind")),
		Position: int(r.number("position", math.MaxUint16)) - 1, Desc: r.bool("order"),
	}
	text := r.string("type")
	if r.err != nil {
		return
	}
	var err error
	if c.Type, err = types.Parse(text, k.resolve); err != nil {
		r.fail("column " + c.Name + ": " + err.Error())
		return
	}
	switch c.Kind {
	case PartitionKey:
		t.PartitionKey = append(t.PartitionKey, c)
	case Clustering:
		t.Clustering = append(t.Clustering, c)
	case Static:
		t.Statics = append(t.Statics, c)
	case Regular:
		t.Regulars = append(t.Regulars, c)
	default:
		r.fail("kind")
	}
}

// seal computes what follows from the rest: the Version and the storage ids' index.
func (c *Catalog) seal() {
	c.byStorage = map[row.StorageID]*Table{}
	for _, k := range c.Keyspaces {
		for _, t := range k.Tables {
			c.byStorage[t.Storage] = t
		}
	}
	// A name-based UUID (version 3), as Cassandra's schema versions are.
	c.Version = md5.Sum(c.Append(nil))
	c.Version[6] = c.Version[6]&0x0f | 0x30
	c.Version[8] = c.Version[8]&0x3f | 0x80
}
