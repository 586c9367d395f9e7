package cql

// schemaStatement writes CREATE, ALTER and DROP.
func (w *printer) schemaStatement(st Statement) {
	w.words(st.Kind(), " ")
	switch st := st.(type) {
	case *CreateKeyspace:
		w.when(st.IfNotExists, "IF NOT EXISTS ")
		w.name(st.Name)
		w.properties(" WITH ", st.Options)
	case *AlterKeyspace:
		w.when(st.IfExists, "IF EXISTS ")
		w.name(st.Name)
		w.properties(" WITH ", st.Options)
	case *DropKeyspace:
		w.when(st.IfExists, "IF EXISTS ")
		w.name(st.Name)
	case *CreateTable:
		w.createTable(st)
	case *AlterTable:
		w.alterTable(st)
	case *DropTable:
		w.when(st.IfExists, "IF EXISTS ")
		w.qualified(st.Table)
	case *CreateType:
		w.when(st.IfNotExists, "IF NOT EXISTS ")
		w.qualified(st.Type)
		w.words(" (")
		w.columnDefs(st.Fields)
		w.words(")")
	case *AlterType:
		w.alterType(st)
	case *DropType:
		w.when(st.IfExists, "IF EXISTS ")
		w.qualified(st.Type)
	}
}

func (w *printer) createTable(st *CreateTable) {
	w.when(st.IfNotExists, "IF NOT EXISTS ")
	w.qualified(st.Table)
	w.words(" (")
	w.columnDefs(st.Columns)
	w.when(len(st.Columns) > 0, ", ")
	w.words("PRIMARY KEY (")
	w.names(st.PartitionKey)
	for _, c := range st.Clustering {
		w.words(", ")
		w.name(c.Name)
	}
	w.words("))")
	words := " WITH "
	if st.CompactStorage {
		w.words(words, "COMPACT STORAGE")
		words = " AND "
	}
	if len(st.Order) > 0 {
		w.words(words, "CLUSTERING ORDER BY (")
		w.orderings(st.Order)
		w.words(")")
		words = " AND "
	}
	w.properties(words, st.Options)
}

func (w *printer) columnDefs(cs []ColumnDef) {
	w.join(len(cs), func(i int) {
		c := &cs[i]
		w.name(c.Name.Name)
		w.words(" ")
		w.typeName(c.Type)
		w.when(c.Static, " STATIC")
		w.mask(c.Mask)
	})
}

func (w *printer) mask(mask Expr) {
	if _, ok := mask.(*Constant); ok {
		w.words(" MASKED WITH DEFAULT")
		return
	}
	w.optional(" MASKED WITH ", mask)
}

func (w *printer) alterTable(st *AlterTable) {
	w.when(st.IfExists, "IF EXISTS ")
	w.qualified(st.Table)
	switch {
	case st.Add != nil:
		w.words(" ADD ")
		w.when(st.AddIfNotExists, "IF NOT EXISTS ")
		w.when(len(st.Add) > 1, "(")
		w.columnDefs(st.Add)
		w.when(len(st.Add) > 1, ")")
	case st.DropCompact:
		w.words(" DROP COMPACT STORAGE")
	case st.Drop != nil:
		w.words(" DROP ")
		w.when(st.DropIfExists, "IF EXISTS ")
		w.names(st.Drop)
		w.optional(" USING TIMESTAMP ", st.DropTimestamp)
	case st.Rename != nil:
		w.renames(st.Rename, st.RenameIfExists)
	case st.Alter != nil:
		w.words(" ALTER ")
		w.name(st.Alter.Name.Name)
		w.alteredColumn(st.Alter)
		w.when(st.DropMask, " DROP MASKED")
	default:
		w.properties(" WITH ", st.Options)
	}
}

func (w *printer) alteredColumn(c *ColumnDef) {
	if c.Type != nil {
		w.words(" TYPE ")
		w.typeName(c.Type)
	}
	w.mask(c.Mask)
}

func (w *printer) renames(rs []Rename, ifExists bool) {
	words := " RENAME "
	if ifExists {
		words = " RENAME IF EXISTS "
	}
	for _, r := range rs {
		w.words(words)
		w.name(r.From.Name)
		w.words(" TO ")
		w.name(r.To.Name)
		words = " AND "
	}
}

func (w *printer) alterType(st *AlterType) {
	w.when(st.IfExists, "IF EXISTS ")
	w.qualified(st.Type)
	switch {
	case st.Add != nil:
		w.words(" ADD ")
		w.when(st.AddIfNotExists, "IF NOT EXISTS ")
		w.columnDefs(st.Add)
	case st.Rename != nil:
		w.renames(st.Rename, st.RenameIfExists)
	default:
		w.words(" ALTER ")
		w.name(st.Alter.Name.Name)
		w.alteredColumn(st.Alter)
	}
}
