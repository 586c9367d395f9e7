package cql

// where reads the relations behind WHERE.
func (p *parser) where() []Relation {
	rs := p.conjunction()
	for i := range rs {
		p.checkWhere(&rs[i])
	}
	return rs
}

// checkWhere refuses what IF may say of an element and WHERE may not, and what is no tuple beside several columns.
func (p *parser) checkWhere(r *Relation) {
	switch {
	case r.On == OnElement && r.Op > GreaterEq:
		p.failAt(r.Pos, "", "an element is compared with =; "+r.Op.String()+" can't be used of it", "")
	case r.On != OnTuple:
		return
	case r.Op > NotIn && r.Op != Between && r.Op != NotBetween:
		p.failAt(r.Pos, "", r.Op.String()+" can't be used of several columns", "")
	}
	sides := r.Values
	if r.Value != nil {
		sides = []Expr{r.Value}
	}
	for _, e := range sides {
		switch e.(type) {
		case *TupleLiteral, *Marker:
		default:
			p.failAt(e.Position(), "", "several columns are compared with a tuple such as (1, 2), or a bind marker", "")
		}
	}
}

// conjunction reads relations joined by AND.
func (p *parser) conjunction() []Relation {
	var rs []Relation
	p.relations(&rs)
	for p.accept("AND") {
		p.relations(&rs)
	}
	return rs
}

// relations reads one relation, or several in parentheses.
func (p *parser) relations(rs *[]Relation) {
	if !p.is("(") || p.tupleAhead() {
		*rs = append(*rs, p.relation())
		return
	}
	p.enter()
	defer p.leave()
	p.expect("(")
	p.relations(rs)
	for p.accept("AND") {
		p.relations(rs)
	}
	p.expect(")")
}

// tupleAhead says whether (a, …) or (a) comes, and no relation in parentheses.
func (p *parser) tupleAhead() bool {
	l := p.lex
	if !isName(l.next()) {
		return false
	}
	sym := l.next().sym
	return sym == "," || sym == ")"
}

// relation reads one relation of WHERE or IF.
func (p *parser) relation() Relation {
	r := Relation{Pos: p.tok.pos}
	switch {
	case p.is("("):
		r.On, r.Columns = OnTuple, p.names("a column")
	case p.is("TOKEN"):
		p.next()
		r.On, r.Columns = OnToken, p.names("a column")
		if _, ok := comparisons[p.tok.sym]; !ok {
			p.failWant("a comparison")
		}
	default:
		r.Columns = []Ident{p.name("a column")}
		if p.accept("[") {
			r.On, r.Key = OnElement, p.value()
			p.expect("]")
		} else if p.is(".") {
			p.next()
			r.On, r.Field = OnField, p.name("a field")
		}
	}
	p.comparison(&r)
	return r
}

var comparisons = map[string]Operator{"=": Eq, "!=": NotEq, "<": Less, "<=": LessEq, ">": Greater, ">=": GreaterEq}

// comparison reads the operator and right side of a relation.
func (p *parser) comparison(r *Relation) {
	if op, ok := comparisons[p.tok.sym]; ok {
		p.next()
		r.Op, r.Value = op, p.value()
		return
	}
	switch {
	case p.accept("IN"):
		r.Op = In
		p.inList(r)
	case p.accept("CONTAINS"):
		p.contains(r, Contains, ContainsKey)
	case p.accept("LIKE"):
		r.Op, r.Value = Like, p.value()
	case p.accept("BETWEEN"):
		p.between(r, Between)
	case p.accept("IS"):
		p.expect("NOT", "NULL")
		r.Op = IsNotNull
	case p.accept("NOT"):
		p.negated(r)
	default:
		p.failWant("a comparison")
	}
}

// negated reads what follows NOT in a relation.
func (p *parser) negated(r *Relation) {
	switch {
	case p.accept("IN"):
		r.Op = NotIn
		p.inList(r)
	case p.accept("CONTAINS"):
		p.contains(r, NotContains, NotContainsKey)
	case p.accept("LIKE"):
		r.Op, r.Value = NotLike, p.value()
	case p.accept("BETWEEN"):
		p.between(r, NotBetween)
	default:
		p.fail()
	}
}

func (p *parser) contains(r *Relation, op, key Operator) {
	r.Op = op
	if p.accept("KEY") {
		r.Op = key
	}
	r.Value = p.value()
}

func (p *parser) between(r *Relation, op Operator) {
	r.Op = op
	low := p.value()
	p.expect("AND")
	r.Values = []Expr{low, p.value()}
}

// inList reads the right side of IN.
func (p *parser) inList(r *Relation) {
	switch {
	case p.at("?") || p.atMarker():
		r.Value = p.marker()
	case p.at("("):
		r.Values = p.elements("(", ")", inValue)
	default:
		p.fail()
	}
}

// conditions reads what follows IF in UPDATE and DELETE: EXISTS, or relations.
func (p *parser) conditions() (exists bool, rs []Relation) {
	if p.at("EXISTS") {
		// A column may be called exists.
		switch t := p.peek(); {
		case t.kind != tokenOperator || t.sym == ";":
			if t.sym != "IN" && t.sym != "CONTAINS" {
				p.next()
				return true, nil
			}
		}
	}
	return false, p.conjunction()
}
