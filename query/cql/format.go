package cql

// Format prints a statement as one line of CQL that parses back to it (positions aside). Unsupported statements come as they were written.
func Format(st Statement) string {
	var w printer
	w.statement(st)
	return w.String()
}

func (w *printer) statement(st Statement) {
	switch st := st.(type) {
	case *Select:
		w.selectStatement(st)
	case *Insert:
		w.insert(st)
	case *Update:
		w.update(st)
	case *Delete:
		w.delete(st)
	case *Batch:
		w.batch(st)
	case *Use:
		w.words("USE ")
		w.name(st.Keyspace)
	case *Truncate:
		w.words("TRUNCATE ")
		w.qualified(st.Table)
	case *Describe:
		w.describe(st)
	case *Unsupported:
		w.WriteString(st.Text)
	default:
		w.schemaStatement(st)
	}
}

func (w *printer) words(ss ...string) {
	for _, s := range ss {
		w.WriteString(s)
	}
}

// when writes words on a condition.
func (w *printer) when(cond bool, s string) {
	if cond {
		w.WriteString(s)
	}
}

func (w *printer) selectStatement(st *Select) {
	w.words("SELECT ")
	w.when(st.JSON, "JSON ")
	w.when(st.Distinct, "DISTINCT ")
	w.when(len(st.Selectors) == 0, "*")
	w.join(len(st.Selectors), func(i int) {
		w.expr(st.Selectors[i].Expr)
		if a := st.Selectors[i].Alias; a != "" {
			w.words(" AS ")
			w.name(a)
		}
	})
	w.words(" FROM ")
	w.qualified(st.Table)
	w.where(" WHERE ", st.Where)
	if len(st.GroupBy) > 0 {
		w.exprs(" GROUP BY ", st.GroupBy, "")
	}
	if len(st.OrderBy) > 0 {
		w.words(" ORDER BY ")
		w.orderings(st.OrderBy)
	}
	w.optional(" PER PARTITION LIMIT ", st.PerPartitionLimit)
	w.optional(" LIMIT ", st.Limit)
	w.when(st.AllowFiltering, " ALLOW FILTERING")
	w.properties(" WITH ", st.Options)
}

func (w *printer) optional(words string, e Expr) {
	if e != nil {
		w.words(words)
		w.expr(e)
	}
}

func (w *printer) orderings(os []Ordering) {
	w.join(len(os), func(i int) {
		w.name(os[i].Column.Name)
		w.when(os[i].Desc, " DESC")
		w.optional(" ANN OF ", os[i].ANN)
	})
}

func (w *printer) names(ids []Ident) {
	w.WriteByte('(')
	w.join(len(ids), func(i int) { w.name(ids[i].Name) })
	w.WriteByte(')')
}

func (w *printer) where(words string, rs []Relation) {
	for i := range rs {
		if i > 0 {
			words = " AND "
		}
		w.words(words)
		w.relation(&rs[i])
	}
}

func (w *printer) relation(r *Relation) {
	switch r.On {
	case OnTuple:
		w.names(r.Columns)
	case OnToken:
		w.words("token")
		w.names(r.Columns)
	default:
		w.name(r.Columns[0].Name)
		w.part(r.Key, r.On == OnField, r.Field.Name)
	}
	w.words(" ", r.Op.String())
	switch {
	case r.Op == Between || r.Op == NotBetween:
		w.optional(" ", r.Values[0])
		w.optional(" AND ", r.Values[1])
	case r.Value != nil:
		w.optional(" ", r.Value)
	case r.Op != IsNotNull:
		w.exprs(" (", r.Values, ")")
	}
}

// part writes [key] or .field behind a column.
func (w *printer) part(key Expr, isField bool, field string) {
	if key != nil {
		w.exprs("[", []Expr{key}, "]")
	}
	if isField {
		w.WriteByte('.')
		w.name(field)
	}
}

