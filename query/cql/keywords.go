package cql

import (
	"slices"
	"strings"
)

// reservedWords can't be names unless quoted: CQL 3.4.7, appendix A, as Cassandra 5.0 has it. TRUE and FALSE are constants there, and no names either.
const reservedWords = `ADD ALLOW ALTER AND APPLY ASC AUTHORIZE BATCH BEGIN BY COLUMNFAMILY CREATE DELETE DESC DESCRIBE DROP ENTRIES
EXECUTE FALSE FROM FULL GRANT IF IN INDEX INFINITY INSERT INTO IS KEYSPACE LIMIT MATERIALIZED MODIFY NAN NORECURSIVE NOT NULL OF ON OR
ORDER PRIMARY RENAME REVOKE SCHEMA SELECT SET TABLE TO TOKEN TRUE TRUNCATE UNLOGGED UPDATE USE USING VIEW WHERE WITH`

// unreservedWords have a meaning in some place and are names in all others.
const unreservedWords = `ACCESS AGGREGATE AGGREGATES ALL ANN ANY AS ASCII BETWEEN BIGINT BLOB BOOLEAN CALLED CAST CIDRS CLUSTER CLUSTERING
COMPACT CONTAINS COUNT COUNTER CUSTOM DATACENTERS DATE DECIMAL DEFAULT DISTINCT DOUBLE DURATION EXISTS FILTERING FINALFUNC FLOAT FROZEN
FUNCTION FUNCTIONS GENERATED GROUP HASHED IDENTITY INET INITCOND INPUT INT INTERNALS JSON KEY KEYS KEYSPACES LANGUAGE LIKE LIST LOGIN MAP
MASKED MAXWRITETIME MBEAN MBEANS NOLOGIN NOSUPERUSER ONLY OPTIONS PARTITION PASSWORD PER PERMISSION PERMISSIONS REPLACE RETURNS ROLE ROLES
SELECT_MASKED SFUNC SMALLINT STATIC STORAGE STYPE SUPERUSER SUPERUSERS TABLES TEXT TIME TIMESTAMP TIMEUUID TINYINT TRIGGER TTL TUPLE TYPE
TYPES UNMASK UNSET USER USERS UUID VALUES VARCHAR VARINT VECTOR WRITETIME`

// nativeTypes are the scalar type names.
const nativeTypes = `ASCII BIGINT BLOB BOOLEAN COUNTER DATE DECIMAL DOUBLE DURATION FLOAT INET INT SMALLINT TEXT TIME TIMESTAMP TIMEUUID
TINYINT UUID VARCHAR VARINT`

// keyword is what the lexer knows of a word.
type keyword struct {
	word     string // in capitals
	reserved bool
}

var keywords = func() map[string]keyword {
	m := make(map[string]keyword)
	for _, w := range strings.Fields(reservedWords) {
		m[w] = keyword{w, true}
	}
	for _, w := range strings.Fields(unreservedWords) {
		m[w] = keyword{w, false}
	}
	return m
}()

var isNativeType = func() map[string]bool {
	m := make(map[string]bool)
	for _, w := range strings.Fields(nativeTypes) {
		m[w] = true
	}
	return m
}()

// maxKeyword is the length of the longest keyword in bytes.
const maxKeyword = 16

// lookupKeyword finds a word in any case.
func lookupKeyword(word string) (keyword, bool) {
	if len(word) > maxKeyword {
		return keyword{}, false
	}
	var buf [maxKeyword]byte
	for i := range len(word) {
		c := word[i]
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		buf[i] = c
	}
	k, ok := keywords[string(buf[:len(word)])]
	return k, ok
}

// Keywords lists every keyword in capitals, sorted: for completion and highlighting.
func Keywords() []string {
	words := make([]string, 0, len(keywords))
	for w := range keywords {
		words = append(words, w)
	}
	slices.Sort(words)
	return words
}

// IsReserved says whether a word, in any case, is no name unless quoted.
func IsReserved(word string) bool {
	k, ok := lookupKeyword(word)
	return ok && k.reserved
}
