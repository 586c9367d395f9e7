package e2e

import (
	"bytes"
	"fmt"
	"math"
	"math/big"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
	"gopkg.in/inf.v0"
)

// goAddress is a user-defined type as gocql's users write it.
type goAddress struct {
	Street  string     `cql:"street"`
	Numbers []int      `cql:"numbers"`
	At      [2]float64 `cql:"at"`
}

// goTuple is a tuple within something; where a column is one, gocql gives its elements.
type goTuple struct {
	N    int
	Text string
	Many []*big.Int
}

// goValues are a type's values, as the driver's users write them.
type goValues struct {
	kind   string
	values []any
}

func bigInt(s string) *big.Int {
	n, ok := new(big.Int).SetString(s, 10)
	if !ok {
		panic(s)
	}
	return n
}

// scalars are all of them, at their edges.
func scalars() []goValues {
	at := time.Date(2013, 7, 4, 12, 34, 56, 789e6, time.UTC)
	huge := bigInt("-123456789012345678901234567890")
	return []goValues{
		{"ascii", []any{"", "plain ~"}},
		{"bigint", []any{int64(math.MinInt64), int64(0), int64(math.MaxInt64)}},
		{"blob", []any{[]byte{}, bytes.Repeat([]byte{0, 255, 1}, 1000)}},
		{"boolean", []any{true, false}},
		{"date", []any{time.Unix(0, 0).UTC(), time.Date(1969, 12, 31, 0, 0, 0, 0, time.UTC), time.Date(2013, 7, 4, 0, 0, 0, 0, time.UTC)}},
		{"decimal", []any{inf.NewDec(0, 0), inf.NewDec(-12300, 4), inf.NewDecBig(huge, 20), inf.NewDec(1, -20), inf.NewDec(-1, 40)}},
		{"double", []any{0.0, -1.5e300, math.Inf(1), math.Inf(-1), math.NaN(), math.SmallestNonzeroFloat64}},
		{"duration", []any{gocql.Duration{}, gocql.Duration{Months: 1, Days: 2, Nanoseconds: 3}, gocql.Duration{Months: -1, Days: -2, Nanoseconds: -3},
			gocql.Duration{Nanoseconds: math.MaxInt64}}},
		{"float", []any{float32(0), float32(-1.5), float32(math.Inf(1)), float32(math.SmallestNonzeroFloat32)}},
		{"inet", []any{net.ParseIP("127.0.0.1"), net.ParseIP("2001:db8::1"), net.IPv6zero}},
		{"int", []any{math.MinInt32, 0, math.MaxInt32}},
		{"smallint", []any{int16(math.MinInt16), int16(0), int16(math.MaxInt16)}},
		{"text", []any{"", "grüße 世界 🜁", "'quoted' $$ \x00"}},
		{"time", []any{time.Duration(0), 24*time.Hour - 1, 12*time.Hour + 34*time.Minute + 56789*time.Millisecond}},
		{"timestamp", []any{at, time.Date(1969, 12, 31, 23, 59, 59, 999e6, time.UTC), time.Unix(0, 0).UTC()}},
		{"timeuuid", []any{gocql.UUIDFromTime(at)}},
		{"tinyint", []any{int8(math.MinInt8), int8(0), int8(math.MaxInt8)}},
		{"uuid", []any{gocql.UUID{}, gocql.MustRandomUUID(), gocql.UUID(bytes.Repeat([]byte{255}, 16))}},
		{"varchar", []any{"v"}},
		{"varint", []any{big.NewInt(0), big.NewInt(-1), big.NewInt(127), big.NewInt(128), huge, bigInt("1" + strings.Repeat("0", 60))}},
	}
}

