package cql

// describe reads what follows DESCRIBE.
func (p *parser) describe(at Pos) Statement {
	st := &Describe{Pos: at}
	p.described(st)
	if p.accept("WITH") {
		p.expect("INTERNALS")
		st.Internals = true
	}
	return st
}

// described reads what is to be described.
func (p *parser) described(st *Describe) {
	for _, w := range [...]string{"CLUSTER", "KEYSPACES", "TABLES", "TYPES", "FUNCTIONS", "AGGREGATES", "SCHEMA"} {
		// A table may have the name of an unreserved one of these: DESCRIBE types.x.
		if p.at(w) && p.peek().sym != "." {
			p.next()
			st.What = w
			return
		}
	}
	switch {
	case p.accept("FULL"):
		p.expect("SCHEMA")
		st.What, st.Full = "SCHEMA", true
	case p.at("KEYSPACE"), p.at("ONLY") && p.peek().sym == "KEYSPACE":
		st.Only = p.accept("ONLY")
		p.expect("KEYSPACE")
		st.What = "KEYSPACE"
		if isName(p.tok) {
			st.Name.Pos = p.tok.pos
			st.Name.Name = p.name("a keyspace").Name
		}
	case p.accept("MATERIALIZED"):
		p.expect("VIEW")
		st.What, st.Name = "MATERIALIZED VIEW", p.qualified("a view")
	case p.accept("TABLE"), p.is("COLUMNFAMILY") && p.accept("COLUMNFAMILY"):
		st.What, st.Name = "TABLE", p.qualified("a table")
	case p.accept("INDEX"):
		st.What, st.Name = "INDEX", p.qualified("an index")
	default:
		p.describedByName(st)
	}
}

// describedByName reads TYPE, FUNCTION or AGGREGATE with a name, or a name alone.
func (p *parser) describedByName(st *Describe) {
	for _, w := range [...]string{"TYPE", "FUNCTION", "AGGREGATE"} {
		if p.at(w) && isName(p.peek()) {
			p.next()
			st.What, st.Name = w, p.qualified("a name")
			return
		}
	}
	st.Name = p.qualified("a name")
}

// access reads the statements on roles and permissions, or gives nil.
func (p *parser) access(at Pos) Statement {
	switch {
	case p.accept("GRANT"):
		return p.unsupported(at, "GRANT")
	case p.accept("REVOKE"):
		return p.unsupported(at, "REVOKE")
	case p.accept("ADD"):
		if p.at("IDENTITY") {
			return p.unsupported(at, "ADD")
		}
		p.fail()
	case p.accept("LIST"):
		return p.unsupported(at, "LIST")
	}
	return nil
}

// unsupported reads a statement that is recognised and otherwise only checked for its tokens and brackets. verb is behind us, the object at tok.
func (p *parser) unsupported(at Pos, verb string) Statement {
	st := &Unsupported{Pos: at, What: p.unsupportedName(verb)}
	var open []token
	end := p.tok.pos.Offset
	for p.tok.kind != tokenEnd && (p.tok.sym != ";" || len(open) > 0) {
		switch p.tok.sym {
		case "(", "[", "{":
			open = append(open, p.tok)
			if len(open) > p.limits.Depth {
				p.failMsg("nested deeper than the limit of %d levels", p.limits.Depth)
			}
		case ")", "]", "}":
			if len(open) == 0 || closing[open[len(open)-1].sym] != p.tok.sym {
				p.failMsg("this bracket closes nothing")
			}
			open = open[:len(open)-1]
		}
		end = p.tok.pos.Offset + len(p.tok.text)
		p.next()
	}
	if len(open) > 0 {
		last := open[len(open)-1]
		p.failAt(last.pos, last.text, "this bracket is never closed", "")
	}
	st.Text = p.lex.src[at.Offset:end]
	return st
}

var closing = map[string]string{"(": ")", "[": "]", "{": "}"}

// unsupportedName names the statement by its first words: CREATE CUSTOM INDEX and CREATE INDEX are one. It doesn't move.
func (p *parser) unsupportedName(verb string) string {
	switch verb {
	case "GRANT", "REVOKE":
		return verb
	}
	switch p.tok.sym {
	case "MATERIALIZED":
		return verb + " MATERIALIZED VIEW"
	case "CUSTOM":
		return verb + " INDEX"
	case "GENERATED":
		return verb + " ROLE"
	case "":
		if verb == "LIST" && p.tok.kind == tokenWord || p.tok.kind == tokenEnd {
			p.failWant("ROLES, USERS, SUPERUSERS or permissions")
		}
	case "ROLES", "USERS", "SUPERUSERS":
		return verb + " " + p.tok.sym
	}
	if verb == "LIST" {
		return "LIST PERMISSIONS"
	}
	return verb + " " + p.tok.sym
}
