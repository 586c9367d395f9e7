package types

import (
	"fmt"
	"strconv"
	"strings"
)

// Parse reads a CQL type name: `int`, `map<text, frozen<list<int>>>`, `vector<float, 3>`. udt resolves user types by (keyspace or "", name); it
// may be nil.
func Parse(s string, udt func(keyspace, name string) (*Type, error)) (*Type, error) {
	if len(s) > MaxTypeName {
		return nil, fmt.Errorf("%w: a type name of %d bytes is over the limit of %d", ErrType, len(s), MaxTypeName)
	}
	p := nameParser{text: s, udt: udt}
	t, err := p.parse(0)
	if err != nil {
		return nil, err
	}
	if p.next(); p.token != "" {
		return nil, p.errorf("expected the end of the type, not %q", p.token)
	}
	return t, nil
}

// nameParser reads type names by recursive descent. token is the current one, "" at the end; quoted and class tell identifiers in double
// quotes and class names in single quotes from plain words.
type nameParser struct {
	text   string
	at     int
	token  string
	quoted bool
	class  bool
	peeked bool
	frozen int // frozen types, tuples and vectors around; what stands in them is frozen by implication
	udt    func(keyspace, name string) (*Type, error)
}

func (p *nameParser) errorf(format string, args ...any) error {
	return fmt.Errorf("%w %q at byte %d: %s", ErrType, p.text, p.at, fmt.Sprintf(format, args...))
}

// next moves to the next token.
func (p *nameParser) next() {
	if p.peeked {
		p.peeked = false
		return
	}
	p.token, p.quoted, p.class = "", false, false
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
	if p.at == len(p.text) {
		return
	}
	start := p.at
	switch c := p.text[p.at]; {
	case c == '"' || c == '\'':
		p.quote(c)
	case isWord(c):
		for p.at < len(p.text) && isWord(p.text[p.at]) {
			p.at++
		}
		p.token = strings.ToLower(p.text[start:p.at])
	default:
		p.at++
		p.token = p.text[start:p.at]
	}
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// quote reads a token in quotes; a doubled quote stands for one. An open quote gives the quote itself, which no rule accepts.
func (p *nameParser) quote(q byte) {
	var b strings.Builder
	for i := p.at + 1; i < len(p.text); i++ {
		if p.text[i] != q {
			b.WriteByte(p.text[i])
			continue
		}
		if i+1 < len(p.text) && p.text[i+1] == q {
			b.WriteByte(q)
			i++
			continue
		}
		p.at = i + 1
		p.token, p.quoted, p.class = b.String(), q == '"', q == '\''
		if p.token == "" {
			p.token, p.quoted, p.class = string(q), false, false
		}
		return
	}
	p.at++
	p.token = string(q)
}

// peek says whether the next token is the plain one given.
func (p *nameParser) peek(token string) bool {
	p.next()
	p.peeked = true
	return p.token == token && !p.quoted && !p.class
}

func (p *nameParser) expect(token string) error {
	p.next()
	if p.token == token && !p.quoted && !p.class {
		return nil
	}
	if p.token == "" {
		return p.errorf("expected %q, not the end", token)
	}
	return p.errorf("expected %q, not %q", token, p.token)
}

func (p *nameParser) parse(depth int) (*Type, error) {
	if depth >= MaxDepth {
		return nil, p.errorf("types are nested deeper than the limit of %d", MaxDepth)
	}
	p.next()
	if p.token == "" {
		return nil, p.errorf("expected a type, not the end")
	}
	if p.class {
		return ParseClass(p.token)
	}
	if p.quoted {
		return p.user(p.token, true)
	}
	switch p.token {
	case "frozen":
		return p.parseFrozen(depth)
	case "list", "set", "map", "tuple", "vector":
		if word := p.token; p.peek("<") {
			return p.parseGeneric(word, depth)
		}
		return nil, p.errorf("expected < with the types of its elements")
	}
	if t, ok := scalarNames[p.token]; ok {
		return t, nil
	}
	return p.user(p.token, false)
}

// scalarNames are the CQL names of the scalars, with text's second name.
var scalarNames = func() map[string]*Type {
	m := map[string]*Type{"varchar": VarcharType}
	for _, s := range scalars {
		if s.typ != nil {
			m[s.name] = s.typ
		}
	}
	return m
}()

func (p *nameParser) parseFrozen(depth int) (*Type, error) {
	if err := p.expect("<"); err != nil {
		return nil, err
	}
	p.frozen++
	t, err := p.parse(depth + 1)
	p.frozen--
	if err != nil {
		return nil, err
	}
	if t.Kind.scalar() != nil || t.Kind == Custom {
		return nil, p.errorf("frozen<> is for collections, tuples, vectors and user types, not for %s", t)
	}
	return t.Freeze(), p.expect(">")
}

var generics = map[string]struct {
	kind  Kind
	elems int // 0: any number
}{"list": {List, 1}, "set": {Set, 1}, "map": {Map, 2}, "tuple": {Tuple, 0}, "vector": {Vector, 1}}

func (p *nameParser) parseGeneric(word string, depth int) (*Type, error) {
	if err := p.expect("<"); err != nil {
		return nil, err
	}
	g := generics[word]
	t := &Type{Kind: g.kind}
	freezes := t.Kind == Tuple || t.Kind == Vector
	if freezes {
		p.frozen++
	}
	err := p.parseElems(t, g.elems, depth)
	if freezes {
		p.frozen--
	}
	if err != nil {
		return nil, err
	}
	if t.Kind == Vector {
		if err := p.parseDimension(t); err != nil {
			return nil, err
		}
	}
	if err := p.expect(">"); err != nil {
		return nil, err
	}
	if freezes {
		t = t.Freeze()
	}
	return t, p.check(t)
}

func (p *nameParser) parseElems(t *Type, want, depth int) error {
	for {
		e, err := p.parse(depth + 1)
		if err != nil {
			return err
		}
		t.Elems = append(t.Elems, e)
		if len(t.Elems) > MaxFields {
			return p.errorf("a tuple has at most %d fields", MaxFields)
		}
		if len(t.Elems) == want || !p.peek(",") {
			break
		}
		p.next()
	}
	if len(t.Elems) < want {
		return p.errorf("a map needs a key and a value type")
	}
	return nil
}

func (p *nameParser) parseDimension(t *Type) error {
	if err := p.expect(","); err != nil {
		return err
	}
	p.next()
	n, err := strconv.ParseUint(p.token, 10, 31)
	if err != nil || p.quoted || p.class {
		return p.errorf("expected the vector's dimension, not %q", p.token)
	}
	t.Dim = int(n)
	return nil
}

// check holds what Cassandra refuses in a type: counters inside others, durations as keys, and multi-cell types inside collections.
func (p *nameParser) check(t *Type) error {
	for _, e := range t.Elems {
		if e.Kind == Counter {
			return p.errorf("counters are not allowed inside %s", t)
		}
		if p.frozen == 0 && t.IsCollection() && e.IsMultiCell() {
			return p.errorf("%s inside a collection must be frozen: write frozen<%s>", e, e)
		}
	}
	if (t.Kind == Set || t.Kind == Map) && t.Elems[0].contains(Duration) {
		return p.errorf("durations have no order, so they cannot be set elements or map keys")
	}
	if t.Kind == Vector {
		return t.checkVector()
	}
	return nil
}

// contains says whether the kind is t's or that of a type inside it.
func (t *Type) contains(k Kind) bool {
	if t.Kind == k {
		return true
	}
	for _, e := range t.Elems {
		if e.contains(k) {
			return true
		}
	}
	return false
}

// user reads the rest of a user type's name and resolves it.
func (p *nameParser) user(name string, quoted bool) (*Type, error) {
	keyspace := ""
	if p.peek(".") {
		p.next()
		p.next()
		if p.token == "" || p.class || !p.quoted && !isWord(p.token[0]) {
			return nil, p.errorf("expected a type name after %q", name+".")
		}
		keyspace, name = name, p.token
	} else if !quoted && !isWord(name[0]) {
		return nil, p.errorf("expected a type, not %q", name)
	}
	if p.udt == nil {
		return nil, p.errorf("unknown type %q", name)
	}
	t, err := p.udt(keyspace, name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrType, err)
	}
	if t == nil {
		return nil, p.errorf("unknown type %q", name)
	}
	return t, nil
}

