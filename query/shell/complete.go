package shell

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"nodedb/coordinator/consistency"
	"nodedb/query/cql"
)

// catalog is what completion knows of the server's schema.
type catalog struct {
	tables  map[string][]string        // by keyspace
	columns map[string]map[string]bool // by keyspace.table
	read    time.Time
}

const (
	// catalogAge is after how long the schema is read again for completion: others change it too.
	catalogAge = 30 * time.Second
	// catalogWait bounds how long Tab waits for it.
	catalogWait = 2 * time.Second
)

// catalogNow gives the schema, read again when it is old. What can't be read isn't completed.
func (s *shell) catalogNow(ctx context.Context) *catalog {
	if s.names != nil && time.Since(s.names.read) < catalogAge {
		return s.names
	}
	ctx, cancel := context.WithTimeout(ctx, catalogWait)
	defer cancel()
	c := &catalog{tables: make(map[string][]string), columns: make(map[string]map[string]bool), read: time.Now()}
	s.names = c
	_, keyspaces, err := s.rows(ctx, "SELECT keyspace_name FROM system_schema.keyspaces")
	if err != nil {
		return c
	}
	for _, r := range keyspaces {
		c.tables[string(r[0])] = nil
	}
	_, columns, err := s.rows(ctx, "SELECT keyspace_name, table_name, column_name FROM system_schema.columns")
	if err != nil {
		return c
	}
	for _, r := range columns {
		keyspace, table := string(r[0]), string(r[1])
		key := keyspace + "." + table
		if c.columns[key] == nil {
			c.columns[key] = make(map[string]bool)
			c.tables[keyspace] = append(c.tables[keyspace], table)
		}
		c.columns[key][string(r[2])] = true
	}
	return c
}

// completion gives what may stand at the end of a text, and the start of it that is there already.
func (s *shell) completion(c *catalog, text string) (candidates []string, typed string) {
	at := len(text)
	for at > 0 && (isWordByte(text[at-1]) || text[at-1] == '.' || text[at-1] == '"' || text[at-1] == '\\') {
		at--
	}
	typed = text[at:]
	words := strings.FieldsFunc(strings.ToUpper(text[:at]), func(r rune) bool { return r != '_' && r != '.' && r != '"' && !isWordByte(byte(r)) })
	if open := cql.Split(text[:at]).Open; open == "string" || open == "comment" {
		return nil, typed
	}
	// Only the last statement counts.
	if i := strings.LastIndexByte(text[:at], ';'); i >= 0 {
		words = strings.FieldsFunc(strings.ToUpper(text[i:at]), func(r rune) bool { return r != '_' && r != '.' && r != '"' && !isWordByte(byte(r)) })
	}
	for _, w := range s.possible(c, words, text, typed) {
		if len(w) > len(typed) && strings.EqualFold(w[:len(typed)], typed) {
			candidates = append(candidates, sameCase(w, typed))
		}
	}
	return unique(candidates), typed
}

// unique drops what comes a second time.
func unique(words []string) []string {
	seen := make(map[string]bool)
	return slices.DeleteFunc(words, func(w string) bool {
		again := seen[w]
		seen[w] = true
		return again
	})
}

// sameCase writes a keyword small if it was begun so.
func sameCase(word, typed string) string {
	if typed != "" && strings.ToLower(typed) == typed && strings.ToUpper(word) == word {
		return strings.ToLower(word)
	}
	return word
}

// possible are the words that may stand behind others.
func (s *shell) possible(c *catalog, words []string, text, typed string) []string {
	if len(words) == 0 {
		return s.beginnings()
	}
	last := words[len(words)-1]
	switch last {
	case "USE", "KEYSPACE":
		return append(c.keyspaces(), "IF")
	case "FROM", "INTO", "UPDATE", "TABLE", "TRUNCATE", "COPY", "DESCRIBE", "DESC":
		return append(s.tableNames(c, typed), behind[last]...)
	case "CONSISTENCY":
		return levels()
	case "HELP":
		return topicNames()
	}
	if list, ok := behind[last]; ok && len(words) == 1 {
		return list
	}
	return slices.Concat(c.columnsIn(s.keyspace, text), functions, keywords)
}

