package schema

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

func anyChange(t *rapid.T) *Change {
	text := rapid.StringN(0, 6, 12)
	texts := rapid.MapOfN(text, text, 0, 3)
	c := &Change{
		Op: Op(rapid.IntRange(1, 10).Draw(t, "op")), IfExists: rapid.Bool().Draw(t, "if"), IfColumn: rapid.Bool().Draw(t, "ifc"),
		Keyspace: text.Draw(t, "ks"), Name: text.Draw(t, "name"), Class: text.Draw(t, "class"),
	}
	copy(c.ID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
	if m := texts.Draw(t, "rep"); len(m) > 0 {
		c.Replication = m
	}
	if m := texts.Draw(t, "opt"); len(m) > 0 {
		c.Options = m
	}
	if rapid.Bool().Draw(t, "hasDurable") {
		v := rapid.Bool().Draw(t, "durable")
		c.Durable = &v
	}
	for range rapid.IntRange(0, 3).Draw(t, "cols") {
		c.Columns = append(c.Columns, ColumnDef{text.Draw(t, "c"), text.Draw(t, "t"), ColumnKind(rapid.IntRange(0, 3).Draw(t, "k")),
			rapid.IntRange(-1, 9).Draw(t, "p"), rapid.Bool().Draw(t, "d")})
	}
	for range rapid.IntRange(0, 2).Draw(t, "drops") {
		c.Dropped = append(c.Dropped, text.Draw(t, "drop"))
		c.Renamed = append(c.Renamed, [2]string{text.Draw(t, "from"), text.Draw(t, "to")})
	}
	return c
}

func TestChangeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := anyChange(t)
		b := c.Append(nil)
		got, err := DecodeChange(b)
		if err != nil || !reflect.DeepEqual(got, c) {
			t.Fatalf("%+v\nreads back as %+v, %v", c, got, err)
		}
		for n := range b {
			if _, err := DecodeChange(b[:n]); !errors.Is(err, ErrFormat) {
				t.Fatalf("cut to %d of %d bytes: %v", n, len(b), err)
			}
		}
	})
}

// TestRandomHistories applies random changes and holds: what is decoded from a snapshot is the same catalog with the
// same version and behaves the same.
func TestRandomHistories(t *testing.T) {
	name := rapid.SampledFrom([]string{"a", "b"})
	col := rapid.SampledFrom([]string{"v", "w", "x"})
	typ := rapid.SampledFrom([]string{"int", "text", "list<int>", "frozen<a>", "map<text, frozen<b>>", "b", "tuple<int, frozen<a>>"})
	rapid.Check(t, func(t *rapid.T) {
		c, twin := Empty(), Empty()
		for i := range rapid.IntRange(1, 30).Draw(t, "n") {
			ch := &Change{Op: Op(rapid.IntRange(1, 10).Draw(t, "op")), Keyspace: name.Draw(t, "ks"), Name: name.Draw(t, "name"), ID: [16]byte{byte(i)}}
			switch ch.Op {
			case CreateKeyspace, AlterKeyspace:
				ch.Class, ch.Replication = "SimpleStrategy", map[string]string{"replication_factor": "1"}
			case CreateTable:
				ch.Columns = []ColumnDef{pk("k", "int"), reg(col.Draw(t, "c"), typ.Draw(t, "t"))}
			case AlterTable:
				if rapid.Bool().Draw(t, "add") {
					ch.Columns = []ColumnDef{reg(col.Draw(t, "c"), typ.Draw(t, "t"))}
				} else {
					ch.Dropped = []string{col.Draw(t, "c")}
				}
			case CreateType, AlterType:
				ch.Columns = []ColumnDef{reg(col.Draw(t, "f"), typ.Draw(t, "ft"))}
			}
			next, target, err := c.Apply(ch, uint64(i+1))
			again, target2, err2 := twin.Apply(ch, uint64(i+1))
			if target != target2 || (err == nil) != (err2 == nil) || (err != nil && err.Error() != err2.Error()) {
				t.Fatalf("%+v: %+v %v on one, %+v %v on the twin", ch, target, err, target2, err2)
			}
			if err != nil {
				continue
			}
			b := next.Append(nil)
			decoded, derr := DecodeCatalog(b)
			if derr != nil || decoded.Version != next.Version || again.Version != next.Version || !bytes.Equal(decoded.Append(nil), b) {
				t.Fatalf("after %+v: %v, versions %x %x %x", ch, derr, next.Version, decoded.Version, again.Version)
			}
			c, twin = next, decoded // the twin always comes from bytes
		}
	})
}

func golden(t *testing.T, name string, b []byte) {
	t.Helper()
	path := filepath.Join("..", "..", "testdata", "schema", name)
	text := hex.Dump(b)
	if *rewrite {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != text {
		t.Errorf("%s: the format changed: give it a new version.\n%s", name, text)
	}
}

func TestGoldenFormats(t *testing.T) {
	c := flights("ks")
	golden(t, "change.v1.hex", c.Append(nil))
	catalog := sample(t)
	// It was written when options were kept as they were given. However new ones are kept, those bytes are read for ever.
	catalog.Keyspaces["ks"].Tables["flights"].Options.Extra = map[string]string{"compaction": `{"class":"org.apache.cassandra.db.compaction.LeveledCompactionStrategy"}`}
	golden(t, "catalog.v1.hex", catalog.Append(nil))
}

func TestNewerVersionsAreRefused(t *testing.T) {
	c := simple("ks")
	b := c.Append(nil)
	b[0] = 2
	if _, err := DecodeChange(b); !errors.Is(err, ErrFormat) {
		t.Error(err)
	}
	b = Empty().Append(nil)
	b[0] = 2
	if _, err := DecodeCatalog(b); !errors.Is(err, ErrFormat) {
		t.Error(err)
	}
}

func FuzzDecodeChange(f *testing.F) {
	for _, c := range []Change{simple("ks"), flights("ks"), {Op: TruncateTable, Keyspace: "a", Name: "b"}} {
		f.Add(c.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeChange(b)
		if err != nil {
			return
		}
		if again := c.Append(nil); !bytes.Equal(again, b) {
			t.Errorf("%x reads and writes as %x", b, again)
		}
		Empty().Apply(c, 1)
	})
}

func FuzzDecodeCatalog(f *testing.F) {
	f.Add(Empty().Append(nil))
	c := Empty()
	for _, ch := range []Change{simple("ks"), flights("ks")} {
		c, _, _ = c.Apply(&ch, 7)
	}
	f.Add(c.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeCatalog(b)
		if err != nil {
			return
		}
		if again := c.Append(nil); !bytes.Equal(again, b) {
			t.Errorf("%x reads and writes as %x", b, again)
		}
	})
}
