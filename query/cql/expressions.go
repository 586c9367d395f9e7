package cql

// scope says what names mean in an expression.
type scope uint8

const (
	inValue    scope = iota // names are functions only
	inSelector              // names are columns as well
	inSet                   // as inValue, and `+ c` at the end is left for the caller: c = v + c
)

// value reads a term: what may stand behind a relation's operator, in VALUES, and so on.
func (p *parser) value() Expr { return p.sum(inValue) }

// selector reads a selected expression.
func (p *parser) selector() Expr { return p.sum(inSelector) }

// sum reads factors joined by + and -.
func (p *parser) sum(sc scope) Expr {
	p.enter()
	defer p.leave()
	left := p.product(sc)
	for n := 1; p.is("+") || p.is("-"); n++ {
		if sc == inSet && p.columnAhead() {
			return left
		}
		left = p.operate(left, n, p.product, sc)
	}
	return left
}

// columnAhead says whether the token after tok is a name and no function's.
func (p *parser) columnAhead() bool {
	l := p.lex
	if t := l.next(); !isName(t) {
		return false
	}
	sym := l.next().sym
	return sym != "(" && sym != "."
}

// product reads operands joined by * / %.
func (p *parser) product(sc scope) Expr {
	left := p.unary(sc)
	for n := 1; p.is("*") || p.is("/") || p.is("%"); n++ {
		left = p.operate(left, n, p.unary, sc)
	}
	return left
}

// operate reads the n-th operator of a chain and its right operand. A chain makes a tree as deep as it is long, so its length is limited as depth is.
func (p *parser) operate(left Expr, n int, operand func(scope) Expr, sc scope) Expr {
	if n > p.limits.Depth {
		p.failMsg("more than %d operators in one expression", p.limits.Depth)
	}
	b := &Binary{Pos: left.Position(), Op: p.tok.sym[0]}
	p.next()
	b.Left, b.Parens[0] = bare(left)
	b.Right, b.Parens[1] = bare(operand(sc))
	return b
}

// bare takes what looks like a tuple of one beside an operator for an expression in parentheses, and says whether there were any.
func bare(e Expr) (inner Expr, parens bool) {
	if t, ok := e.(*TupleLiteral); ok && len(t.Elems) == 1 {
		return t.Elems[0], true
	}
	return e, false
}

// unary reads signs. The sign of a literal number belongs to it.
func (p *parser) unary(sc scope) Expr {
	if !p.is("-") {
		return p.postfix(sc)
	}
	p.enter()
	defer p.leave()
	at := p.tok.pos
	p.next()
	plain := !p.is("(")
	e := p.unary(sc)
	if c, ok := e.(*Constant); ok && plain && isNumber(c) && c.Text[0] != '-' {
		return &Constant{Pos: at, Type: c.Type, Text: "-" + c.Text}
	}
	value, _ := bare(e)
	return &Negate{Pos: at, Value: value}
}

func isNumber(c *Constant) bool { return c.Type == Integer || c.Type == Float || c.Type == Duration }

// postfix reads a primary and what selects a part of it.
func (p *parser) postfix(sc scope) Expr {
	e := p.primary(sc)
	if sc != inSelector {
		return e
	}
	for n := 1; p.is(".") || p.is("["); n++ {
		if n > p.limits.Depth {
			p.failMsg("more than %d selections in one expression", p.limits.Depth)
		}
		e, _ = bare(e)
		if p.accept(".") {
			e = &Field{Pos: e.Position(), Of: e, Name: p.name("a field")}
			continue
		}
		e = p.subscript(e)
	}
	return e
}

// subscript reads [key], [from..to], [from..] or [..to].
func (p *parser) subscript(of Expr) Expr {
	p.expect("[")
	var from Expr
	if !p.is("..") {
		from = p.value()
	}
	if !p.accept("..") {
		p.expect("]")
		return &Element{Pos: of.Position(), Of: of, Key: from}
	}
	s := &Slice{Pos: of.Position(), Of: of, From: from}
	if from == nil || !p.is("]") {
		s.To = p.value()
	}
	p.expect("]")
	return s
}

// constants by their token's kind; strings and words come on top.
var constantKinds = map[tokenKind]ConstantKind{
	tokenInteger: Integer, tokenFloat: Float, tokenUUID: UUID, tokenBlob: Blob, tokenDuration: Duration, tokenString: String,
}

