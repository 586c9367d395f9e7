package conform

import (
	"regexp"
	"slices"
	"strings"
)

// Verdict says how nodedb's answer compares with Cassandra's.
type Verdict uint8

// The verdicts.
const (
	// Identical to the byte: columns, types, rows, warnings, error code and message.
	Identical Verdict = iota
	// Placed: an error with Cassandra's code and message, after its place in the text; more words may follow.
	Placed
	// Worded: an error with Cassandra's code in words of our own, or the same result with a warning in words of our own.
	Worded
	// Different in anything else: on purpose (with a reason in query/CONFORMANCE.md), or a mistake.
	Different
)

// place is what nodedb puts before the message of an error.
var place = regexp.MustCompile(`^(error 0x[0-9A-F]{4}(?: \([^)]*\))?) line \d+:\d+ `)

// Judge compares two answers.
func Judge(cassandra, nodedb []string) Verdict {
	if slices.Equal(cassandra, nodedb) {
		return Identical
	}
	if len(cassandra) != len(nodedb) {
		return Different
	}
	verdict := Identical
	for i, want := range cassandra {
		got := nodedb[i]
		switch {
		case got == want:
		case placed(got, want):
			verdict = max(verdict, Placed)
		case head(got) != "" && head(got) == head(want):
			verdict = max(verdict, Worded)
		default:
			return Different
		}
	}
	return verdict
}

// head is the part of an error or warning that is not words; "" for other lines.
func head(line string) string {
	if rest, ok := strings.CutPrefix(line, "error "); ok {
		code, _, _ := strings.Cut(rest, " ")
		return "error " + code
	}
	if strings.HasPrefix(line, "warning: ") {
		return "warning: "
	}
	return ""
}

// placed reports whether an error is Cassandra's, with its place before and more words after it.
func placed(got, want string) bool {
	more, ok := strings.CutPrefix(place.ReplaceAllString(got, "$1 "), want)
	return ok && head(want) != "" && (more == "" || strings.IndexByte(" ;:,.", more[0]) >= 0)
}
