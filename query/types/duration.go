package types

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// DurationValue is a CQL duration. Months, days and nanoseconds are kept apart, since neither months nor days have a fixed length; none
// has another sign than the others.
type DurationValue struct {
	Months, Days int32
	Nanos        int64
}

// AppendDuration appends a duration's bytes: three signed vints, months, days and nanoseconds.
func AppendDuration(dst []byte, d DurationValue) []byte {
	dst = AppendVint(dst, int64(d.Months))
	dst = AppendVint(dst, int64(d.Days))
	return AppendVint(dst, d.Nanos)
}

// DecodeDuration reads a duration's bytes, all of them.
func DecodeDuration(b []byte) (d DurationValue, err error) {
	months, n := Vint(b)
	days, m := Vint(b[n:])
	nanos, o := Vint(b[n+m:])
	switch {
	case n == 0 || m == 0 || o == 0:
		return d, fmt.Errorf("%w for duration: three vints expected, they end early in %d bytes", ErrValue, len(b))
	case n+m+o != len(b):
		return d, fmt.Errorf("%w for duration: %d bytes follow the three vints", ErrValue, len(b)-n-m-o)
	case months != int64(int32(months)) || days != int64(int32(days)):
		return d, fmt.Errorf("%w for duration: months and days are 32 bits, these are %d and %d", ErrValue, months, days)
	}
	d = DurationValue{int32(months), int32(days), nanos}
	if !d.oneSign() {
		return d, fmt.Errorf("%w for duration: months, days and nanoseconds need one sign, these are %d, %d, %d", ErrValue, months, days, nanos)
	}
	return d, nil
}

func (d DurationValue) oneSign() bool {
	return d.Months >= 0 && d.Days >= 0 && d.Nanos >= 0 || d.Months <= 0 && d.Days <= 0 && d.Nanos <= 0
}

// durationUnits from long to short, as they are printed and must follow each other in a literal.
var durationUnits = [...]struct {
	name string
	part int    // 0: months, 1: days, 2: nanoseconds
	size uint64 // in the part's unit
}{
	{"y", 0, 12}, {"mo", 0, 1}, {"w", 1, 7}, {"d", 1, 1},
	{"h", 2, 3600e9}, {"m", 2, 60e9}, {"s", 2, 1e9}, {"ms", 2, 1e6}, {"us", 2, 1e3}, {"ns", 2, 1},
}

// AppendText appends the duration as a literal: 1y2mo3d4h5m6s7ms8us9ns; the zero duration is 0s.
func (d DurationValue) AppendText(dst []byte) []byte {
	left := [3]uint64{magnitude(int64(d.Months)), magnitude(int64(d.Days)), magnitude(d.Nanos)}
	if left == [3]uint64{} {
		return append(dst, "0s"...)
	}
	if d.Months < 0 || d.Days < 0 || d.Nanos < 0 {
		dst = append(dst, '-')
	}
	for _, u := range durationUnits {
		if u.name == "w" {
			continue
		}
		if n := left[u.part] / u.size; n > 0 {
			left[u.part] %= u.size
			dst = append(strconv.AppendUint(dst, n, 10), u.name...)
		}
	}
	return dst
}

func magnitude(v int64) uint64 {
	if v < 0 {
		return -uint64(v)
	}
	return uint64(v)
}

