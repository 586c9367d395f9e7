package types

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// The proleptic Gregorian calendar over the whole range of date and timestamp, which is wider than time.Time formats.

// DateCenter is 1970-01-01 in a date's bytes.
const DateCenter = 1 << 31

const (
	dayMillis = 86_400_000
	dayNanos  = 86_400_000_000_000
)

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func floorMod(a, b int64) int64 { return a - floorDiv(a, b)*b }

// daysOf gives the days since 1970-01-01 of a date (Howard Hinnant, "chrono-compatible low-level date algorithms": years begin in March,
// eras are of 400 years).
func daysOf(year int64, month, day int) int64 {
	if month <= 2 {
		year--
	}
	era := floorDiv(year, 400)
	yearOfEra := year - era*400
	dayOfYear := int64((153*((month+9)%12)+2)/5 + day - 1)
	return era*146097 + yearOfEra*365 + yearOfEra/4 - yearOfEra/100 + dayOfYear - 719468
}

// dateOf is the inverse of daysOf.
func dateOf(days int64) (year int64, month, day int) {
	days += 719468
	era := floorDiv(days, 146097)
	dayOfEra := days - era*146097
	yearOfEra := (dayOfEra - dayOfEra/1460 + dayOfEra/36524 - dayOfEra/146096) / 365
	dayOfYear := dayOfEra - (365*yearOfEra + yearOfEra/4 - yearOfEra/100)
	m := (5*dayOfYear + 2) / 153
	month = int((m+2)%12) + 1
	year = yearOfEra + era*400
	if month <= 2 {
		year++
	}
	return year, month, int(dayOfYear - (153*m+2)/5 + 1)
}

func daysInMonth(year int64, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// EncodeDate gives a date's value for a day of the calendar; it must lie in -5877641-06-23 to 5881580-07-11.
func EncodeDate(year int, month time.Month, day int) uint32 {
	return uint32(daysOf(int64(year), int(month), day) + DateCenter)
}

// DateOfTime gives a date's value for the UTC day of a time.
func DateOfTime(t time.Time) uint32 { return uint32(floorDiv(t.Unix(), 86400) + DateCenter) }

// DateTime is midnight UTC of a date's value.
func DateTime(v uint32) time.Time { return time.Unix((int64(v)-DateCenter)*86400, 0).UTC() }

// AppendTimestamp appends a timestamp's bytes, ms since 1970, rounded down.
func AppendTimestamp(dst []byte, t time.Time) []byte { return AppendInt64(dst, t.UnixMilli()) }

// DecodeTimestamp reads a timestamp's bytes.
func DecodeTimestamp(b []byte) time.Time { return time.UnixMilli(Int64(b)).UTC() }

// appendDate appends a day as yyyy-mm-dd, with a sign where the year is negative and as many digits as it takes.
func appendDate(dst []byte, days int64) []byte {
	year, month, day := dateOf(days)
	if year < 0 {
		dst = append(dst, '-')
		year = -year
	}
	dst = appendPadded(dst, uint64(year), 4)
	dst = appendPadded(append(dst, '-'), uint64(month), 2)
	return appendPadded(append(dst, '-'), uint64(day), 2)
}

func appendPadded(dst []byte, v uint64, width int) []byte {
	n := 1
	for x := v; x >= 10; x /= 10 {
		n++
	}
	for ; n < width; n++ {
		dst = append(dst, '0')
	}
	return strconv.AppendUint(dst, v, 10)
}

// appendTime appends nanoseconds since midnight as 08:12:54.123456789.
func appendTime(dst []byte, nanos int64) []byte {
	dst = appendClock(dst, nanos/1e9)
	return appendPadded(append(dst, '.'), uint64(nanos%1e9), 9)
}

func appendClock(dst []byte, seconds int64) []byte {
	dst = appendPadded(dst, uint64(seconds/3600), 2)
	dst = appendPadded(append(dst, ':'), uint64(seconds/60%60), 2)
	return appendPadded(append(dst, ':'), uint64(seconds%60), 2)
}

// appendTimestamp appends a timestamp with a number of fraction digits (3 or 6) and a zone. One outside the years 1 to 9999, which
// clients cannot read as a date, is appended as its milliseconds, and written is false.
func appendTimestamp(dst []byte, ms int64, digits int, zone string) (out []byte, written bool) {
	days, clock := floorDiv(ms, dayMillis), floorMod(ms, dayMillis)
	if days < -719162 || days > 2932896 {
		return strconv.AppendInt(dst, ms, 10), false
	}
	dst = append(appendDate(dst, days), ' ')
	dst = append(appendClock(dst, clock/1000), '.')
	dst = appendPadded(dst, uint64(clock%1000), 3)
	if digits == 6 {
		dst = append(dst, "000"...)
	}
	return append(dst, zone...), true
}

// ParseDate reads a date's value from yyyy-mm-dd or from the value itself as an unsigned integer (1970-01-01 is 2147483648).
func ParseDate(s string) (uint32, error) {
	if v, err := strconv.ParseUint(s, 10, 32); err == nil && s[0] != '+' {
		return uint32(v), nil
	}
	days, rest, ok := parseDay(s)
	if n := len(s); !ok || rest != "" || n < len("yyyy-mm-dd") || s[n-3] != '-' || s[n-6] != '-' { // 2024-1-5 is none
		return 0, fmt.Errorf("%w: %q is not a date: expected yyyy-mm-dd with a day that exists, or days as an integer of 32 bits (1970-01-01 is %d)",
			ErrValue, clip(s), DateCenter)
	}
	if days < -DateCenter || days >= DateCenter {
		return 0, fmt.Errorf("%w: %q is out of the range of dates, -5877641-06-23 to 5881580-07-11", ErrValue, clip(s))
	}
	return uint32(days + DateCenter), nil
}

// parseDay reads yyyy-mm-dd from the front: days since 1970-01-01, and what follows.
func parseDay(s string) (days int64, rest string, ok bool) {
	negative := false
	if rest = s; s != "" && (s[0] == '-' || s[0] == '+') {
		negative, rest = s[0] == '-', s[1:]
	}
	year, rest, ok := digits(rest, 1, 9)
	if !ok || rest == "" || rest[0] != '-' {
		return 0, s, false
	}
	month, rest, ok := digits(rest[1:], 1, 2)
	if !ok || month < 1 || month > 12 || rest == "" || rest[0] != '-' {
		return 0, s, false
	}
	day, rest, ok := digits(rest[1:], 1, 2)
	if negative {
		year = -year
	}
	if !ok || day < 1 || int(day) > daysInMonth(year, int(month)) {
		return 0, s, false
	}
	return daysOf(year, int(month), int(day)), rest, true
}

// digits reads from the front a number of least to most digits.
func digits(s string, least, most int) (v int64, rest string, ok bool) {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		if i == most {
			return 0, s, false
		}
		v = v*10 + int64(s[i]-'0')
		i++
	}
	return v, s[i:], i >= least
}

