package conform

import (
	"regexp"
	"strings"
)

// purpose is a difference on purpose that its answers tell; others are marked by hand. query/CONFORMANCE.md says why.
type purpose struct {
	reason                       string
	statement, cassandra, nodedb *regexp.Regexp // nil: any
}

var purposes = []purpose{
	// Cassandra fails inside; nodedb answers, or says what is wrong.
	{reason: "java-exception", cassandra: regexp.MustCompile(`(?m)^error 0x0000 (?:java|org\.apache)`)},
	{reason: "legacy-timeuuid", cassandra: regexp.MustCompile(`LegacyTimeUUIDType`)},
	{reason: "exact-decimals", statement: regexp.MustCompile(`(bigint1 . decimal1|decimal1 . bigint1)`)},
	{reason: "lexer", cassandra: regexp.MustCompile(`^error 0x2000 line \d+:\d+ mismatched character`)},
	{reason: "counters", nodedb: regexp.MustCompile(`Counters are not part of this release`)},
}

// onPurpose gives the reason of a difference whose kind is known, or "".
func onPurpose(s *Step, nodedb []string) string {
	matches := func(r *regexp.Regexp, text string) bool { return r == nil || r.MatchString(text) }
	for _, p := range purposes {
		if matches(p.statement, s.Statement) && matches(p.cassandra, strings.Join(s.Answer, "\n")) && matches(p.nodedb, strings.Join(nodedb, "\n")) {
			return p.reason
		}
	}
	return ""
}
