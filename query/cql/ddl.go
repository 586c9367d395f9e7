package cql

// create reads what follows CREATE.
func (p *parser) create(at Pos) Statement {
	switch {
	case p.accept("KEYSPACE"):
		st := &CreateKeyspace{Pos: at, IfNotExists: p.ifNotExists()}
		st.NameAt, st.Name = p.tok.pos, p.name("a keyspace").Name
		p.expect("WITH")
		st.Options = p.properties()
		return st
	case p.accept("TABLE"), p.is("COLUMNFAMILY") && p.accept("COLUMNFAMILY"):
		return p.createTable(at)
	case p.accept("TYPE"):
		return p.createType(at)
	case p.is("OR"):
		p.expect("OR", "REPLACE")
		if p.at("FUNCTION") || p.at("AGGREGATE") {
			return p.unsupported(at, "CREATE")
		}
		p.fail()
	}
	for _, w := range [...]string{"INDEX", "CUSTOM", "MATERIALIZED", "FUNCTION", "AGGREGATE", "TRIGGER", "ROLE", "USER", "GENERATED"} {
		if p.at(w) {
			return p.unsupported(at, "CREATE")
		}
	}
	p.fail()
	return nil
}

// createTable reads what follows CREATE TABLE.
func (p *parser) createTable(at Pos) Statement {
	st := &CreateTable{Pos: at, IfNotExists: p.ifNotExists(), Table: p.qualified("a table")}
	if p.is("LIKE") {
		p.failMsg("CREATE TABLE … LIKE is not part of CQL 3.4.7: name the columns")
	}
	p.expect("(")
	p.looseList(func() { p.tableItem(st) })
	p.expect(")")
	if p.accept("WITH") {
		p.tableProperty(st)
		for p.accept("AND") {
			p.tableProperty(st)
		}
	}
	if st.PartitionKey == nil {
		p.refuse(st.Table.Pos, st.Table.Name, "No PRIMARY KEY specified for table '%s' (exactly one required)", st.Table.Name)
	}
	return st
}

// tableItem reads one column, or PRIMARY KEY (…).
func (p *parser) tableItem(st *CreateTable) {
	if p.at("PRIMARY") {
		p.onlyKey(st)
		p.expect("PRIMARY", "KEY")
		p.primaryKey(st)
		return
	}
	c := p.columnDef()
	if p.accept("STATIC") {
		c.Static = true
	}
	c.Mask = p.mask()
	if p.at("PRIMARY") {
		p.onlyKey(st)
		p.expect("PRIMARY", "KEY")
		st.PartitionKey = []Ident{c.Name}
	}
	st.Columns = append(st.Columns, c)
}

func (p *parser) onlyKey(st *CreateTable) {
	if st.PartitionKey != nil {
		p.refuse(p.tok.pos, p.tok.text, "Multiple PRIMARY KEY specified for table '%s' (exactly one required); a key of several columns is written PRIMARY KEY (a, b)", st.Table.Name)
	}
}

// primaryKey reads (k, c, …) or ((k1, k2), c, …).
func (p *parser) primaryKey(st *CreateTable) {
	p.expect("(")
	if p.is("(") {
		st.PartitionKey = p.names("a column")
	} else {
		st.PartitionKey = []Ident{p.name("a column")}
	}
	for p.accept(",") {
		st.Clustering = append(st.Clustering, p.name("a column"))
	}
	p.expect(")")
}

// columnDef reads a column or field and its type.
func (p *parser) columnDef() ColumnDef {
	return ColumnDef{Name: p.name("a column"), Type: p.typeName()}
}

// mask reads MASKED WITH f(…) or MASKED WITH DEFAULT, if it comes.
func (p *parser) mask() Expr {
	if !p.accept("MASKED") {
		return nil
	}
	p.expect("WITH")
	at := p.tok.pos
	if p.is("DEFAULT") && p.peek().sym != "(" {
		p.next()
		return &Constant{Pos: at, Type: Null, Text: "null"}
	}
	e := p.value()
	if _, ok := e.(*Call); !ok {
		p.failAt(at, e.String(), "a mask is a function call", "")
	}
	return e
}