// ParseTime reads nanoseconds since midnight from hh:mm:ss[.fffffffff] or from an integer of nanoseconds.
func ParseTime(s string) (int64, error) {
	if v, err := strconv.ParseInt(s, 10, 64); err == nil {
		if v < 0 || v >= dayNanos {
			return 0, fmt.Errorf("%w: %s ns is no time of day: it has 0 to %d", ErrValue, s, int64(dayNanos-1))
		}
		return v, nil
	}
	nanos, rest, seconds, ok := parseClock(s)
	if !ok || !seconds || rest != "" {
		return 0, fmt.Errorf("%w: %q is not a time of day: expected hh:mm:ss[.fffffffff] or nanoseconds since midnight", ErrValue, clip(s))
	}
	return nanos, nil
}

// parseClock reads hh:mm[:ss[.f…]] from the front, in nanoseconds; seconds says whether it had them.
func parseClock(s string) (nanos int64, rest string, seconds, ok bool) {
	hour, rest, ok := digits(s, 1, 2)
	if !ok || hour > 23 || rest == "" || rest[0] != ':' {
		return 0, s, false, false
	}
	minute, rest, ok := digits(rest[1:], 1, 2)
	if !ok || minute > 59 {
		return 0, s, false, false
	}
	nanos = (hour*60 + minute) * 60e9
	if rest == "" || rest[0] != ':' {
		return nanos, rest, false, true
	}
	second, rest, ok := digits(rest[1:], 1, 2)
	if !ok || second > 59 {
		return 0, s, false, false
	}
	nanos += second * 1e9
	if rest == "" || rest[0] != '.' {
		return nanos, rest, true, true
	}
	fraction := rest[1:]
	v, rest, ok := digits(fraction, 1, 9)
	if !ok {
		return 0, s, false, false
	}
	for i := len(fraction) - len(rest); i < 9; i++ {
		v *= 10
	}
	return nanos + v, rest, true, true
}

// ParseTimestamp reads ms since 1970 from an integer of them, or from a date, optionally followed by T or a blank and hh:mm[:ss[.fffffffff]],
// optionally followed (after a blank or none) by a zone: Z, UTC, GMT, +hh, +hhmm or +hh:mm. Without a zone it is UTC. Digits below the
// millisecond are cut off, as Cassandra does.
func ParseTimestamp(s string) (int64, error) {
	if v, err := strconv.ParseInt(s, 10, 64); err == nil {
		return v, nil
	}
	ms, ok := parseTimestamp(s)
	if !ok {
		return 0, fmt.Errorf("%w: %q is not a timestamp: expected yyyy-mm-dd[(T| )hh:mm[:ss[.fff]]][Z|+hhmm], or milliseconds since 1970",
			ErrValue, clip(s))
	}
	return ms, nil
}

func parseTimestamp(s string) (ms int64, ok bool) {
	days, rest, ok := parseDay(s)
	if !ok {
		return 0, false
	}
	var clock int64
	if rest != "" && (rest[0] == 'T' || rest[0] == 't' || rest[0] == ' ') && len(rest) > 1 && rest[1] >= '0' && rest[1] <= '9' {
		if clock, rest, _, ok = parseClock(rest[1:]); !ok {
			return 0, false
		}
	}
	offset, ok := parseZone(strings.TrimPrefix(rest, " "))
	if !ok {
		return 0, false
	}
	if days < math.MinInt64/dayMillis+2 || days > math.MaxInt64/dayMillis-2 {
		return 0, false
	}
	return days*dayMillis + clock/1e6 - offset, true
}

// parseZone reads a zone's offset in ms.
func parseZone(s string) (ms int64, ok bool) {
	switch s {
	case "", "Z", "z", "UTC", "GMT":
		return 0, true
	}
	if s[0] != '+' && s[0] != '-' {
		return 0, false
	}
	hour, rest, ok := digits(s[1:min(len(s), 3)], 2, 2)
	if !ok || rest != "" {
		return 0, false
	}
	var minute int64
	if rest = s[3:]; rest != "" {
		if minute, rest, ok = digits(strings.TrimPrefix(rest, ":"), 2, 2); !ok || rest != "" {
			return 0, false
		}
	}
	if hour > 18 || minute > 59 {
		return 0, false
	}
	ms = (hour*60 + minute) * 60_000
	if s[0] == '-' {
		ms = -ms
	}
	return ms, true
}