// ParseDuration reads the three forms of a duration: 1y2mo3w4d5h6m7s8ms9us10ns (units in this order, any left out), ISO 8601 P1Y2M3DT4H5M6S or
// P3W, and ISO 8601's P0001-02-03T04:05:06. Each may begin with a minus.
func ParseDuration(s string) (DurationValue, error) {
	rest, negative := strings.CutPrefix(s, "-")
	var sum [3]uint64
	var ok bool
	switch {
	case strings.HasPrefix(rest, "P") && strings.Contains(rest, "-"):
		sum, ok = parseDurationFields(rest[1:])
	case strings.HasPrefix(rest, "P"):
		sum, ok = parseDurationISO(rest[1:])
	default:
		sum, ok = parseDurationUnits(rest, [3]uint64{}, 0, len(durationUnits))
	}
	if !ok {
		return DurationValue{}, fmt.Errorf("%w: %q is not a duration like 1y2mo3d4h5m6s7ms8us9ns or P1Y2M3DT4H5M6S", ErrValue, clip(s))
	}
	limit := [3]uint64{math.MaxInt32, math.MaxInt32, math.MaxInt64}
	if negative {
		limit = [3]uint64{1 << 31, 1 << 31, 1 << 63}
	}
	for i := range sum {
		if sum[i] > limit[i] {
			return DurationValue{}, fmt.Errorf("%w: the duration %q is too long: months and days have 32 bits, nanoseconds 64", ErrValue, clip(s))
		}
	}
	d := DurationValue{int32(sum[0]), int32(sum[1]), int64(sum[2])}
	if negative {
		d = DurationValue{int32(-sum[0]), int32(-sum[1]), int64(-sum[2])}
	}
	return d, nil
}

// parseDurationUnits adds up number-unit pairs whose units are durationUnits[from:to], in order. Sums saturate, so that the caller sees them
// over every limit.
func parseDurationUnits(s string, sum [3]uint64, from, to int) ([3]uint64, bool) {
	if s == "" {
		return sum, false
	}
	for s != "" {
		n, rest, ok := leadingNumber(s)
		if !ok {
			return sum, false
		}
		end := strings.IndexFunc(rest, func(r rune) bool { return r >= '0' && r <= '9' })
		if end < 0 {
			end = len(rest)
		}
		unit := strings.ToLower(rest[:end])
		if unit == "µs" || unit == "μs" {
			unit = "us"
		}
		for from < to && durationUnits[from].name != unit {
			from++
		}
		if from == to {
			return sum, false
		}
		u := durationUnits[from]
		sum[u.part] = addSaturated(sum[u.part], n, u.size)
		from++
		s = rest[end:]
	}
	return sum, true
}

// addSaturated is sum + n*size, or 2^64-1 where that is over 2^63.
func addSaturated(sum, n, size uint64) uint64 {
	if n > (1<<63)/size || sum > 1<<63 || sum+n*size > 1<<63 {
		return math.MaxUint64
	}
	return sum + n*size
}

func leadingNumber(s string) (n uint64, rest string, ok bool) {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	n, err := strconv.ParseUint(s[:i], 10, 64)
	return n, s[i:], err == nil
}

// parseDurationISO reads what follows the P of P1Y2M3DT4H5M6S or P3W.
func parseDurationISO(s string) (sum [3]uint64, ok bool) {
	if strings.ToUpper(s) != s {
		return sum, false
	}
	if n, rest, ok := leadingNumber(s); ok && rest == "W" {
		sum[1] = addSaturated(0, n, 7)
		return sum, true
	}
	day, clock, hasClock := strings.Cut(s, "T")
	if day == "" && !hasClock {
		return sum, false
	}
	if day != "" {
		if strings.Contains(day, "MO") || strings.Contains(day, "W") {
			return sum, false
		}
		if sum, ok = parseDurationUnits(strings.Replace(day, "M", "MO", 1), sum, 0, 4); !ok {
			return sum, false
		}
	}
	if hasClock {
		return parseDurationUnits(clock, sum, 4, 7)
	}
	return sum, true
}

// parseDurationFields reads what follows the P of P0001-02-03T04:05:06.
func parseDurationFields(s string) (sum [3]uint64, ok bool) {
	const form = "0000-00-00T00:00:00"
	if len(s) != len(form) {
		return sum, false
	}
	for i := range len(s) {
		if form[i] == '0' && (s[i] < '0' || s[i] > '9') || form[i] != '0' && s[i] != form[i] {
			return sum, false
		}
	}
	field := func(from, to int) uint64 {
		n, _ := strconv.ParseUint(s[from:to], 10, 64)
		return n
	}
	sum[0] = field(0, 4)*12 + field(5, 7)
	sum[1] = field(8, 10)
	sum[2] = (field(11, 13)*3600 + field(14, 16)*60 + field(17, 19)) * 1e9
	return sum, true
}