// composites nest; d.address is a user-defined type.
func composites() []goValues {
	at := gocql.UUIDFromTime(time.Unix(1372941296, 0))
	home := goAddress{"Main", []int{1, 2}, [2]float64{1.5, -2.5}}
	return []goValues{
		{"list<int>", []any{[]int{1, 2, 1}}},
		{"set<text>", []any{[]string{"", "a", "b"}}},
		{"map<text, double>", []any{map[string]float64{"a": 1, "": math.Inf(1)}}},
		{"map<timeuuid, frozen<set<uuid>>>", []any{map[gocql.UUID][]gocql.UUID{at: {{}, at}}}},
		{"frozen<list<frozen<map<int, text>>>>", []any{[]map[int]string{{1: "a", 2: ""}, {}}}},
		{"list<frozen<tuple<int, text, frozen<list<varint>>>>>", []any{[]goTuple{{1, "a", []*big.Int{bigInt("-1" + strings.Repeat("0", 30))}}}}},
		{"vector<float, 3>", []any{[]float32{1, -2.5, 0}}},
		{"list<frozen<vector<float, 2>>>", []any{[][]float32{{1, 2}, {3, 4}}}},
		{"vector<text, 2>", []any{[]string{"a", ""}}},
		{"frozen<address>", []any{home}},
		{"address", []any{home}},
		{"map<text, frozen<address>>", []any{map[string]goAddress{"home": home}}},
	}
}

func (r *gocqlRun) everyTypeBothWays(t *testing.T) {
	driverExec(t, r.session, "CREATE TYPE d.address (street text, numbers frozen<set<int>>, at frozen<tuple<double, double>>)")
	kinds := append(scalars(), composites()...)
	def := "CREATE TABLE d.types (k int PRIMARY KEY"
	for i, kind := range kinds {
		def += fmt.Sprintf(", v%d %s", i, kind.kind)
	}
	driverExec(t, r.session, def+")")
	for i, kind := range kinds {
		insert, sel := fmt.Sprintf("INSERT INTO d.types (k, v%d) VALUES (?, ?)", i), fmt.Sprintf("SELECT v%d FROM d.types WHERE k = ?", i)
		for k, v := range kind.values {
			driverExec(t, r.session, insert, k, v)
			into := reflect.New(reflect.TypeOf(v))
			if err := r.session.Query(sel, k).Scan(into.Interface()); err != nil {
				t.Fatalf("%s: %v", kind.kind, err)
			}
			if got := into.Elem().Interface(); !sameValue(got, v) {
				t.Errorf("%s: wrote %v, read %v", kind.kind, v, got)
			}
		}
		null := reflect.New(reflect.PointerTo(reflect.TypeOf(kind.values[0])))
		driverExec(t, r.session, insert, 100, null.Elem().Interface())
		null.Elem().Set(reflect.New(reflect.TypeOf(kind.values[0]))) // not nil before
		if err := r.session.Query(sel, 100).Scan(null.Interface()); err != nil || !null.Elem().IsNil() {
			t.Errorf("%s: null is read as %v, %v", kind.kind, null.Elem(), err)
		}
	}
	r.tupleBothWays(t)
}

func (r *gocqlRun) tupleBothWays(t *testing.T) {
	t.Helper()
	driverExec(t, r.session, "CREATE TABLE d.tuples (k int PRIMARY KEY, v tuple<int, text>)")
	driverExec(t, r.session, "INSERT INTO d.tuples (k, v) VALUES (?, (?, ?))", 1, 7, "seven")
	driverExec(t, r.session, "INSERT INTO d.tuples (k, v) VALUES (?, (?, ?))", 2, nil, nil)
	var n *int
	var text *string
	if err := r.session.Query("SELECT v FROM d.tuples WHERE k = 1").Scan(&n, &text); err != nil || *n != 7 || *text != "seven" {
		t.Errorf("%v, %v, %v", n, text, err)
	}
	if err := r.session.Query("SELECT v FROM d.tuples WHERE k = 2").Scan(&n, &text); err != nil || n != nil || text != nil {
		t.Errorf("nulls: %v, %v, %v", n, text, err)
	}
}

// sameValue compares two values; the driver reads some in another form than it takes.
func sameValue(got, want any) bool {
	switch w := want.(type) {
	case time.Time:
		return w.Equal(got.(time.Time))
	case float64:
		return w == got.(float64) || w != w && got.(float64) != got.(float64)
	case []byte:
		return bytes.Equal(w, got.([]byte))
	case net.IP:
		return w.Equal(got.(net.IP))
	case *big.Int:
		return w.Cmp(got.(*big.Int)) == 0
	case *inf.Dec:
		return w.Cmp(got.(*inf.Dec)) == 0 && w.Scale() == got.(*inf.Dec).Scale()
	}
	return reflect.DeepEqual(got, want)
}
