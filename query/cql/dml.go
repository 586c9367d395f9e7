package cql

// parseStatement reads any statement.
func (p *parser) parseStatement() Statement {
	at := p.tok.pos
	if st := p.dataStatement(); st != nil {
		return st
	}
	switch {
	case p.accept("USE"):
		n := p.name("a keyspace")
		return &Use{Pos: at, Keyspace: n.Name, NameAt: n.Pos}
	case p.accept("TRUNCATE"):
		if !p.accept("TABLE") {
			p.accept("COLUMNFAMILY")
		}
		return &Truncate{Pos: at, Table: p.qualified("a table")}
	case p.accept("BEGIN"):
		return p.batch(at)
	case p.accept("CREATE"):
		return p.create(at)
	case p.accept("ALTER"):
		return p.alter(at)
	case p.accept("DROP"):
		return p.drop(at)
	case p.accept("DESCRIBE"), p.is("DESC") && p.accept("DESC"):
		return p.describe(at)
	}
	if st := p.access(at); st != nil {
		return st
	}
	p.nWanted = 0
	if p.tok.kind == tokenEnd {
		p.failAt(at, "", "there is no statement here", "")
	}
	for _, w := range [...]string{"SELECT", "INSERT", "UPDATE", "DELETE", "BEGIN", "CREATE", "ALTER", "DROP", "TRUNCATE", "USE", "DESCRIBE"} {
		p.expected(w)
	}
	p.fail()
	return nil
}

// dataStatement reads SELECT, INSERT, UPDATE or DELETE, or gives nil.
func (p *parser) dataStatement() Statement {
	at := p.tok.pos
	switch {
	case p.accept("SELECT"):
		return p.selectStatement(at)
	case p.accept("INSERT"):
		return p.insert(at)
	case p.accept("UPDATE"):
		return p.update(at)
	case p.accept("DELETE"):
		return p.delete(at)
	}
	return nil
}

// insert reads INSERT INTO ….
func (p *parser) insert(at Pos) Statement {
	st := &Insert{Pos: at}
	p.expect("INTO")
	st.Table = p.qualified("a table")
	if p.at("JSON") && !p.is("(") {
		p.insertJSON(st)
	} else {
		p.insertValues(st)
	}
	st.IfNotExists = p.ifNotExists()
	p.using(&st.Using, true)
	return st
}

func (p *parser) insertJSON(st *Insert) {
	p.expect("JSON")
	switch {
	case p.atMarker():
		st.JSON = p.marker()
	case p.tok.kind == tokenString:
		st.JSON = p.constant()
	default:
		p.failWant("a JSON document in quotes")
	}
	if p.accept("DEFAULT") {
		st.DefaultUnset = p.accept("UNSET")
		if !st.DefaultUnset {
			p.expect("NULL")
		}
	}
}

func (p *parser) insertValues(st *Insert) {
	st.Columns = p.names("a column")
	p.expect("VALUES")
	if p.is("(") && p.peek().sym == ")" {
		p.next()
		p.failWant("a value")
	}
	st.ValuesAt = p.tok.pos
	st.Values = p.elements("(", ")", inValue)
}

// using reads USING TIMESTAMP x AND TTL y, if it comes, in any order. The last one of a kind counts.
func (p *parser) using(u *Using, ttl bool) {
	if !p.accept("USING") {
		return
	}
	for {
		switch {
		case p.accept("TIMESTAMP"):
			u.Timestamp = p.number("a timestamp in microseconds")
		case ttl && p.accept("TTL"):
			u.TTL = p.number("a TTL in seconds")
		default:
			if !ttl && p.is("TTL") {
				p.failMsg("TTL can't be given here, only TIMESTAMP")
			}
			p.fail()
		}
		if !p.accept("AND") {
			return
		}
	}
}

// number reads an integer or a marker.
func (p *parser) number(what string) Expr {
	if p.atMarker() {
		return p.marker()
	}
	at := p.tok.pos
	sign := ""
	if p.is("-") {
		p.next()
		sign = "-"
	}
	if p.tok.kind != tokenInteger {
		p.failWant(what)
	}
	c := p.constant()
	c.Pos, c.Text = at, sign+c.Text
	return c
}

// update reads UPDATE ….
func (p *parser) update(at Pos) Statement {
	st := &Update{Pos: at, Table: p.qualified("a table")}
	p.using(&st.Using, true)
	p.expect("SET")
	p.list(func() { st.Set = append(st.Set, p.assignment()) })
	p.compatible(st.Set)
	p.expect("WHERE")
	st.Where = p.where()
	if p.accept("IF") {
		st.IfExists, st.If = p.conditions()
	}
	return st
}

// compatible refuses to set a column as a whole beside anything else that is done to it, and a field twice.
func (p *parser) compatible(set []Assignment) {
	if len(set) < 2 {
		return
	}
	whole, seen, fields := map[string]bool{}, map[string]bool{}, map[[2]string]bool{}
	for i := range set {
		a := &set[i]
		name, field := a.Column.Name, [2]string{}
		if a.Field != nil {
			field = [2]string{name, a.Field.Name}
		}
		all := a.Op == Assign && a.Key == nil && a.Field == nil
		if whole[name] || all && seen[name] || a.Field != nil && fields[field] {
			p.failAt(a.Column.Pos, "", "Multiple incompatible setting of column "+name, "")
		}
		whole[name], seen[name], fields[field] = all, true, true
	}
}

