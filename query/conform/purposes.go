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
	random                       bool           // only random statements differ so
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
	{reason: "empty-strings", cassandra: regexp.MustCompile(`(?m)^ok$`), nodedb: regexp.MustCompile(`Error decoding JSON value for v: .*"" is not a`)},
	{reason: "empty-strings", cassandra: regexp.MustCompile(`Value '' is not a valid representation of a varint`), nodedb: regexp.MustCompile(`^ok$`)},
	{reason: "no-such-day", cassandra: regexp.MustCompile(`(?m)^ok$`), nodedb: regexp.MustCompile(`Invalid STRING constant \(2023-02-29\)`)},
	{reason: "now-string", cassandra: regexp.MustCompile(`(?m)^ok$`), nodedb: regexp.MustCompile(`Invalid STRING constant \(now\)`)},
	{reason: "wide-years", statement: regexp.MustCompile(`'(5881580-07-11|10000-01-01)'`), nodedb: regexp.MustCompile(`^ok$`)},
	{reason: "short-addresses", cassandra: regexp.MustCompile(`(?m)^ok$`), nodedb: regexp.MustCompile(`is not an IPv4 or IPv6 address`)},
	{reason: "small-timestamps", cassandra: regexp.MustCompile(`Expected a long or a datestring`), nodedb: regexp.MustCompile(`^ok$`)},
	{reason: "part-of-a-key", random: true, statement: regexp.MustCompile(`GROUP BY`), cassandra: regexp.MustCompile(`Group by is not supported on only a part of the partition key`)},
	{reason: "paged-order", random: true, statement: regexp.MustCompile(` IN .*ORDER BY`), cassandra: regexp.MustCompile(`Cannot page queries with both ORDER BY and a IN restriction`)},
	{reason: "counters", nodedb: regexp.MustCompile(`Counters are not part of this release|table types_counter\.t does not exist`)},
}

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
	if endsAtOnce(s, nodedb) {
		return "last-page"
	}
	if onlyZeros(s, nodedb) {
		return "canonical-values"
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
var trailingZeros = regexp.MustCompile(`(\.\d*[1-9])0+\b`)

// onlyZeros says whether two answers differ in nothing but zeros at the ends of decimals: of a key Cassandra shows the digits that came first, nodedb the fewest.
func onlyZeros(s *Step, nodedb []string) bool {
	short := func(lines []string) string { return trailingZeros.ReplaceAllString(strings.Join(lines, "\n"), "$1") }
	return len(nodedb) > 1 && short(s.Answer) == short(nodedb) && !slices.Equal(s.Answer, nodedb)
}

// endsAtOnce says whether nodedb's answer is Cassandra's but for an empty page at its end.
func endsAtOnce(s *Step, nodedb []string) bool {
	n := len(nodedb)
	return len(s.Answer) == n+3 && slices.Equal(s.Answer[:n], nodedb) && s.Answer[n] == "-- next page --" && s.Answer[n+2] == "(0)"
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