// tableProperty reads one term of CREATE TABLE … WITH.
func (p *parser) tableProperty(st *CreateTable) {
	switch {
	case p.at("COMPACT") && p.peek().sym == "STORAGE":
		p.expect("COMPACT", "STORAGE")
		st.CompactStorage = true
	case p.at("CLUSTERING") && p.peek().sym == "ORDER":
		p.expect("CLUSTERING", "ORDER", "BY", "(")
		p.list(func() { st.Order = append(st.Order, p.ordering(false)) })
		p.expect(")")
	default:
		st.Options = append(st.Options, p.property(st.Options))
	}
}

// properties reads options joined by AND.
func (p *parser) properties() []Property {
	props := []Property{p.property(nil)}
	for p.accept("AND") {
		props = append(props, p.property(props))
	}
	return props
}

// property reads name = constant, word or map; seen are those read before.
func (p *parser) property(seen []Property) Property {
	name := p.name("an option")
	for _, s := range seen {
		if s.Name == name.Name {
			p.failAt(name.Pos, name.Name, "Multiple definitions for property '"+name.Name+"'", "")
		}
	}
	p.expect("=")
	pr := Property{Pos: name.Pos, Name: name.Name}
	if p.at("{") {
		pr.IsMap, pr.Map = true, p.propertyMap()
		return pr
	}
	pr.Quoted = p.tok.kind == tokenString
	pr.Text = p.propertyText()
	return pr
}

// propertyText reads a constant, or a bare word such as NONE.
func (p *parser) propertyText() string {
	sign := ""
	if p.is("-") {
		p.next()
		sign = "-"
	}
	if p.tok.kind == tokenWord && !p.tok.reserved && sign == "" {
		text := p.tok.text
		p.next()
		return text
	}
	if p.atMarker() {
		p.failMsg("schema statements take no bind markers")
	}
	c := p.constant()
	if c == nil || sign != "" && !isNumber(c) {
		p.failWant("a constant")
	}
	return sign + c.Text
}

func (p *parser) propertyMap() []Pair {
	var pairs []Pair
	p.expect("{")
	if p.accept("}") {
		return pairs
	}
	seen := make(map[string]bool)
	p.list(func() {
		key := p.tok
		pair := Pair{Key: p.propertyText()}
		if seen[pair.Key] {
			p.failAt(key.pos, key.text, "the key is given twice", "")
		}
		seen[pair.Key] = true
		p.expect(":")
		pair.Value = p.propertyText()
		pairs = append(pairs, pair)
	})
	p.expect("}")
	return pairs
}

// reservedTypes can't name a user type unless quoted: Cassandra keeps them for types to come.
var reservedTypes = map[string]bool{
	"byte": true, "complex": true, "enum": true, "interval": true, "macaddr": true, "bitstring": true,
}

// userType reads the name of a user type.
func (p *parser) userType() Name {
	at := p.tok
	n := p.qualified("a type")
	if n.Keyspace == "" && at.kind == tokenWord && (reservedTypes[n.Name] || isNativeType[at.sym]) {
		p.failAt(at.pos, at.text, "a user type can't have the name of a built-in or reserved type", "")
	}
	return n
}

// createType reads what follows CREATE TYPE.
func (p *parser) createType(at Pos) Statement {
	st := &CreateType{Pos: at, IfNotExists: p.ifNotExists(), Type: p.userType()}
	p.expect("(")
	p.looseList(func() { st.Fields = append(st.Fields, p.columnDef()) })
	p.expect(")")
	return st
}

// alter reads what follows ALTER.
func (p *parser) alter(at Pos) Statement {
	switch {
	case p.accept("KEYSPACE"):
		st := &AlterKeyspace{Pos: at, IfExists: p.ifExists()}
		st.NameAt, st.Name = p.tok.pos, p.name("a keyspace").Name
		p.expect("WITH")
		st.Options = p.properties()
		return st
	case p.accept("TABLE"), p.is("COLUMNFAMILY") && p.accept("COLUMNFAMILY"):
		st := &AlterTable{Pos: at, IfExists: p.ifExists(), Table: p.qualified("a table")}
		p.alterTable(st)
		return st
	case p.accept("TYPE"):
		st := &AlterType{Pos: at, IfExists: p.ifExists(), Type: p.qualified("a type")}
		p.alterType(st)
		return st
	}
	for _, w := range [...]string{"MATERIALIZED", "ROLE", "USER"} {
		if p.at(w) {
			return p.unsupported(at, "ALTER")
		}
	}
	p.fail()
	return nil
}

