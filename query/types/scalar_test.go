package types

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	if b == nil {
		b = []byte{}
	}
	return b
}

func TestScalarBytes(t *testing.T) {
	for _, c := range []struct {
		typ     *Type
		text    string // read
		bytes   string
		printed string // as text, "" for the same
		literal string // "" for the same as printed
		json    string // for clients; "" for the same as literal
	}{
		{TinyintType, "-128", "80", "", "", ""},
		{SmallintType, "32767", "7fff", "", "", ""},
		{IntType, "-1", "ffffffff", "", "", ""},
		{IntType, "+7", "00000007", "7", "", ""},
		{BigintType, "9007199254740993", "0020000000000001", "", "", ""},
		{CounterType, "-9223372036854775808", "8000000000000000", "", "", ""},
		{BooleanType, "TRUE", "01", "True", "true", "true"},
		{BooleanType, "false", "00", "False", "false", "false"},
		{VarcharType, "it's é", "697427732 0c3a9", "", "'it''s é'", `"it's é"`},
		{VarcharType, "", "", "", "''", `""`},
		{AsciiType, "a\"b\\\n", "6122625c0a", "", "'a\"b\\\n'", `"a\"b\\\n"`},
		{BlobType, "0xCAfe", "cafe", "0xcafe", "", `"0xcafe"`},
		{BlobType, "0x", "", "", "", `"0x"`},
		{FloatType, "1.5", "3fc00000", "", "", ""},
		{FloatType, "0.1", "3dcccccd", "", "", ""},
		{DoubleType, "1234567", "4132d68700000000", "", "", ""},
		{DoubleType, "1e100", "54b249ad2594c37d", "1e+100", "", ""},
		{DoubleType, "-0.0", "8000000000000000", "-0", "", ""},
		{DoubleType, "nan", "7ff8000000000000", "NaN", "", `"NaN"`},
		{DoubleType, "-Infinity", "fff0000000000000", "", "", `"-Infinity"`},
		{FloatType, "infinity", "7f800000", "Infinity", "", `"Infinity"`},
		{VarintType, "0", "00", "", "", ""},
		{VarintType, "127", "7f", "", "", ""},
		{VarintType, "128", "0080", "", "", ""},
		{VarintType, "-128", "80", "", "", ""},
		{VarintType, "-129", "ff7f", "", "", ""},
		{VarintType, "18446744073709551616", "010000000000000000", "", "", ""},
		{VarintType, "-18446744073709551616", "ff0000000000000000", "", "", ""},
		{DecimalType, "1.00", "00000002 64", "", "", `"1.00"`},
		{DecimalType, "-0.05", "00000002 fb", "", "", `"-0.05"`},
		{DecimalType, "1e3", "fffffffd 01", "1E+3", "", `"1E+3"`},
		{DecimalType, ".5", "00000001 05", "0.5", "", `"0.5"`},
		{DecimalType, "12345E-12", "0000000c 3039", "1.2345E-8", "", `"1.2345E-8"`},
		{DecimalType, "0.000001", "00000006 01", "", "", `"0.000001"`},
		{TimestampType, "2013-01-01T10:00:00Z", "0000013bf58da900", "2013-01-01 10:00:00.000000+0000", "'2013-01-01 10:00:00.000+0000'",
			`"2013-01-01 10:00:00.000Z"`},
		{TimestampType, "-1", "ffffffffffffffff", "1969-12-31 23:59:59.999000+0000", "'1969-12-31 23:59:59.999+0000'", `"1969-12-31 23:59:59.999Z"`},
		{TimestampType, "253402300800000", "0000e677d21fdc00", "", "'253402300800000'", "253402300800000"},
		{DateType, "1970-01-01", "80000000", "", "'1970-01-01'", `"1970-01-01"`},
		{DateType, "2147483649", "80000001", "1970-01-02", "'1970-01-02'", `"1970-01-02"`},
		{DateType, "-5877641-06-23", "00000000", "", "'-5877641-06-23'", `"-5877641-06-23"`},
		{DateType, "5881580-07-11", "ffffffff", "", "'5881580-07-11'", `"5881580-07-11"`},
		{TimeType, "08:12:54.1234", "00001ae5c31eab40", "08:12:54.123400000", "'08:12:54.123400000'", `"08:12:54.123400000"`},
		{TimeType, "86399999999999", "00004e94914effff", "23:59:59.999999999", "'23:59:59.999999999'", `"23:59:59.999999999"`},
		{UUIDType, "A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc999c0b4ef8bb6d6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "",
			`"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"`},
		{InetType, "127.0.0.1", "7f000001", "", "'127.0.0.1'", `"127.0.0.1"`},
		{InetType, "2001:DB8::1", "20010db8000000000000000000000001", "2001:db8::1", "'2001:db8::1'", `"2001:db8::1"`},
	} {
		t.Run(c.typ.String()+" "+c.text, func(t *testing.T) {
			want := unhex(t, c.bytes)
			got, err := c.typ.ParseText(c.text)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("read as %x, want %x: %v", got, want, err)
			}
			if c.printed == "" {
				c.printed = c.text
			}
			if s := string(c.typ.AppendText(nil, got)); s != c.printed {
				t.Errorf("printed %q, want %q", s, c.printed)
			}
			if c.literal == "" {
				c.literal = c.printed
			}
			if s := string(c.typ.AppendLiteral(nil, got)); s != c.literal {
				t.Errorf("literal %q, want %q", s, c.literal)
			}
			if c.json == "" {
				c.json = c.literal
			}
			if s := string(c.typ.AppendClientJSON(nil, got)); s != c.json {
				t.Errorf("JSON %s, want %s", s, c.json)
			}
			if back, err := c.typ.FromJSON([]byte(c.json)); err != nil || !bytes.Equal(back, want) {
				t.Errorf("JSON %s read as %x: %v", c.json, back, err)
			}
		})
	}
}

