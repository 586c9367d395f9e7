package conform

import (
	"regexp"
	"slices"
	"strings"
)

// purpose is a difference on purpose that its answers tell; others are marked by hand. query/CONFORMANCE.md says why.
type purpose struct {
	reason                       string
	statement, cassandra, nodedb *regexp.Regexp // nil: any
}

var purposes = []purpose{
	// Cassandra fails inside; nodedb answers, or says what is wrong.
	{reason: "java-exception", cassandra: regexp.MustCompile(`(?m)^error 0x0000 (?:java\.|org\.apache\.)`)},
	{reason: "legacy-timeuuid", cassandra: regexp.MustCompile(`LegacyTimeUUIDType`)},
	{reason: "exact-decimals", statement: regexp.MustCompile(`(bigint1 . decimal1|decimal1 . bigint1)`)},
	{reason: "lexer", cassandra: regexp.MustCompile(`^error 0x2000 line \d+:\d+ mismatched character`)},
	{reason: "decimal-average", statement: regexp.MustCompile(`avg\(frozen1\)`)},
	{reason: "count-of-nothing", statement: regexp.MustCompile(`count\((null|\?)\)`), nodedb: regexp.MustCompile(`Cannot infer type`)},
	{reason: "big-exponents", cassandra: regexp.MustCompile(`NumberFormatException`)},
	{reason: "float-range", cassandra: regexp.MustCompile(`(?m)^ok$`), nodedb: regexp.MustCompile(`is beyond the range of a floating-point number`)},
	{reason: "invalid-bytes", cassandra: regexp.MustCompile(`(?m)^ok$|invalid 0x`), nodedb: regexp.MustCompile(`Invalid value of type|is not a valid binary representation|Invalid (HEX|STRING|INTEGER) constant \((0xca|0x|1|)\) `)},
	{reason: "invalid-bytes", statement: regexp.MustCompile(`^(INSERT|UPDATE|DELETE|SELECT|BEGIN) `), cassandra: regexp.MustCompile(`(?m)^ok$|^\(\d+\)$`), nodedb: regexp.MustCompile(`^error 0x2200 line \d+:\d+ Invalid [A-Z]+ constant \(.*\) for "\w+" of type (frozen<tuple<int, text>>|u|frozen<u>); `)},
	{reason: "invalid-bytes", cassandra: regexp.MustCompile(`(?m)^ok$|^\(\d+\)$`), nodedb: regexp.MustCompile(`(?m)^error 0x2200 line \d+:\d+ Invalid HEX constant \(0x(ca|cafe)?\) for "\w+" of type tinyint; `)},
	{reason: "empty-strings", cassandra: regexp.MustCompile(`(?m)^ok$`), nodedb: regexp.MustCompile(`Error decoding JSON value for v: .*"" is not a`)},
	{reason: "empty-strings", cassandra: regexp.MustCompile(`Value '' is not a valid representation of a varint`), nodedb: regexp.MustCompile(`^ok$`)},
	{reason: "no-such-day", cassandra: regexp.MustCompile(`(?m)^ok$`), nodedb: regexp.MustCompile(`Invalid STRING constant \(2023-02-29\)`)},
	{reason: "now-string", cassandra: regexp.MustCompile(`(?m)^ok$`), nodedb: regexp.MustCompile(`Invalid STRING constant \(now\)`)},
	{reason: "wide-years", statement: regexp.MustCompile(`'(5881580-07-11|10000-01-01)'`), nodedb: regexp.MustCompile(`^ok$`)},
	{reason: "short-addresses", cassandra: regexp.MustCompile(`(?m)^ok$`), nodedb: regexp.MustCompile(`is not an IPv4 or IPv6 address`)},
	{reason: "small-timestamps", cassandra: regexp.MustCompile(`Expected a long or a datestring`), nodedb: regexp.MustCompile(`(?m)^ok$`)},
	{reason: "part-of-a-key", statement: regexp.MustCompile(`GROUP BY`), cassandra: regexp.MustCompile(`Group by is not supported on only a part of the partition key`)},
	{reason: "paged-order", statement: regexp.MustCompile(` IN .*ORDER BY`), cassandra: regexp.MustCompile(`Cannot page queries with both ORDER BY and a IN restriction`)},
	{reason: "null-bound", statement: regexp.MustCompile(`[<>]=? (null|\?)|IN \(.*(null|\?)|IN \?`), cassandra: regexp.MustCompile(`^\(\d+\)$|(?m)^\(\d+\)\z`), nodedb: regexp.MustCompile(`(?m)^error 0x2200 .*Invalid null value in condition for column `)},
	{reason: "null-bound", statement: regexp.MustCompile(`^SELECT .*[<>]=? (null|\?)`), cassandra: regexp.MustCompile(`(?m)^error 0x1300 Operation failed`), nodedb: regexp.MustCompile(`(?m)^error 0x2200 .*Invalid null value in condition for column `)},
	{reason: "null-bound", statement: regexp.MustCompile(`^(DELETE|BEGIN) .*[<>]=? (null|\?)`), cassandra: regexp.MustCompile(`(?m)^ok$`), nodedb: regexp.MustCompile(`(?m)^error 0x2200 .*Invalid null value in condition for column `)},
	{reason: "descending-casts", statement: regexp.MustCompile(`CAST\(c\d+ AS text\)`), cassandra: regexp.MustCompile(`(?m)^error 0x2200 Invalid call to function system\.cast_as_text, none of its type signatures match `), nodedb: regexp.MustCompile(`\(\d+\)$`)},
	{reason: "empty-key", statement: regexp.MustCompile(`^SELECT `), cassandra: regexp.MustCompile(`\(\d+\)$`), nodedb: regexp.MustCompile(`(?m)^error 0x2200 .*Key may not be empty: column `)},
	{reason: "in-filters", cassandra: regexp.MustCompile(`(?m)^error 0x2200 Multicolumn IN filters are not supported$`), nodedb: regexp.MustCompile(`\(\d+\)$`)},
	{reason: "counters", nodedb: regexp.MustCompile(`Counters are not part of this release|table types_counter\.t does not exist`)},
}

