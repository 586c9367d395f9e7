package types

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the goldens anew")

// goldenValues are one or more values of each type, as text.
var goldenValues = []struct {
	typ   string
	texts []string
}{
	{"ascii", []string{"", "EWR"}}, {"text", []string{"", "a\x00b", "é"}}, {"blob", []string{"0x", "0x00", "0xff00ff"}},
	{"boolean", []string{"false", "true"}}, {"tinyint", []string{"-128", "0", "127"}}, {"smallint", []string{"-1", "256"}},
	{"int", []string{"", "-2147483648", "-1", "0", "5"}}, {"bigint", []string{"-1", "9007199254740993"}}, {"counter", []string{"3"}},
	{"varint", []string{"-256", "-1", "0", "128", "340282366920938463463374607431768211456"}},
	{"decimal", []string{"-1.5", "0.00", "0.001", "1.00", "123.45"}},
	{"float", []string{"-Infinity", "-1.5", "-0", "0", "1.5", "NaN"}}, {"double", []string{"-1.5", "0", "1e100", "NaN"}},
	{"timestamp", []string{"1969-12-31 23:59:59.999", "2013-01-01 10:00"}}, {"date", []string{"2013-01-01"}}, {"time", []string{"08:12:54.1234"}},
	{"duration", []string{"1mo2d3ns", "-1mo2d3ns"}},
	{"uuid", []string{"6d78fbc0-53a7-11e2-8080-808080808080", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}},
	{"timeuuid", []string{"6d78fbc0-53a7-11e2-8080-808080808080"}}, {"inet", []string{"127.0.0.1", "::1"}},
	{"frozen<list<int>>", []string{"[]", "[1, 2]"}}, {"frozen<set<text>>", []string{"{'a', 'b'}"}},
	{"frozen<map<int, text>>", []string{"{1: 'x'}"}}, {"tuple<int, text>", []string{"(1, null)", "(null, '')"}},
	{"frozen<address>", []string{`{zip: 1, "Phone No": {'2'}}`}}, {"vector<float, 2>", []string{"[1, -1]"}}, {"vector<text, 2>", []string{"['', 'ab']"}},
}

// The bytes of keys, types on the wire and class names are stored or sent, so they must not change: goldens hold them. The values' own bytes
// are held too.
func TestGolden(t *testing.T) {
	var out bytes.Buffer
	for _, g := range goldenValues {
		typ, err := Parse(g.typ, lookup)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s\n  wire  %x\n  class %s\n", typ, typ.AppendWireType(nil), typ.ClassName())
		for _, text := range g.texts {
			v, err := typ.ParseText(text)
			if err != nil {
				t.Fatal(err)
			}
			asc, err1 := typ.AppendKey(nil, v, false)
			desc, err2 := typ.AppendKey(nil, v, true)
			if err1 != nil || err2 != nil {
				t.Fatal(err1, err2)
			}
			fmt.Fprintf(&out, "  %+q\n    value %s\n    key   %s\n    desc  %s\n", typ.AppendLiteral(nil, v), hex.EncodeToString(v),
				hex.EncodeToString(asc), hex.EncodeToString(desc))
		}
	}
	path := filepath.Join("..", "..", "testdata", "types", "formats.golden")
	if *rewrite {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test -rewrite writes it)", err)
	}
	got := out.Bytes()
	for i, line := range bytes.Split(got, []byte("\n")) {
		if wantLines := bytes.Split(want, []byte("\n")); i >= len(wantLines) || !bytes.Equal(line, wantLines[i]) {
			t.Fatalf("line %d is\n%s\nand not what the golden has: a format changed", i+1, line)
		}
	}
	if !bytes.Equal(got, want) {
		t.Fatal("the golden is longer")
	}
}
