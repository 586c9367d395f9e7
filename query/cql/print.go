package cql

import (
	"strconv"
	"strings"
)

func (*Constant) expr()     {}
func (*Marker) expr()       {}
func (*ListLiteral) expr()  {}
func (*SetLiteral) expr()   {}
func (*MapLiteral) expr()   {}
func (*TupleLiteral) expr() {}
func (*UDTLiteral) expr()   {}
func (*TypeHint) expr()     {}
func (*Call) expr()         {}
func (*Binary) expr()       {}
func (*Negate) expr()       {}
func (*Column) expr()       {}
func (*Element) expr()      {}
func (*Slice) expr()        {}
func (*Field) expr()        {}
func (*Cast) expr()         {}

func (e *Constant) String() string     { return exprString(e) }
func (e *Marker) String() string       { return exprString(e) }
func (e *ListLiteral) String() string  { return exprString(e) }
func (e *SetLiteral) String() string   { return exprString(e) }
func (e *MapLiteral) String() string   { return exprString(e) }
func (e *TupleLiteral) String() string { return exprString(e) }
func (e *UDTLiteral) String() string   { return exprString(e) }
func (e *TypeHint) String() string     { return exprString(e) }
func (e *Call) String() string         { return exprString(e) }
func (e *Binary) String() string       { return exprString(e) }
func (e *Negate) String() string       { return exprString(e) }
func (e *Column) String() string       { return exprString(e) }
func (e *Element) String() string      { return exprString(e) }
func (e *Slice) String() string        { return exprString(e) }
func (e *Field) String() string        { return exprString(e) }
func (e *Cast) String() string         { return exprString(e) }

func exprString(e Expr) string {
	var w printer
	w.expr(e)
	return w.String()
}

// String is the type as types.Parse reads it.
func (t *TypeName) String() string {
	var w printer
	w.typeName(t)
	return w.String()
}

// String prints the name with its keyspace, quoted where needed.
func (n Name) String() string {
	if n.Keyspace == "" {
		return QuoteName(n.Name)
	}
	return QuoteName(n.Keyspace) + "." + QuoteName(n.Name)
}

// String is the operator as CQL writes it.
func (o Operator) String() string {
	if int(o) < len(operatorText) {
		return operatorText[o]
	}
	return "Operator(" + strconv.Itoa(int(o)) + ")"
}

var operatorText = [...]string{
	"=", "!=", "<", "<=", ">", ">=", "IN", "NOT IN", "CONTAINS", "NOT CONTAINS", "CONTAINS KEY", "NOT CONTAINS KEY", "LIKE", "NOT LIKE", "BETWEEN",
	"NOT BETWEEN", "IS NOT NULL",
}

// ColumnName is the name a selected expression has in a result when it has no alias, as Cassandra prints it: v, count, system.min(v), writetime(v),
// cast(v as double). Functions without a keyspace are taken for the system's.
func ColumnName(e Expr) string {
	w := printer{result: true}
	w.expr(e)
	return w.String()
}

// ColumnNameIn is ColumnName in a keyspace, which user types are shown with. Some casts do nothing, and are not shown.
func ColumnNameIn(keyspace string, casts map[*Cast]bool, e Expr) string {
	w := printer{result: true, keyspace: keyspace, hidden: casts}
	w.expr(e)
	return w.String()
}