// alterTable reads the action of ALTER TABLE.
func (p *parser) alterTable(st *AlterTable) {
	switch {
	case p.accept("ADD"):
		st.AddIfNotExists = p.ifNotExists()
		p.maybeBracketed(func() {
			c := p.columnDef()
			c.Static = p.accept("STATIC")
			c.Mask = p.mask()
			st.Add = append(st.Add, c)
		})
	case p.accept("DROP", "COMPACT", "STORAGE"):
		st.DropCompact = true
	case p.accept("DROP"):
		st.DropIfExists = p.ifExists()
		p.maybeBracketed(func() { st.Drop = append(st.Drop, p.name("a column")) })
		if p.accept("USING") {
			p.expect("TIMESTAMP")
			st.DropTimestamp = p.number("a timestamp in microseconds")
		}
	case p.accept("RENAME"):
		st.RenameIfExists = p.ifExists()
		st.Rename = p.renames()
	case p.accept("ALTER"):
		p.alterColumn(st)
	case p.accept("WITH"):
		st.Options = p.properties()
	default:
		p.fail()
	}
}

// alterColumn reads what follows ALTER TABLE t ALTER.
func (p *parser) alterColumn(st *AlterTable) {
	p.ifExists()
	st.Alter = &ColumnDef{Name: p.name("a column")}
	switch {
	case p.accept("TYPE"):
		st.Alter.Type = p.typeName()
	case p.accept("DROP"):
		p.expect("MASKED")
		st.DropMask = true
	default:
		st.Alter.Mask = p.mask()
		if st.Alter.Mask == nil {
			p.fail()
		}
	}
}

// alterType reads the action of ALTER TYPE.
func (p *parser) alterType(st *AlterType) {
	switch {
	case p.accept("ADD"):
		st.AddIfNotExists = p.ifNotExists()
		st.Add = []ColumnDef{p.columnDef()}
	case p.accept("RENAME"):
		st.RenameIfExists = p.ifExists()
		st.Rename = p.renames()
	case p.accept("ALTER"):
		c := ColumnDef{Name: p.name("a field")}
		p.expect("TYPE")
		c.Type = p.typeName()
		st.Alter = &c
	default:
		p.fail()
	}
}

// maybeBracketed reads one item, or several in parentheses.
func (p *parser) maybeBracketed(item func()) {
	if !p.accept("(") {
		item()
		return
	}
	p.list(item)
	p.expect(")")
}

// renames reads a TO b AND c TO d.
func (p *parser) renames() []Rename {
	var rs []Rename
	for {
		r := Rename{From: p.name("a name")}
		p.expect("TO")
		r.To = p.name("a name")
		rs = append(rs, r)
		if !p.accept("AND") {
			return rs
		}
	}
}

// drop reads what follows DROP.
func (p *parser) drop(at Pos) Statement {
	switch {
	case p.accept("KEYSPACE"):
		st := &DropKeyspace{Pos: at, IfExists: p.ifExists()}
		st.NameAt, st.Name = p.tok.pos, p.name("a keyspace").Name
		return st
	case p.accept("TABLE"), p.is("COLUMNFAMILY") && p.accept("COLUMNFAMILY"):
		return &DropTable{Pos: at, IfExists: p.ifExists(), Table: p.qualified("a table")}
	case p.accept("TYPE"):
		return &DropType{Pos: at, IfExists: p.ifExists(), Type: p.qualified("a type")}
	}
	for _, w := range [...]string{"INDEX", "MATERIALIZED", "FUNCTION", "AGGREGATE", "TRIGGER", "ROLE", "USER", "IDENTITY"} {
		if p.at(w) {
			return p.unsupported(at, "DROP")
		}
	}
	p.fail()
	return nil
}