// constant reads a literal scalar without sign, or gives nil.
func (p *parser) constant() *Constant {
	c := &Constant{Pos: p.tok.pos, Text: p.tok.text}
	if kind, ok := constantKinds[p.tok.kind]; ok {
		c.Type = kind
		if kind == String {
			c.Text = stringValue(p.tok.text)
		}
		p.next()
		return c
	}
	switch p.tok.sym {
	case "NULL":
		c.Type, c.Text = Null, "null"
	case "TRUE":
		c.Type, c.Text = Boolean, "true"
	case "FALSE":
		c.Type, c.Text = Boolean, "false"
	case "NAN":
		c.Type, c.Text = Float, "NaN"
	case "INFINITY":
		c.Type, c.Text = Float, "Infinity"
	default:
		return nil
	}
	p.next()
	return c
}

// primary reads a literal, marker, call, column, or something in brackets.
func (p *parser) primary(sc scope) Expr {
	if c := p.constant(); c != nil {
		return c
	}
	switch p.tok.sym {
	case "?", ":":
		return p.marker()
	case "[":
		l := &ListLiteral{Pos: p.tok.pos}
		l.Elems = p.elements("[", "]", sc)
		return l
	case "{":
		return p.braces(sc)
	case "(":
		return p.parens(sc)
	case "CAST":
		if p.peek().sym == "(" {
			return p.cast(sc)
		}
	}
	if isName(p.tok) || p.is("TOKEN") {
		return p.callOrColumn(sc)
	}
	if sc == inSelector {
		p.failWant("a column")
	}
	p.failWant("a value")
	return nil
}

// elements reads expressions with commas between two brackets, possibly none.
func (p *parser) elements(open, end string, sc scope) []Expr {
	if sc == inSet {
		sc = inValue
	}
	p.expect(open)
	var elems []Expr
	if !p.is(end) {
		p.list(func() { elems = append(elems, p.sum(sc)) })
	}
	p.expect(end)
	return elems
}

// callOrColumn reads what begins with a name: f(…), ks.f(…), or a column.
func (p *parser) callOrColumn(sc scope) Expr {
	start := p.tok
	after := p.lex
	second := after.next()
	if second.sym == "." {
		if t := after.next(); isName(t) || t.sym == "TOKEN" {
			second = after.next()
		}
	}
	if second.sym != "(" {
		return p.column(sc, start)
	}
	c := &Call{Pos: start.pos}
	c.Name = p.functionName()
	if cellFunctions[c.Name.Name] {
		return p.cellCall(sc, c)
	}
	if c.Name.Name == "count" && c.Name.Keyspace == "" && p.countStar() {
		c.Star = true
		return c
	}
	c.Args = p.elements("(", ")", sc)
	for i := 0; i < len(c.Args) && sc == inSelector; i++ {
		c.Args[i], _ = bare(c.Args[i])
	}
	return c
}

// cellFunctions are syntax rather than functions: they stand among selectors, without a keyspace, and take one column or a part of it.
var cellFunctions = map[string]bool{"writetime": true, "maxwritetime": true, "ttl": true}

func (p *parser) cellCall(sc scope, c *Call) Expr {
	if sc != inSelector || c.Name.Keyspace != "" {
		p.failAt(c.Pos, c.Name.Name, "a value is expected here; "+c.Name.Name+" is of a column, in the selection of a SELECT", "")
	}
	p.expect("(")
	if !isName(p.tok) || p.peek().sym == "(" {
		p.failWant("a column")
	}
	c.Args = []Expr{p.postfix(sc)}
	p.expect(")")
	return c
}

// functionName reads [keyspace.]name, where the name may be the reserved word TOKEN.
func (p *parser) functionName() Name {
	n := Name{Pos: p.tok.pos}
	if !p.is("TOKEN") && p.peek().sym == "." {
		n.Keyspace = p.name("a keyspace").Name
		p.expect(".")
	}
	if p.accept("TOKEN") {
		n.Name = "token"
	} else {
		n.Name = p.name("a function").Name
	}
	return n
}

// column reads a column where one may stand.
func (p *parser) column(sc scope, start token) Expr {
	switch {
	case start.sym == "TOKEN":
		p.next()
		p.expect("(")
	case sc == inSelector:
		return &Column{p.name("a column")}
	case start.kind == tokenQuoted:
		p.failMsg("a value is expected here; strings stand in 'single quotes', names in double ones")
	}
	p.failMsg("a value is expected here, not a name; strings stand in 'single quotes'")
	return nil
}

// countStar reads (*) or a literal such as (1) behind COUNT; it leaves everything else alone.
func (p *parser) countStar() bool {
	after := p.lex
	arg, end := after.next(), after.next()
	_, literal := constantKinds[arg.kind]
	if !literal && arg.sym != "*" && arg.sym != "TRUE" && arg.sym != "FALSE" || end.sym != ")" {
		return false
	}
	p.next()
	p.next()
	p.next()
	return true
}

