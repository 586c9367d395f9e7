package schema

import (
	"math"
	"strconv"
	"strings"

	"nodedb/query/types"
)

// A value that can't be read is malformed; one that can be read and makes no sense is a bad option. Cassandra answers the first with a syntax error.

func readText(_, value string) (string, error) {
	if len(value) > MaxKey {
		return "", badOption("A table option's value may have %d bytes at most, got %d", MaxKey, len(value))
	}
	return value, nil
}

// readNothing is for extensions, which Cassandra lets nobody set by CQL: it takes a map and forgets it.
func readNothing(_, _ string) (string, error) { return "{}", nil }

// ParseBool reads an option that is true or false, in any of the words that Cassandra takes.
func ParseBool(name, value string) (bool, error) {
	switch strings.ToLower(value) {
	case "1", "true", "yes":
		return true, nil
	case "0", "false", "no":
		return false, nil
	}
	return false, malformed("Invalid boolean value %s for '%s'. Positive values can be '1', 'true' or 'yes'. Negative values can be '0', 'false' or 'no'.", value, name)
}

func readBool(name, value string) (string, error) {
	v, err := ParseBool(name, value)
	return strconv.FormatBool(v), err
}

func readInt(least, most int64) func(name, value string) (string, error) {
	return func(name, value string) (string, error) {
		n, err := strconv.ParseInt(value, 10, 32)
		if err != nil {
			return "", malformed("Invalid integer value %s for '%s'", value, name)
		}
		if n < least {
			return "", badOption("%s must be greater than or equal to %d (got %d)", name, least, n)
		}
		if n > most {
			return "", badOption("%s must be less than or equal to %d (got %d)", name, most, n)
		}
		return strconv.FormatInt(n, 10), nil
	}
}

// leastFalsePositives is what a bloom filter's false positives can't be less than in Cassandra.
const leastFalsePositives = 6.71e-5

// readChance takes probabilities over least (or from 0 on where least is negative) to 1.
func readChance(least float64) func(name, value string) (string, error) {
	return func(name, value string) (string, error) {
		f, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return "", malformed("Invalid double value %s for '%s'", value, name)
		}
		if least >= 0 && !(f > least && f <= 1) {
			return "", badOption("%s must be larger than %s and less than or equal to 1.0 (got %s)", name, javaDouble(least), javaDouble(f))
		}
		if !(f >= 0 && f <= 1) {
			return "", badOption("%s must be larger than or equal to 0 and smaller than or equal to 1.0 (got %s)", name, javaDouble(f))
		}
		return javaDouble(f), nil
	}
}

func javaDouble(f float64) string { return string(types.AppendJavaFloat(nil, f, 64)) }

func readReadRepair(name, value string) (string, error) {
	v := strings.ToUpper(value)
	if v != "BLOCKING" && v != "NONE" {
		return "", badOption("Invalid value %s for '%s': want BLOCKING or NONE", value, name)
	}
	return v, nil
}

// readMemtable takes the names of memtable configurations that come with Cassandra: all of them are the same here.
func readMemtable(_, value string) (string, error) {
	switch value {
	case "default", "skiplist", "trie":
		return value, nil
	}
	return "", badOption("Memtable configuration \"%s\" not found.", value)
}

// readSpeculation takes NONE, NEVER, ALWAYS, 99p, 99PERCENTILE, 50ms, and MIN or MAX of two of them.
func readSpeculation(name, value string) (string, error) {
	v := strings.ToLower(strings.TrimSpace(value))
	switch v {
	case "none", "never":
		return "NEVER", nil
	case "always":
		return "ALWAYS", nil
	}
	if percentile, text, err := threshold(name, value, v); percentile || text != "" || err != nil {
		return text, err
	}
	for _, f := range []string{"min", "max"} {
		if inner, ok := strings.CutPrefix(v, f+"("); ok && strings.HasSuffix(inner, ")") {
			if text, err := pairOf(name, value, strings.TrimSuffix(inner, ")")); text != "" || err != nil {
				return strings.ToUpper(f) + text, err
			}
		}
	}
	return "", badOption("Invalid value %s for option '%s': want NEVER, ALWAYS, 99p, 50ms or MIN(99p, 50ms)", value, name)
}

// pairOf reads what MIN and MAX choose from: a percentile and a time, shown in this order. "" without an error: it is no such pair.
func pairOf(name, value, inner string) (string, error) {
	a, b, two := strings.Cut(inner, ",")
	if !two {
		return "", nil
	}
	first, x, err := threshold(name, value, strings.TrimSpace(a))
	if err != nil || x == "" {
		return "", err
	}
	second, y, err := threshold(name, value, strings.TrimSpace(b))
	if err != nil || y == "" || first == second {
		return "", err
	}
	if second {
		x, y = y, x
	}
	return "(" + x + "," + y + ")", nil
}

// threshold reads a percentile (99p, 99percentile) or a time in milliseconds (50ms); "" without an error: it is neither.
func threshold(name, value, v string) (percentile bool, text string, err error) {
	for _, unit := range []string{"percentile", "p", "ms"} {
		n, ok := strings.CutSuffix(v, unit)
		if !ok {
			continue
		}
		f, bad := strconv.ParseFloat(n, 64)
		switch {
		case bad != nil || strings.Trim(n, "0123456789.") != "":
			return false, "", nil
		case unit == "ms" && f <= math.MaxInt32:
			return false, strconv.Itoa(int(f)) + "ms", nil
		case unit != "ms" && f > 0 && f <= 100:
			return true, strconv.FormatFloat(math.Round(f*1e4)/1e4, 'f', -1, 64) + "p", nil
		case unit != "ms":
			return true, "", badOption("Invalid value %s for PERCENTILE option '%s': must be between (0.0 and 100.0)", value, name)
		}
	}
	return false, "", nil
}