func (w *printer) using(u Using) {
	words := " USING "
	if u.Timestamp != nil {
		w.optional(words+"TIMESTAMP ", u.Timestamp)
		words = " AND "
	}
	w.optional(words+"TTL ", u.TTL)
}

func (w *printer) insert(st *Insert) {
	w.words("INSERT INTO ")
	w.qualified(st.Table)
	if st.JSON != nil {
		w.optional(" JSON ", st.JSON)
		w.when(st.DefaultUnset, " DEFAULT UNSET")
	} else {
		w.words(" ")
		w.names(st.Columns)
		w.exprs(" VALUES (", st.Values, ")")
	}
	w.when(st.IfNotExists, " IF NOT EXISTS")
	w.using(st.Using)
}

func (w *printer) update(st *Update) {
	w.words("UPDATE ")
	w.qualified(st.Table)
	w.using(st.Using)
	w.words(" SET ")
	w.join(len(st.Set), func(i int) { w.assignment(&st.Set[i]) })
	w.where(" WHERE ", st.Where)
	w.when(st.IfExists, " IF EXISTS")
	w.where(" IF ", st.If)
}

func (w *printer) assignment(a *Assignment) {
	w.name(a.Column.Name)
	if a.Field != nil {
		w.part(nil, true, a.Field.Name)
	}
	w.part(a.Key, false, "")
	switch a.Op {
	case Assign:
		w.optional(" = ", a.Value)
	case Append:
		w.optional(" += ", a.Value)
	case Subtract:
		w.optional(" -= ", a.Value)
	case Prepend:
		w.optional(" = ", a.Value)
		w.words(" + ")
		w.name(a.Column.Name)
	}
}

func (w *printer) delete(st *Delete) {
	w.words("DELETE ")
	w.join(len(st.Targets), func(i int) {
		t := &st.Targets[i]
		w.name(t.Column.Name)
		if t.Field != nil {
			w.part(nil, true, t.Field.Name)
		}
		w.part(t.Key, false, "")
	})
	w.when(len(st.Targets) > 0, " ")
	w.words("FROM ")
	w.qualified(st.Table)
	w.using(st.Using)
	w.where(" WHERE ", st.Where)
	w.when(st.IfExists, " IF EXISTS")
	w.where(" IF ", st.If)
}

func (w *printer) batch(st *Batch) {
	w.words("BEGIN ", [...]string{Logged: "", Unlogged: "UNLOGGED ", CounterBatch: "COUNTER "}[st.Type], "BATCH")
	w.using(st.Using)
	for _, inner := range st.Statements {
		w.words(" ")
		w.statement(inner)
		w.words(";")
	}
	w.words(" APPLY BATCH")
}

func (w *printer) describe(st *Describe) {
	w.words("DESCRIBE")
	w.when(st.Full, " FULL")
	w.when(st.Only, " ONLY")
	w.when(st.What != "", " "+st.What)
	if st.Name.Name != "" {
		w.words(" ")
		if st.Name.Keyspace != "" {
			w.words(quoteKeyword(st.Name.Keyspace), ".")
		}
		w.words(quoteKeyword(st.Name.Name))
	}
	w.when(st.Internals, " WITH INTERNALS")
}

// quoteKeyword is QuoteName that quotes every keyword.
func quoteKeyword(name string) string {
	if _, ok := lookupKeyword(name); ok && QuoteName(name) == name {
		return `"` + name + `"`
	}
	return QuoteName(name)
}

func (w *printer) properties(words string, ps []Property) {
	for i := range ps {
		if i > 0 {
			words = " AND "
		}
		w.words(words)
		w.property(&ps[i])
	}
}

func (w *printer) property(p *Property) {
	w.name(p.Name)
	w.words(" = ")
	switch {
	case p.IsMap:
		w.WriteByte('{')
		w.join(len(p.Map), func(i int) { w.words(QuoteString(p.Map[i].Key), ": ", QuoteString(p.Map[i].Value)) })
		w.WriteByte('}')
	case p.Quoted:
		w.words(QuoteString(p.Text))
	default:
		w.words(p.Text)
	}
}