// Every refused text names the value and wraps ErrValue.
func TestParseTextRefuses(t *testing.T) {
	for _, c := range []struct {
		typ  *Type
		text string
		says string
	}{
		{TinyintType, "128", "out of its range, -128 to 127"},
		{TinyintType, "", "not an integer"},
		{IntType, "1.0", `"1.0" is not an integer`},
		{IntType, "2147483648", "-2147483648 to 2147483647"},
		{IntType, " 1", "not an integer"},
		{BigintType, "9223372036854775808", "9223372036854775807"},
		{BigintType, "1_000", "not an integer"},
		{VarintType, "1_0", "not an integer"},
		{VarintType, "0x10", "not an integer"},
		{VarintType, strings.Repeat("9", 157_900), "over the limit of 65535 bytes"},
		{DecimalType, "1e100001", "the limit is 100000"},
		{DecimalType, "1.-5", "not a decimal"},
		{DecimalType, "1.5.", "not a decimal"},
		{DecimalType, ".", "not a decimal"},
		{DecimalType, "1e", "exponent"},
		{DoubleType, "1e400", "beyond the range"},
		{FloatType, "1e39", "beyond the range"},
		{DoubleType, "inf", "not a number"},
		{DoubleType, "0x1p3", "not a number"},
		{DoubleType, "+", "not a number"},
		{BooleanType, "yes", "neither true nor false"},
		{BlobType, "cafe", "starts with 0x"},
		{BlobType, "0xabc", "even number"},
		{AsciiType, "é", "over 0x7f"},
		{VarcharType, "\xff", "not UTF-8"},
		{DateType, "2013-02-29", "not a date"},
		{DateType, "4294967296", "not a date"},
		{DateType, "5881580-07-12", "out of the range"},
		{DateType, "", "not a date"},
		{TimeType, "24:00:00", "not a time of day"},
		{TimeType, "08:12", "not a time of day"},
		{TimeType, "86400000000000", "no time of day"},
		{TimestampType, "2013-01-01 25:00", "not a timestamp"},
		{TimestampType, "2013-01-01 10:00:00.1234567890", "not a timestamp"},
		{TimestampType, "2013-01-01 10:00 +1", "not a timestamp"},
		{TimestampType, "2013-01-01 ", "never"},
		{UUIDType, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1", "not a UUID"},
		{UUIDType, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1g", "not a UUID"},
		{TimeuuidType, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "version 4"},
		{InetType, "127.0.0", "not an IPv4"},
		{InetType, "fe80::1%eth0", "not an IPv4"},
		{DurationType, "", "not a duration"},
		{DurationType, "1d1y", "not a duration"},
		{DurationType, "PT", "not a duration"},
		{DurationType, "200000000y", "too long"},
		{DurationType, "9223372036854775808ns", "too long"},
	} {
		b, err := c.typ.ParseText(c.text)
		if c.says == "never" {
			if err != nil {
				t.Errorf("%s %q: %v", c.typ, clip(c.text), err)
			}
			continue
		}
		if err == nil || !errors.Is(err, ErrValue) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s %q gave %x and %v, want an error with %q", c.typ, clip(c.text), b, err, c.says)
		}
	}
}

// The forms of Cassandra's TimestampSerializer.
func TestParseTimestamp(t *testing.T) {
	want := time.Date(2011, 2, 3, 4, 5, 0, 0, time.UTC).UnixMilli()
	for text, offset := range map[string]int64{
		"1296705900000":                     0,
		"2011-02-03 04:05+0000":             0,
		"2011-02-03 04:05":                  0,
		"2011-02-03 04:05:00":               0,
		"2011-02-03 04:05:00+0000":          0,
		"2011-02-03T04:05+0000":             0,
		"2011-02-03T04:05:00Z":              0,
		"2011-02-03T04:05:00.1Z":            100,
		"2011-02-03T04:05:00.120+00:00":     120,
		"2011-02-03 04:05:00.123456+0000":   123,
		"2011-02-03 04:05:00.123456789 UTC": 123,
		"2011-02-03 04:05:00 GMT":           0,
		"2011-02-03 06:35:00+0230":          0,
		"2011-02-03 06:35:00.5 +02:30":      500,
		"2011-02-02T23:05:00-05":            0,
		"2011-02-03":                        -245 * 60_000,
		"2011-02-03+0000":                   -245 * 60_000,
		"2011-2-3":                          -245 * 60_000,
	} {
		if got, err := ParseTimestamp(text); err != nil || got != want+offset {
			t.Errorf("%q is %d, want %d: %v", text, got, want+offset, err)
		}
	}
}

// The calendar agrees with package time wherever that reaches.
func TestCalendar(t *testing.T) {
	for days := int64(-2_000_000); days < 4_000_000; days += 97 {
		year, month, day := dateOf(days)
		want := time.Unix(days*86400, 0).UTC()
		if int(year) != want.Year() || month != int(want.Month()) || day != want.Day() || daysOf(year, month, day) != days {
			t.Fatalf("day %d is %d-%d-%d, want %v", days, year, month, day, want)
		}
	}
	if d := EncodeDate(2013, time.December, 31); DateTime(d) != time.Date(2013, 12, 31, 0, 0, 0, 0, time.UTC) || DateOfTime(DateTime(d)) != d {
		t.Errorf("2013-12-31 is %v", DateTime(d))
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]DurationValue{
		"1y2mo3w4d5h6m7s8ms9us10ns": {14, 25, 18367_008_009_010},
		"1Y2MO":                     {14, 0, 0},
		"-1h30m":                    {0, 0, -5400e9},
		"5µs":                       {0, 0, 5000},
		"P1Y2M10DT2H30M":            {14, 10, 9000e9},
		"PT1M":                      {0, 0, 60e9},
		"P1M":                       {1, 0, 0},
		"P3W":                       {0, 21, 0},
		"-P0001-02-03T04:05:06":     {-14, -3, -14706e9},
		"0s":                        {},
		"-2147483648mo":             {math.MinInt32, 0, 0},
		"-9223372036854775808ns":    {0, 0, math.MinInt64},
	} {
		got, err := ParseDuration(text)
		if err != nil || got != want {
			t.Errorf("%q is %+v, want %+v: %v", text, got, want, err)
		}
		if back, err := DecodeDuration(AppendDuration(nil, got)); err != nil || back != got {
			t.Errorf("%q: bytes read back as %+v: %v", text, back, err)
		}
		if back, err := ParseDuration(string(got.AppendText(nil))); err != nil || back != got {
			t.Errorf("%q: %s read back as %+v: %v", text, got.AppendText(nil), back, err)
		}
	}
	if got := string(DurationValue{-14, -25, -18367_008_009_010}.AppendText(nil)); got != "-1y2mo25d5h6m7s8ms9us10ns" {
		t.Errorf("printed %s", got)
	}
}

// Byte vectors of Cassandra's VIntCoding, and the edges of every length.
func TestVint(t *testing.T) {
	for hexBytes, want := range map[string]uint64{"00": 0, "7f": 127, "8080": 128, "bfff": 16383, "c04000": 16384,
		"ff8000000000000000": 1 << 63, "ffffffffffffffffff": math.MaxUint64, "fe00ffffffffffff": 1<<48 - 1, "fe80000000000000": 1 << 55} {
		if got := AppendUvint(nil, want); !bytes.Equal(got, unhex(t, hexBytes)) && want != 1<<48-1 {
			t.Errorf("%d is %x, want %s", want, got, hexBytes)
		}
		if got, n := Uvint(unhex(t, hexBytes)); got != want || n != len(hexBytes)/2 {
			t.Errorf("%s is %d of %d bytes, want %d", hexBytes, got, n, want)
		}
	}
	for shift := range 64 {
		for _, v := range []uint64{1 << shift, 1<<shift - 1} {
			b := AppendUvint(nil, v)
			if got, n := Uvint(b); got != v || n != len(b) {
				t.Errorf("%d read back as %d", v, got)
			}
			if got, n := Vint(AppendVint(nil, int64(v))); got != int64(v) || n == 0 {
				t.Errorf("%d read back as %d", int64(v), got)
			}
			if _, n := Uvint(b[:len(b)-1]); n != 0 {
				t.Errorf("%x cut short is read", b)
			}
		}
	}
}

func TestTimeuuid(t *testing.T) {
	now := time.Date(2024, 2, 29, 12, 0, 0, 123_456_700, time.UTC)
	g, err := NewTimeuuidGenerator(func() time.Time { return now }, bytes.NewReader([]byte("\xff\xff\x00abcde")))
	if err != nil {
		t.Fatal(err)
	}
	first, second := g.Next(), g.Next()
	if got := TimeuuidTime(first[:]); !got.Equal(now) {
		t.Errorf("the time is %v, want %v", got, now)
	}
	now = now.Add(-time.Hour)
	third := g.Next()
	if TimeuuidType.Compare(first[:], second[:]) >= 0 || TimeuuidType.Compare(second[:], third[:]) >= 0 {
		t.Errorf("%x, %x, %x do not ascend", first, second, third)
	}
	if err := TimeuuidType.Validate(first[:]); err != nil || first[8]>>6 != 2 || first[10]&1 != 1 {
		t.Errorf("%x: %v", first, err)
	}
	ms := TimeuuidMicros(first[:]) / 1000
	low, err1 := MinTimeuuid(ms)
	high, err2 := MaxTimeuuid(ms)
	if err1 != nil || err2 != nil || TimeuuidType.Compare(low[:], first[:]) >= 0 || TimeuuidType.Compare(first[:], high[:]) >= 0 {
		t.Errorf("%x is not between %x and %x", first, low, high)
	}
	if next, _ := MinTimeuuid(ms + 1); TimeuuidType.Compare(high[:], next[:]) >= 0 {
		t.Errorf("%x is not under %x", high, next)
	}
	// Computed with Python's uuid module.
	known, _ := MinTimeuuid(time.Date(2013, 1, 1, 0, 5, 0, 0, time.UTC).UnixMilli())
	if got := string(AppendUUID(nil, known[:])); got != "e23f1e00-53a6-11e2-8080-808080808080" {
		t.Errorf("min is %s", got)
	}
	if _, err := MaxTimeuuid(math.MaxInt64); !errors.Is(err, ErrValue) {
		t.Errorf("a time out of range gave %v", err)
	}
	if _, err := NewTimeuuidGenerator(time.Now, bytes.NewReader(nil)); err == nil {
		t.Error("a generator without randomness")
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		typ   *Type
		bytes string
		ok    bool
	}{
		{IntType, "", true}, {IntType, "000000", false}, {IntType, "0000000000", false},
		{TinyintType, "", false}, {SmallintType, "", false}, {DateType, "", false}, {TimeType, "", false}, {DurationType, "", false},
		{BooleanType, "05", true}, {BooleanType, "0001", false},
		{TimeType, "ffffffffffffffff", false}, {TimeType, "00004e94914f0000", false},
		{UUIDType, "00", false}, {TimeuuidType, "00000000000010000000000000000000", true}, {TimeuuidType, "00000000000040000000000000000000", false},
		{InetType, "", true}, {InetType, "0102030405", false},
		{VarintType, "", true}, {VarintType, "0000000001", true},
		{DecimalType, "", true}, {DecimalType, "00000000", false}, {DecimalType, "7fffffff01", false},
		{DurationType, "020201", false}, {DurationType, "020202", true}, {DurationType, "02020200", false},
		{NewList(IntType, true), "", false}, {NewList(IntType, true), "00000000", true}, {NewList(IntType, true), "0000000000", false},
		{NewList(IntType, true), "00000001 ffffffff", false}, {NewList(IntType, true), "00000001 00000004 00000001", true},
		{NewList(IntType, true), "7fffffff 00000004 00000001", false}, {NewList(IntType, true), "ffffffff", false},
		{NewMap(IntType, VarcharType, true), "00000001 00000000 00000001 ff", false},
		{NewTuple(IntType, VarcharType), "", true}, {NewTuple(IntType, VarcharType), "ffffffff", true},
		{NewTuple(IntType, VarcharType), "ffffffff ffffffff ffffffff", false}, {NewTuple(IntType), "000000", false},
		{NewVector(FloatType, 2), "3f800000 40000000", true}, {NewVector(FloatType, 2), "3f800000", false},
		{NewVector(FloatType, 2), "3f800000 40000000 00", false}, {NewVector(SmallintType, 2), "02 0001 02 0002", true},
		{NewVector(VarcharType, 2), "00 01 61", true}, {NewVector(VarcharType, 2), "00 02 61", false}, {NewVector(FloatType, 2), "", false},
	} {
		if err := c.typ.Validate(unhex(t, c.bytes)); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrValue) {
			t.Errorf("%s %s: %v, want ok=%v", c.typ, c.bytes, err, c.ok)
		}
		if err := c.typ.Validate(nil); err != nil {
			t.Errorf("%s null: %v", c.typ, err)
		}
	}
}