// randomReasons are those for which only random statements differ.
var randomReasons = strings.Fields("paged-order expired-statics descending-casts skipped-cells batch-routing early-errors pages-of-groups empty-key in-filters float-digits")

// effect is a statement that both answer alike, and whose row reads otherwise on purpose: by the script and the statement.
type effect struct {
	reason            string
	script, statement *regexp.Regexp
}

var effects = []effect{
	{"exact-json", regexp.MustCompile(`^types_decimal$`), regexp.MustCompile(`JSON`)},
	{"empty-strings", regexp.MustCompile(`^types_boolean$`), regexp.MustCompile(`JSON '.*"v": ""`)},
	{"canonical-values", regexp.MustCompile(`^types_(varint|tuple_int_text)$`), regexp.MustCompile(`1 \+ 1|\(1\)|213`)},
}

// onPurpose gives the reason of a difference whose kind is known, or "".
func onPurpose(s *Step, nodedb []string) string {
	if strings.Contains(strings.Join(nodedb, "\n"), "error 0x0000") { // a failure inside of nodedb is never meant
		return ""
	}
	want, reason := withoutEmptyPage(s.Answer, nodedb)
	if reason != "" && Judge(want, nodedb) < Different {
		return reason
	}
	if onlyZeros(want, nodedb) {
		return "canonical-values"
	}
	if Judge(strings.Split(strings.ReplaceAll(strings.Join(want, "\n"), "9.0071993E15", "9.007199E15"), "\n"), nodedb) < Different {
		return "float-digits"
	}
	if strings.HasPrefix(s.Statement, "BEGIN ") && len(want) > 0 && len(nodedb) > 0 && Judge(withoutRouting(want), withoutRouting(nodedb)) < Different {
		return "batch-routing"
	}
	if refusedEarly(s.Answer, nodedb) {
		return "early-errors"
	}
	if strings.Contains(s.Statement, "GROUP BY") && strings.Contains(s.Options, "page=") && slices.Equal(rows(want), rows(nodedb)) && pages(want) != pages(nodedb) && want[0] == nodedb[0] {
		return "pages-of-groups"
	}
	if failsInside(s, nodedb) {
		return "fails-inside"
	}
	matches := func(r *regexp.Regexp, text string) bool { return r == nil || r.MatchString(text) }
	for _, p := range purposes {
		if matches(p.statement, s.Statement) && matches(p.cassandra, strings.Join(s.Answer, "\n")) && matches(p.nodedb, strings.Join(nodedb, "\n")) {
			return p.reason
		}
	}
	return ""
}

// trailingZeros of a decimal number.
var trailingZeros = regexp.MustCompile(`(\.(?:\d*[1-9]|0))0+\b`)

// onlyZeros says whether two answers differ in nothing but zeros at the ends of decimals: of a key Cassandra shows the digits that came first, nodedb the fewest.
func onlyZeros(want, nodedb []string) bool {
	short := func(lines []string) string { return trailingZeros.ReplaceAllString(strings.Join(lines, "\n"), "$1") }
	return len(nodedb) > 1 && short(want) == short(nodedb) && !slices.Equal(want, nodedb)
}

// routing is what a prepared statement says of the markers that are its partition key.
var routing = regexp.MustCompile(`^(bind .*) key \[[\d ]+\]$`)

func withoutRouting(answer []string) []string {
	return append([]string{routing.ReplaceAllString(answer[0], "$1")}, answer[1:]...)
}

// refusedEarly says whether nodedb refuses to prepare what Cassandra prepares, and refuses with the same code when it runs.
func refusedEarly(cassandra, nodedb []string) bool {
	return len(cassandra) == 2 && len(nodedb) == 1 && strings.HasPrefix(cassandra[0], "bind ") && head(nodedb[0]) != "" && head(nodedb[0]) == head(cassandra[1])
}