// assignment reads one term of SET.
func (p *parser) assignment() Assignment {
	a := Assignment{Pos: p.tok.pos, Column: p.name("a column")}
	switch {
	case p.accept("["):
		a.Key = p.value()
		p.expect("]", "=")
		a.Value = p.value()
	case p.accept("."):
		f := p.name("a field")
		a.Field = &f
		p.expect("=")
		a.Value = p.value()
	case p.accept("+="):
		a.Op, a.Value = Append, p.value()
	case p.accept("-="):
		a.Op, a.Value = Subtract, p.value()
	default:
		p.expect("=")
		p.assigned(&a)
	}
	return a
}

// assigned reads the right side of c = …: c + v, c - v, v + c or v.
func (p *parser) assigned(a *Assignment) {
	next := p.peek()
	if isName(p.tok) && next.sym != "(" && next.sym != "." {
		if next.sym != "+" && next.sym != "-" {
			p.failMsg("a value is expected here, not a name; strings stand in 'single quotes'")
		}
		p.sameColumn(a)
		a.Op = Append
		if p.is("-") {
			a.Op = Subtract
		}
		p.next()
		a.Value = p.value()
		return
	}
	a.Value = p.sum(inSet)
	if p.is("-") {
		p.failMsg("only %s = value + %s is possible here, or %s = %s - value", a.Column.Name, a.Column.Name, a.Column.Name, a.Column.Name)
	}
	if p.accept("+") {
		p.sameColumn(a)
		a.Op = Prepend
	}
}

// sameColumn reads the assignment's own column again.
func (p *parser) sameColumn(a *Assignment) {
	if nameValue(p.tok) != a.Column.Name {
		p.failMsg("only the column that is set, %s, can stand here", a.Column.Name)
	}
	p.next()
}

// delete reads DELETE ….
func (p *parser) delete(at Pos) Statement {
	st := &Delete{Pos: at}
	if !p.at("FROM") {
		p.list(func() { st.Targets = append(st.Targets, p.deleteTarget()) })
	}
	p.expect("FROM")
	st.Table = p.qualified("a table")
	p.using(&st.Using, false)
	p.expect("WHERE")
	st.Where = p.where()
	if p.accept("IF") {
		st.IfExists, st.If = p.conditions()
	}
	return st
}

func (p *parser) deleteTarget() DeleteTarget {
	t := DeleteTarget{Pos: p.tok.pos}
	if p.is("*") {
		p.failMsg("DELETE takes no *: leave it out to delete whole rows")
	}
	t.Column = p.name("a column")
	switch {
	case p.accept("["):
		t.Key = p.value()
		p.expect("]")
	case p.accept("."):
		f := p.name("a field")
		t.Field = &f
	}
	return t
}

// batch reads what follows BEGIN.
func (p *parser) batch(at Pos) Statement {
	st := &Batch{Pos: at}
	switch {
	case p.accept("UNLOGGED"):
		st.Type = Unlogged
	case p.accept("COUNTER"):
		st.Type = CounterBatch
	}
	p.expect("BATCH")
	p.using(&st.Using, true)
	for !p.at("APPLY") {
		if p.is("SELECT") {
			p.failMsg("a batch holds INSERT, UPDATE and DELETE only")
		}
		if p.tok.kind == tokenEnd {
			p.fail()
		}
		inner := p.dataStatement()
		if inner == nil {
			p.fail()
		}
		st.Statements = append(st.Statements, inner)
		p.accept(";")
	}
	p.expect("APPLY", "BATCH")
	return st
}

// selectStatement reads what follows SELECT.
func (p *parser) selectStatement(at Pos) Statement {
	st := &Select{Pos: at}
	// json and distinct may be columns too: SELECT json FROM t, SELECT distinct, a FROM t.
	if p.is("JSON") && p.selectsAhead() {
		p.next()
		st.JSON = true
	}
	if p.is("DISTINCT") && p.selectsAhead() {
		p.next()
		st.Distinct = true
	}
	if p.is("*") {
		p.next()
	} else {
		p.list(func() { st.Selectors = append(st.Selectors, p.selectItem()) })
	}
	p.expect("FROM")
	st.Table = p.qualified("a table")
	if p.accept("WHERE") {
		st.Where = p.where()
	}
	if p.accept("GROUP") {
		p.expect("BY")
		p.list(func() { st.GroupBy = append(st.GroupBy, p.selector()) })
	}
	p.selectTail(st)
	return st
}

// selectTail reads what comes behind GROUP BY.
func (p *parser) selectTail(st *Select) {
	if p.accept("ORDER") {
		p.expect("BY")
		p.list(func() { st.OrderBy = append(st.OrderBy, p.ordering(true)) })
	}
	if p.accept("PER") {
		p.expect("PARTITION", "LIMIT")
		st.PerPartitionLimit = p.number("a limit")
	}
	if p.accept("LIMIT") {
		st.Limit = p.number("a limit")
	}
	if p.accept("ALLOW") {
		p.expect("FILTERING")
		st.AllowFiltering = true
	}
	if p.accept("WITH") {
		st.Options = p.properties()
	}
}

// selectsAhead says whether the word at tok, which may also be a column, is followed by what is selected.
func (p *parser) selectsAhead() bool {
	l := p.lex
	t := l.next()
	if t.sym == "*" {
		// json * FROM, not json * 2.
		return l.next().sym == "FROM"
	}
	return t.sym == "TOKEN" || t.sym == "-" || t.sym == "[" || startsOperand(t)
}

func (p *parser) selectItem() Selector {
	s := Selector{Expr: p.selector()}
	if p.accept("AS") {
		s.Alias = p.name("an alias").Name
	}
	return s
}

// ordering reads one term of ORDER BY.
func (p *parser) ordering(ann bool) Ordering {
	o := Ordering{Column: p.name("a column")}
	switch {
	case ann && p.accept("ANN"):
		p.expect("OF")
		o.ANN = p.value()
	case p.accept("DESC"):
		o.Desc = true
	default:
		p.accept("ASC")
	}
	return o
}