// Values in Cassandra's order.
func TestCompare(t *testing.T) {
	uuids := []string{ // by version; version 1 by time, others by bytes, unsigned
		"ffffffff-0000-1000-8000-000000000000", "00000000-0001-1000-8000-000000000000", "00000000-0001-1000-ff00-000000000000",
		"01000000-0000-4000-8000-000000000000", "f0000000-0000-4000-8000-000000000000", "00000000-0000-7000-8000-000000000000"}
	timeuuids := []string{ // by time, then bytes, signed
		"ffffffff-0000-1000-8000-000000000000", "00000000-0001-1000-8080-808080808080", "00000000-0001-1000-ff00-000000000000",
		"00000000-0001-1000-00ff-000000000000", "00000000-0001-1000-0000-000000000000", "00000000-0001-1000-7f7f-7f7f7f7f7f7f"}
	for _, c := range []struct {
		typ    *Type
		values []string
	}{
		{IntType, []string{"", "-2147483648", "-1", "0", "1", "2147483647"}},
		{TinyintType, []string{"-128", "-1", "0", "127"}},
		{DoubleType, []string{"", "-Infinity", "-1", "-0.0", "0", "1e-300", "1", "Infinity", "NaN"}},
		{FloatType, []string{"-Infinity", "-1", "-0.0", "0", "1", "Infinity", "NaN"}},
		{VarintType, []string{"", "-99999999999999999999", "-256", "-255", "-1", "0", "1", "255", "256", "99999999999999999999"}},
		{DecimalType, []string{"", "-1e10", "-100", "-1.5", "-1", "-0.001", "0", "1e-1000", "0.999", "1", "1.000000000000000000000000001", "1e50000"}},
		{BooleanType, []string{"", "false", "true"}},
		{DateType, []string{"-0044-03-15", "1969-12-31", "1970-01-01", "2013-01-01"}},
		{InetType, []string{"0.0.0.1", "2001:db8::1", "127.0.0.1", "255.0.0.0", "ff02::1"}},
		{UUIDType, uuids}, {TimeuuidType, timeuuids},
		{NewList(IntType, true), []string{"[]", "[-1]", "[-1, 0]", "[0]"}},
		{NewMap(IntType, IntType, true), []string{"{}", "{1: 5}", "{1: 5, 2: 0}", "{1: 6}", "{2: 0}"}},
		{NewTuple(IntType, VarcharType), []string{"(null, null)", "(null, 'a')", "(1)", "(1, '')", "(1, 'a')"}},
		{NewVector(FloatType, 2), []string{"[-1, 9]", "[0, 1]", "[0, 2]"}},
	} {
		for i, a := range c.values {
			for j, b := range c.values {
				x, err1 := c.typ.ParseText(a)
				y, err2 := c.typ.ParseText(b)
				if err1 != nil || err2 != nil {
					t.Fatal(err1, err2)
				}
				if got := sign(c.typ.Compare(x, y)); got != sign(i-j) {
					t.Errorf("%s: %q and %q order %d", c.typ, a, b, got)
				}
			}
		}
	}
	for _, pair := range [][2]string{{"1.0", "1.00"}, {"100", "1e2"}, {"0", "0.000"}, {"-1.50", "-1.5"}} {
		a, _ := DecimalType.ParseText(pair[0])
		b, _ := DecimalType.ParseText(pair[1])
		if DecimalType.Compare(a, b) != 0 {
			t.Errorf("%s and %s differ", pair[0], pair[1])
		}
	}
}

func TestNumbersOfAnySize(t *testing.T) {
	big1 := new(big.Int).Lsh(big.NewInt(1), 8*1000)
	for _, v := range []*big.Int{big1, new(big.Int).Neg(big1), new(big.Int).Sub(big1, big.NewInt(1)), big.NewInt(math.MinInt64)} {
		if got := DecodeVarint(AppendVarint(nil, v)); got.Cmp(v) != 0 {
			t.Errorf("%v came back as %v", v, got)
		}
	}
}