// cast reads CAST(x AS type); the type is one with a name of its own.
func (p *parser) cast(sc scope) Expr {
	if sc == inSet {
		sc = inValue
	}
	c := &Cast{Pos: p.tok.pos}
	p.expect("CAST", "(")
	c.Value, _ = bare(p.sum(sc))
	p.expect("AS")
	if !isNativeType[p.tok.sym] {
		p.failWant("a scalar type")
	}
	c.Type = p.typeName()
	p.expect(")")
	return c
}

// parens reads what begins with (: a type hint or a tuple, which may turn out to be an expression in parentheses.
func (p *parser) parens(sc scope) Expr {
	at := p.tok.pos
	if p.hintAhead(sc) {
		p.expect("(")
		h := &TypeHint{Pos: at, Type: p.typeName()}
		p.expect(")")
		h.Value = p.hinted(sc)
		return h
	}
	elems := p.elements("(", ")", sc)
	if len(elems) == 0 {
		p.failAt(at, "()", "a tuple has at least one element", "")
	}
	return &TupleLiteral{Pos: at, Elems: elems}
}

// hinted reads the value behind a type hint.
func (p *parser) hinted(sc scope) Expr {
	p.enter()
	defer p.leave()
	if p.is("-") {
		return p.unary(sc)
	}
	return p.primary(sc)
}

// hintAhead says whether a type in parentheses comes next. Among selectors (a) may as well be a column in parentheses: then it is a hint only if
// something follows that can't follow an expression.
func (p *parser) hintAhead(sc scope) bool {
	l := p.lex
	t := l.next()
	if t.kind == tokenString {
		if sc == inSelector || l.next().sym != ")" {
			return false
		}
		next := l.next() // no column can stand here; a name begins a clause of the statement, or is a function's
		return startsOperand(next) && (!isName(next) || next.sym == "TRUE" || next.sym == "FALSE" || l.next().sym == "(")
	}
	if t.sym == "SET" {
		return l.next().sym == "<"
	}
	if !isName(t) {
		return false
	}
	native := isNativeType[t.sym]
	end := l.next()
	if end.sym == "." {
		if !isName(l.next()) {
			return false
		}
		end = l.next()
	}
	if end.sym == "<" {
		return true
	}
	if end.sym != ")" {
		return false
	}
	if sc != inSelector || native {
		return true
	}
	return startsOperand(l.next())
}

// startsOperand says whether a token begins an operand and can't stand behind one.
func startsOperand(t token) bool {
	switch t.kind {
	case tokenEnd, tokenBad:
		return false
	case tokenWord:
		return !t.reserved && t.sym != "AS" || t.sym == "NULL" || t.sym == "TRUE" || t.sym == "FALSE" || t.sym == "NAN" || t.sym == "INFINITY"
	case tokenOperator:
		return t.sym == "(" || t.sym == "{" || t.sym == "?" || t.sym == ":"
	}
	return true
}

// braces reads {…}: a set, a map or a user type's value. {name: v} is the last, also where a map with a column as key could be meant.
func (p *parser) braces(sc scope) Expr {
	if sc == inSet {
		sc = inValue
	}
	at := p.tok.pos
	p.expect("{")
	if p.accept("}") {
		return &SetLiteral{Pos: at}
	}
	if isName(p.tok) && p.peek().sym == ":" {
		return p.udtLiteral(at, sc)
	}
	first := p.sum(sc)
	if p.accept(":") {
		m := &MapLiteral{Pos: at, Entries: []MapEntry{{first, p.sum(sc)}}}
		for p.accept(",") {
			e := MapEntry{Key: p.sum(sc)}
			p.expect(":")
			e.Value = p.sum(sc)
			m.Entries = append(m.Entries, e)
		}
		p.expect("}")
		return m
	}
	s := &SetLiteral{Pos: at, Elems: []Expr{first}}
	for p.accept(",") {
		s.Elems = append(s.Elems, p.sum(sc))
	}
	p.expect("}")
	return s
}

// udtLiteral reads the fields of {name: v, …} after its brace.
func (p *parser) udtLiteral(at Pos, sc scope) Expr {
	u := &UDTLiteral{Pos: at}
	p.list(func() {
		f := FieldValue{Name: p.name("a field")}
		p.expect(":")
		f.Value = p.sum(sc)
		u.Fields = append(u.Fields, f)
	})
	p.expect("}")
	return u
}