// keywords that are worth completing; the statements' first words are in beginnings.
var keywords = strings.Fields(`ADD ALLOW AND APPLY AS ASC BATCH BEGIN BETWEEN BY CAST CLUSTERING CONTAINS COUNTER DELETE DESC DISTINCT DROP EXISTS
FILTERING FROM FROZEN GROUP IF IN INSERT INTO IS JSON KEY KEYSPACE LIKE LIMIT LIST MAP NOT NULL ORDER PARTITION PER PRIMARY RENAME SELECT SET STATIC TABLE
TEXT TIMESTAMP TO TTL TYPE UNLOGGED UPDATE USING VALUES VECTOR WHERE WITH
ascii bigint blob boolean date decimal double duration float inet int smallint text time timestamp timeuuid tinyint uuid varchar varint`)

// behind are words that follow another.
var behind = map[string][]string{
	"DESCRIBE": {"CLUSTER", "FULL", "KEYSPACE", "KEYSPACES", "SCHEMA", "TABLE", "TABLES", "TYPE", "TYPES"},
	"DESC":     {"CLUSTER", "FULL", "KEYSPACE", "KEYSPACES", "SCHEMA", "TABLE", "TABLES", "TYPE", "TYPES"},
	"TABLE":    {"IF"},
	"TRUNCATE": {"TABLE"},
	"PAGING":   {"ON", "OFF"},
	"TRACING":  {"ON", "OFF"},
	"EXPAND":   {"ON", "OFF"},
	"SERIAL":   {"CONSISTENCY"},
	"SHOW":     {"HOST", "SESSION", "VERSION"},
	"CREATE":   {"KEYSPACE", "TABLE", "TYPE"},
	"ALTER":    {"KEYSPACE", "TABLE", "TYPE"},
	"DROP":     {"KEYSPACE", "TABLE", "TYPE"},
}

// functions that are often typed; the parenthesis is part of what is completed.
var functions = []string{"avg(", "count(", "max(", "min(", "now()", "sum(", "token(", "ttl(", "uuid()", "writetime("}

// beginnings are the words that begin a statement or command.
func (s *shell) beginnings() []string {
	words := []string{"ALTER", "BEGIN", "CREATE", "DELETE", "DROP", "INSERT", "SELECT", "TRUNCATE", "UPDATE", "USE"}
	words = append(words, commandNames...)
	for _, c := range s.o.Commands {
		words = append(words, c.Name)
	}
	return words
}

func levels() []string {
	var names []string
	for l := consistency.Any; l <= consistency.LocalOne; l++ {
		names = append(names, l.String())
	}
	return names
}

func (c *catalog) keyspaces() []string {
	var names []string
	for k := range c.tables {
		names = append(names, quote(k))
	}
	slices.Sort(names)
	return names
}

// tableNames are the tables of the keyspace that is typed or in use, and the keyspaces.
func (s *shell) tableNames(c *catalog, typed string) []string {
	var names []string
	for keyspace, tables := range c.tables {
		names = append(names, quote(keyspace)+".")
		for _, t := range tables {
			if strings.HasPrefix(strings.ToLower(typed), strings.ToLower(quote(keyspace))+".") {
				names = append(names, quote(keyspace)+"."+quote(t))
			} else if keyspace == s.keyspace {
				names = append(names, quote(t))
			}
		}
	}
	slices.SortFunc(names, func(a, b string) int { // tables before keyspaces
		return cmp.Or(cmp.Compare(strings.Count(a, "."), strings.Count(b, ".")), strings.Compare(a, b))
	})
	return names
}

// columnsIn are the columns of the tables that a text names, or of all of the keyspace in use when it names none.
func (c *catalog) columnsIn(keyspace, text string) []string {
	named := make(map[string]bool)
	for _, w := range strings.FieldsFunc(text, func(r rune) bool { return r != '_' && r != '.' && r != '"' && !isWordByte(byte(r)) }) {
		w = strings.ToLower(strings.ReplaceAll(w, `"`, ""))
		if _, ok := c.columns[w]; ok {
			named[w] = true
		}
		if _, ok := c.columns[keyspace+"."+w]; ok {
			named[keyspace+"."+w] = true
		}
	}
	var names []string
	for key, columns := range c.columns {
		if named[key] || len(named) == 0 && strings.HasPrefix(key, keyspace+".") {
			for name := range columns {
				names = append(names, quote(name))
			}
		}
	}
	slices.Sort(names)
	return names
}