// String is the CQL name, as DESCRIBE prints it.
func (t *Type) String() string { return string(t.appendName(nil)) }

func (t *Type) appendName(dst []byte) []byte {
	if s := t.Kind.scalar(); s != nil {
		return append(dst, s.name...)
	}
	// Cassandra shows every tuple as frozen, since it always is.
	frozen := t.Kind == Tuple || t.Frozen && (t.IsCollection() || t.Kind == UDT)
	if frozen {
		dst = append(dst, "frozen<"...)
	}
	switch t.Kind {
	case List:
		dst = t.appendGeneric(dst, "list")
	case Set:
		dst = t.appendGeneric(dst, "set")
	case Map:
		dst = t.appendGeneric(dst, "map")
	case Tuple:
		dst = t.appendGeneric(dst, "tuple")
	case Vector:
		dst = t.appendGeneric(dst, "vector")
	case UDT:
		dst = AppendIdentifier(dst, t.Name)
	default:
		dst = append(dst, '\'')
		dst = append(dst, strings.ReplaceAll(t.Name, "'", "''")...)
		dst = append(dst, '\'')
	}
	if frozen {
		dst = append(dst, '>')
	}
	return dst
}

func (t *Type) appendGeneric(dst []byte, word string) []byte {
	dst = append(append(dst, word...), '<')
	for i, e := range t.Elems {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = e.appendName(dst)
	}
	if t.Kind == Vector {
		dst = strconv.AppendInt(append(dst, ", "...), int64(t.Dim), 10)
	}
	return append(dst, '>')
}

// AppendIdentifier appends a CQL identifier, in double quotes where it would not read back without them. Reserved words are the
// caller's business.
func AppendIdentifier(dst []byte, name string) []byte {
	if plainIdentifier(name) {
		return append(dst, name...)
	}
	dst = append(dst, '"')
	dst = append(dst, strings.ReplaceAll(name, `"`, `""`)...)
	return append(dst, '"')
}

func plainIdentifier(name string) bool {
	if name == "" || name[0] < 'a' || name[0] > 'z' {
		return false
	}
	for i := range len(name) {
		if c := name[i]; !isWord(c) || c >= 'A' && c <= 'Z' {
			return false
		}
	}
	return true
}
