package schema

import (
	"encoding/binary"
	"math"
)

// changeVersion is the newest layout of a change's bytes:
//
//	| 1 | op | flags | keyspace | name | id, 16 | class | replication map | columns | dropped | renamed | options map |
//
//	flags:   bit 0 IfExists, 1 IfColumn, 2 Durable is set, 3 Durable's value
//	columns: count, then for each | name | type | kind | position+1 | desc |
//	dropped: count, then names; renamed: count, then pairs of names
const changeVersion = 1

const (
	flagIfExists = 1 << iota
	flagIfColumn
	flagDurableSet
	flagDurable
)

// Append writes the change's bytes (versioned); DecodeChange reads them.
func (c *Change) Append(dst []byte) []byte {
	var flags byte
	if c.IfExists {
		flags |= flagIfExists
	}
	if c.IfColumn {
		flags |= flagIfColumn
	}
	if c.Durable != nil {
		flags |= flagDurableSet
		if *c.Durable {
			flags |= flagDurable
		}
	}
	dst = append(dst, changeVersion, byte(c.Op), flags)
	dst = appendString(appendString(dst, c.Keyspace), c.Name)
	dst = append(dst, c.ID[:]...)
	dst = appendMap(appendString(dst, c.Class), c.Replication)
	dst = binary.AppendUvarint(dst, uint64(len(c.Columns)))
	for _, d := range c.Columns {
		dst = appendString(appendString(dst, d.Name), d.Type)
		dst = append(dst, byte(d.Kind))
		dst = binary.AppendUvarint(dst, uint64(d.Position+1))
		dst = appendBool(dst, d.Desc)
	}
	dst = binary.AppendUvarint(dst, uint64(len(c.Dropped)))
	for _, d := range c.Dropped {
		dst = appendString(dst, d)
	}
	dst = binary.AppendUvarint(dst, uint64(len(c.Renamed)))
	for _, p := range c.Renamed {
		dst = appendString(appendString(dst, p[0]), p[1])
	}
	return appendMap(dst, c.Options)
}

func appendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// DecodeChange reads a change's bytes. Errors wrap ErrFormat.
func DecodeChange(b []byte) (*Change, error) {
	r := reader{b: b}
	r.version("schema change", changeVersion)
	c := &Change{Op: Op(r.byte("operation"))}
	if c.Op < CreateKeyspace || c.Op > DropType {
		r.fail("operation")
	}
	flags := r.byte("flags")
	if flags > 15 || flags&(flagDurableSet|flagDurable) == flagDurable {
		r.fail("flags")
	}
	c.IfExists, c.IfColumn = flags&flagIfExists != 0, flags&flagIfColumn != 0
	if flags&flagDurableSet != 0 {
		v := flags&flagDurable != 0
		c.Durable = &v
	}
	c.Keyspace, c.Name, c.ID = r.string("keyspace"), r.string("name"), r.id("id")
	c.Class, c.Replication = r.string("class"), r.stringMap("replication")
	for n := r.count("columns"); n > 0 && r.err == nil; n-- {
		d := ColumnDef{Name: r.string("column"), Type: r.string("type"), Kind: ColumnKind(r.byte("kind"))}
		d.Position, d.Desc = int(r.number("position", math.MaxInt32))-1, r.bool("order")
		if d.Kind > Regular {
			r.fail("kind")
		}
		c.Columns = append(c.Columns, d)
	}
	for n := r.count("dropped columns"); n > 0 && r.err == nil; n-- {
		c.Dropped = append(c.Dropped, r.string("dropped column"))
	}
	for n := r.count("renamed columns"); n > 0 && r.err == nil; n-- {
		c.Renamed = append(c.Renamed, [2]string{r.string("old name"), r.string("new name")})
	}
	c.Options = r.stringMap("options")
	if err := r.end("schema change"); err != nil {
		return nil, err
	}
	return c, nil
}