// rows gives the rows of all pages of an answer.
func rows(answer []string) []string {
	var list []string
	atHead := true // warnings and the columns come first
	for _, line := range answer {
		switch {
		case line == nextPage:
			atHead = true
		case strings.HasPrefix(line, "warning: "), strings.HasPrefix(line, "bind "):
		case atHead:
			atHead = false
		case strings.HasPrefix(line, "(") && strings.HasSuffix(line, ")"):
		default:
			list = append(list, line)
		}
	}
	return list
}

// nextPage begins each page of an answer but the first.
const nextPage = "-- next page --"

// pages is how many pages an answer has.
func pages(answer []string) (n int) {
	for _, line := range answer {
		if line == nextPage {
			n++
		}
	}
	return n + 1
}

// withoutEmptyPage leaves out the page without rows at the end of Cassandra's answer where nodedb's has a page less, and says that it did.
func withoutEmptyPage(cassandra, nodedb []string) (rest []string, reason string) {
	last := len(cassandra) - 1
	for last >= 0 && cassandra[last] != nextPage {
		last--
	}
	if last < 0 || cassandra[len(cassandra)-1] != "(0)" || pages(nodedb)+1 != pages(cassandra) {
		return cassandra, ""
	}
	return cassandra[:last], "last-page"
}

// failures are Cassandra's own, by the statements that it fails at: it pages groups wrongly, and lets a null bound of a DELETE come as far as its storage.
var failures = []struct{ statement, cassandra, nodedb *regexp.Regexp }{
	{regexp.MustCompile(`^SELECT .* GROUP BY `), regexp.MustCompile(`^error 0x1300 Operation failed - received 0 responses and 1 failures: UNKNOWN from `), regexp.MustCompile(`^\(\d+\)$`)},
	{regexp.MustCompile(`^SELECT .* GROUP BY `), regexp.MustCompile(`^error 0x000A Invalid value for the paging state$`), regexp.MustCompile(`^\(\d+\)$`)},
	{regexp.MustCompile(`^SELECT .* GROUP BY `), regexp.MustCompile(`^error 0x1300 Operation failed - received 0 responses and 1 failures: UNKNOWN from `), regexp.MustCompile(`^error 0x2200 .*Key may not be empty: column `)},
	{regexp.MustCompile(`^(INSERT|UPDATE|BEGIN) `), regexp.MustCompile(`^error 0x1500 Operation failed - received 0 responses and 1 failures: UNKNOWN from `), regexp.MustCompile(`^error 0x2200 line \d+:\d+ Invalid HEX constant \(0x\) for "\w+" of type tinyint; `)},
	{regexp.MustCompile(`^(BEGIN .*)?DELETE `), regexp.MustCompile(`^error 0x1500 Operation failed - received 0 responses and 1 failures: UNKNOWN from `), regexp.MustCompile(`^error 0x2200 .*Invalid null value in condition for column `)},
}

// failsInside says whether Cassandra has failed at a statement as it is known to, after pages that are nodedb's, too.
func failsInside(s *Step, nodedb []string) bool {
	n := len(s.Answer) - 1
	if n < 0 || len(nodedb) == 0 || len(nodedb) < n || !slices.Equal(s.Answer[:n], nodedb[:n]) {
		return false
	}
	for _, f := range failures {
		if f.statement.MatchString(s.Statement) && f.cassandra.MatchString(s.Answer[n]) && f.nodedb.MatchString(nodedb[len(nodedb)-1]) {
			return true
		}
	}
	return false
}

// follows says whether two answers differ in nothing but rows that steps before them wrote differently on purpose. rows has their keys.
func follows(s *Step, nodedb []string, rows map[string]bool) bool {
	return len(rows) > 0 && strings.HasPrefix(s.Statement, "SELECT") && slices.Equal(without(s.Answer, rows), without(nodedb, rows))
}

var (
	// keyWritten is the key that a statement of a script made from tables writes: in VALUES, or in JSON.
	keyWritten = regexp.MustCompile(`VALUES \((\d+), |JSON '\{"k": (\d+), `)
	keyRead    = regexp.MustCompile(`^(?:(\d+) \| |'\{"k": (\d+), )`)
)

// keyOf is the key that a step writes, or "".
func keyOf(s *Step) string {
	if m := keyWritten.FindStringSubmatch(s.Statement); m != nil {
		return m[1] + m[2]
	}
	if len(s.Values) > 1 {
		return s.Values[0]
	}
	return ""
}

// without leaves out rows with some keys, and the count of rows.
func without(answer []string, rows map[string]bool) []string {
	var rest []string
	for _, line := range answer {
		if m := keyRead.FindStringSubmatch(line); m != nil && rows[m[1]+m[2]] || strings.HasPrefix(line, "(") {
			continue
		}
		rest = append(rest, line)
	}
	return rest
}