// QuoteName writes a name so that it parses back to itself: plain where that is enough, else "quoted".
func QuoteName(name string) string {
	plain := name != "" && 'a' <= name[0] && name[0] <= 'z' && !IsReserved(name)
	for i := 0; plain && i < len(name); i++ {
		c := name[i]
		plain = 'a' <= c && c <= 'z' || isDigit(c) || c == '_'
	}
	if plain {
		return name
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// QuoteString writes a string constant: in single quotes, those within it doubled.
func QuoteString(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// printer writes CQL. With result set it writes expressions as names of result columns, which is the same but for functions and quotes.
type printer struct {
	strings.Builder
	result   bool
	keyspace string         // of user types, where a result shows it
	hidden   map[*Cast]bool // casts of which only the value is written
}

// ambiguous words are unreserved, and yet a column of that name must be quoted in some places. A printer quotes them everywhere.
var ambiguous = map[string]bool{"as": true, "json": true, "distinct": true, "cast": true}

func (w *printer) name(name string) {
	switch {
	case w.result:
		w.WriteString(name)
	case ambiguous[name]:
		w.WriteString(`"` + name + `"`)
	default:
		w.WriteString(QuoteName(name))
	}
}

func (w *printer) qualified(n Name) {
	if n.Keyspace != "" {
		w.name(n.Keyspace)
		w.WriteByte('.')
	}
	w.name(n.Name)
}

// join writes n items with commas between them.
func (w *printer) join(n int, item func(i int)) {
	for i := range n {
		if i > 0 {
			w.WriteString(", ")
		}
		item(i)
	}
}

func (w *printer) exprs(open string, es []Expr, end string) {
	w.WriteString(open)
	w.join(len(es), func(i int) { w.expr(es[i]) })
	w.WriteString(end)
}

func (w *printer) expr(e Expr) {
	switch e := e.(type) {
	case *Constant:
		w.constant(e)
	case *Marker:
		w.marker(e)
	case *ListLiteral:
		w.exprs("[", e.Elems, "]")
	case *SetLiteral:
		w.exprs("{", e.Elems, "}")
	case *TupleLiteral:
		w.exprs("(", e.Elems, ")")
	case *MapLiteral:
		w.mapLiteral(e)
	case *UDTLiteral:
		w.udtLiteral(e)
	case *TypeHint:
		w.WriteByte('(')
		w.typeName(e.Type)
		w.WriteByte(')')
		w.operand(e.Value, unaryPrecedence)
	case *Call:
		w.call(e)
	case *Binary:
		w.binary(e)
	case *Negate:
		w.negate(e)
	case *Column:
		w.name(e.Name)
	default:
		w.selection(e)
	}
}

func (w *printer) constant(e *Constant) {
	if e.Type == String {
		w.WriteString(QuoteString(e.Text))
		return
	}
	if e.Type == Null && w.result {
		w.WriteString("NULL")
		return
	}
	w.WriteString(e.Text)
}

func (w *printer) marker(e *Marker) {
	if e.Name == "" {
		w.WriteByte('?')
		return
	}
	w.WriteByte(':')
	w.name(e.Name)
}

// selection writes what selects a part, and CAST.
func (w *printer) selection(e Expr) {
	switch e := e.(type) {
	case *Element:
		w.operand(e.Of, primaryPrecedence)
		w.WriteByte('[')
		w.expr(e.Key)
		w.WriteByte(']')
	case *Slice:
		w.slice(e)
	case *Field:
		w.operand(e.Of, primaryPrecedence)
		w.WriteByte('.')
		w.name(e.Name.Name)
	case *Cast:
		if w.hidden[e] {
			w.expr(e.Value)
			return
		}
		w.WriteString("cast(")
		w.expr(e.Value)
		w.WriteString(" as ")
		w.typeName(e.Type)
		w.WriteByte(')')
	}
}

func (w *printer) slice(e *Slice) {
	w.operand(e.Of, primaryPrecedence)
	w.WriteByte('[')
	if e.From != nil {
		w.expr(e.From)
		if strings.HasSuffix(w.String(), ".") {
			w.WriteByte(' ') // 1. .. 2
		}
	}
	w.WriteString("..")
	if e.To != nil {
		w.expr(e.To)
	}
	w.WriteByte(']')
}

func (w *printer) mapLiteral(e *MapLiteral) {
	w.WriteByte('{')
	w.join(len(e.Entries), func(i int) {
		// A bare column as the first key would make it a user type's value.
		if _, ok := e.Entries[i].Key.(*Column); ok && i == 0 {
			w.exprs("(", []Expr{e.Entries[i].Key}, ")")
		} else {
			w.expr(e.Entries[i].Key)
		}
		w.WriteString(": ")
		w.expr(e.Entries[i].Value)
	})
	w.WriteByte('}')
}

func (w *printer) udtLiteral(e *UDTLiteral) {
	w.WriteByte('{')
	w.join(len(e.Fields), func(i int) {
		w.name(e.Fields[i].Name.Name)
		w.WriteString(": ")
		w.expr(e.Fields[i].Value)
	})
	w.WriteByte('}')
}

// special functions have no keyspace, and their names none in results.
var special = map[string]bool{"writetime": true, "maxwritetime": true, "ttl": true}

func (w *printer) call(e *Call) {
	switch {
	case e.Star && w.result:
		w.WriteString("count")
		return
	case e.Name.Keyspace == "" && e.Name.Name == "token":
		w.system(e.Name.Name)
	case e.Name.Keyspace == "" && !special[e.Name.Name]:
		w.system("")
		w.name(e.Name.Name)
	default:
		w.qualified(e.Name)
	}
	if e.Star {
		w.WriteString("(*)")
		return
	}
	w.exprs("(", e.Args, ")")
}

// system writes the keyspace of built-in functions, as results show it, and a name.
func (w *printer) system(name string) {
	if w.result {
		w.WriteString("system.")
	}
	w.WriteString(name)
}

// Precedences, the tightest last.
const (
	sumPrecedence = iota + 1
	productPrecedence
	unaryPrecedence
	primaryPrecedence
)

func precedence(e Expr) int {
	switch e := e.(type) {
	case *Binary:
		if e.Op == '+' || e.Op == '-' {
			return sumPrecedence
		}
		return productPrecedence
	case *Negate, *TypeHint:
		return unaryPrecedence
	case *Constant:
		if strings.HasPrefix(e.Text, "-") && e.Type != String {
			return unaryPrecedence
		}
	}
	return primaryPrecedence
}

// operand writes an expression in parentheses if it binds looser than needed.
func (w *printer) operand(e Expr, need int) {
	if precedence(e) < need {
		w.exprs("(", []Expr{e}, ")")
		return
	}
	w.expr(e)
}

func (w *printer) binary(e *Binary) {
	prec := precedence(e)
	w.side(e.Left, prec, e.Parens[0])
	w.WriteString(" " + string(rune(e.Op)) + " ")
	w.side(e.Right, prec+1, e.Parens[1])
}

// side writes one side of an operation.
func (w *printer) side(e Expr, need int, parens bool) {
	if w.result && parens {
		need = primaryPrecedence + 1
	}
	w.operand(e, need)
}

func (w *printer) negate(e *Negate) {
	w.WriteByte('-')
	c, constant := e.Value.(*Constant)
	_, again := e.Value.(*Negate)
	switch {
	case constant && isNumber(c) && precedence(c) == primaryPrecedence:
		w.exprs("(", []Expr{c}, ")") // -1 would be one literal
		return
	case (again || constant && precedence(c) == unaryPrecedence) && !w.result:
		w.WriteByte(' ') // two signs in a row begin a comment
	}
	w.operand(e.Value, unaryPrecedence)
}

func (w *printer) typeName(t *TypeName) {
	if t.Custom {
		w.WriteString(QuoteString(t.Name))
		return
	}
	switch {
	case t.Keyspace != "":
		w.WriteString(QuoteName(t.Keyspace) + ".")
	case w.keyspace != "" && len(t.Args) == 0 && !isNativeType[strings.ToUpper(t.Name)]:
		w.WriteString(QuoteName(w.keyspace) + ".")
	}
	if len(t.Args) == 0 {
		w.WriteString(QuoteName(t.Name))
		return
	}
	w.WriteString(t.Name + "<")
	w.join(len(t.Args), func(i int) { w.typeName(t.Args[i]) })
	if t.Dim > 0 {
		w.WriteString(", " + strconv.Itoa(t.Dim))
	}
	w.WriteByte('>')
}
