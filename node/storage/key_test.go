package storage

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"pgregory.net/rapid"

	"nodedb/node/row"
	"nodedb/vnodes"
)

var rewrite = flag.Bool("rewrite", false, "write the goldens anew")

// fullKey is the key of a row.
func fullKey(id row.StorageID, token vnodes.Token, key, clustering []byte) []byte {
	return append(append(appendPrefix(nil, id, token, key), markerRow), clustering...)
}

// TestKeyGoldens holds the permanent bytes.
func TestKeyGoldens(t *testing.T) {
	var b strings.Builder
	for _, key := range []string{"k", "", "\x00", "a\x00b", "\x00\x01", "\x00\xff", "\xff\xff", "\x00\x00\x00\x07"} {
		for _, token := range []vnodes.Token{vnodes.MinToken + 1, -1, 0, vnodes.MaxToken} {
			fmt.Fprintf(&b, "row %d %d %q c1: %x\n", 0x01020304, token, key, fullKey(0x01020304, token, []byte(key), []byte("c1")))
		}
		fmt.Fprintf(&b, "header 1 0 %q: %x\n", key, append(appendPrefix(nil, 1, 0, []byte(key)), markerHeader))
		fmt.Fprintf(&b, "system %q: %x\n", key, appendSystemKey(nil, spaceSystem, key))
	}
	fmt.Fprintf(&b, "engine headers 7: %x\n", appendSystemKey(nil, spaceEngine, headersName(7)))
	fmt.Fprintf(&b, "names: %s %s\nformat: %d %d\n", comparer.Name, merger.Name, formatVersion, formatMajorVersion)
	golden(t, "keys.txt", b.String())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("..", "..", "testdata", "storage", name)
	if *rewrite {
		check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		check(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	check(t, err)
	if got != string(want) {
		t.Errorf("%s is\n%s, want\n%s", name, got, want)
	}
}

// drawPart draws bytes that the escape has to deal with.
func drawPart(t *rapid.T, name string) []byte {
	return rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 2, 0xFE, 0xFF, 'a'}), 0, 6).Draw(t, name)
}

type place struct {
	id         row.StorageID
	token      vnodes.Token
	key        []byte
	clustering []byte
}

func drawPlace(t *rapid.T) place {
	return place{
		id:         row.StorageID(rapid.SampledFrom([]uint32{1, 2, 255, 256, 1 << 31}).Draw(t, "id")),
		token:      vnodes.Token(rapid.SampledFrom([]int64{-1 << 63, -5, -1, 0, 1, 1<<63 - 1}).Draw(t, "token")),
		key:        drawPart(t, "key"),
		clustering: drawPart(t, "clustering"),
	}
}

func comparePlace(a, b place) int {
	switch {
	case a.id != b.id:
		return sign(a.id < b.id)
	case a.token != b.token:
		return sign(a.token < b.token)
	case !bytes.Equal(a.key, b.key):
		return bytes.Compare(a.key, b.key)
	}
	return bytes.Compare(a.clustering, b.clustering)
}

func sign(less bool) int {
	if less {
		return -1
	}
	return 1
}

func TestKeysSortAsTheirParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawPlace(t), drawPlace(t)
		ka, kb := fullKey(a.id, a.token, a.key, a.clustering), fullKey(b.id, b.token, b.key, b.clustering)
		if got, want := comparer.Compare(ka, kb), comparePlace(a, b); got != want {
			t.Fatalf("%x and %x compare as %d, want %d", ka, kb, got, want)
		}
		prefix := ka[:splitKey(ka)]
		if token, key, n := parseKey(nil, ka); token != a.token || !bytes.Equal(key, a.key) || n != len(prefix) {
			t.Fatalf("%x parses to %d, %x, %d", ka, token, key, n)
		}
		if len(prefix) != prefixLen(a.key) {
			t.Fatalf("prefix of %d bytes, prefixLen gave %d", len(prefix), prefixLen(a.key))
		}
		header := append(bytes.Clone(prefix), markerHeader)
		end := appendPrefixEnd(nil, prefix)
		if bytes.Compare(header, ka) >= 0 || bytes.Compare(ka, end) >= 0 {
			t.Fatalf("header %x, row %x, end %x are not in order", header, ka, end)
		}
	})
}

// TestComparerLaws holds the comparer to what Pebble asks of one, on keys and on what separators make of them.
func TestComparerLaws(t *testing.T) {
	anyKey := func(t *rapid.T, name string) []byte {
		p := drawPlace(t)
		k := fullKey(p.id, p.token, p.key, p.clustering)
		if rapid.IntRange(0, 3).Draw(t, name+" is cut") == 0 {
			k = k[:rapid.IntRange(1, len(k)).Draw(t, "length")]
		}
		if rapid.IntRange(0, 9).Draw(t, name+" is a system key") == 0 {
			k = appendSystemKey(nil, spaceSystem, string(p.key))
		}
		return k
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyKey(t, "a"), anyKey(t, "b")
		if bytes.Compare(a, b) > 0 {
			a, b = b, a
		}
		pa, pb := a[:splitKey(a)], b[:splitKey(b)]
		if splitKey(pa) != len(pa) {
			t.Fatalf("the prefix %x of %x has the prefix %x", pa, a, pa[:splitKey(pa)])
		}
		if bytes.Compare(pa, pb) > 0 {
			t.Fatalf("%x < %x, yet their prefixes are not", a, b)
		}
		if comparer.AbbreviatedKey(a) > comparer.AbbreviatedKey(b) {
			t.Fatalf("abbreviated keys of %x and %x", a, b)
		}
		checkSuccessors(t, a, b, pa, pb)
	})
}

func checkSuccessors(t *rapid.T, a, b, pa, pb []byte) {
	if s := comparer.Successor(nil, a); bytes.Compare(a, s) > 0 {
		t.Fatalf("successor %x of %x", s, a)
	}
	next := comparer.ImmediateSuccessor(nil, pa)
	if bytes.Compare(pa, next) >= 0 || splitKey(next) != len(next) {
		t.Fatalf("immediate successor %x of %x", next, pa)
	}
	if bytes.Compare(pa, pb) < 0 && bytes.Compare(pb, next) < 0 {
		t.Fatalf("%x lies between %x and its immediate successor %x", pb, pa, next)
	}
	if bytes.Equal(a, b) {
		return
	}
	if s := comparer.Separator(nil, a, b); bytes.Compare(a, s) > 0 || bytes.Compare(s, b) >= 0 {
		t.Fatalf("separator %x of %x and %x", s, a, b)
	}
}

func TestRangeBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tokens := rapid.SampledFrom([]vnodes.Token{vnodes.MinToken, -7, 0, 1, 9, vnodes.MaxToken - 1, vnodes.MaxToken})
		r := vnodes.Range{Start: tokens.Draw(t, "start"), End: tokens.Draw(t, "end")}
		token := tokens.Draw(t, "token")
		if token == vnodes.MinToken {
			return // no partition has it
		}
		id := row.StorageID(rapid.SampledFrom([]uint32{1, uint32(maxStorageID)}).Draw(t, "id"))
		key := fullKey(id, token, []byte("\xff\xff"), []byte("c"))
		inside := 0
		for _, part := range unwrap(r) {
			lower, upper := appendRangeBounds(nil, nil, id, part)
			if bytes.Compare(lower, key) <= 0 && bytes.Compare(key, upper) < 0 {
				inside++
			}
		}
		if want := r.Contains(token); inside > 1 || (inside == 1) != want {
			t.Fatalf("token %d in %v: %d parts hold it, want %v", token, r, inside, want)
		}
	})
}

func TestKeyFormatter(t *testing.T) {
	k := fullKey(7, -3, []byte("a\x00"), []byte("c"))
	if got := fmt.Sprint(keyFormatter(k)); got != "7/-3/6100/0263" {
		t.Errorf("got %s", got)
	}
	if got := fmt.Sprint(keyFormatter(k[:9])); got != hex.EncodeToString(k[:9]) {
		t.Errorf("a cut key prints as %s", got)
	}
}

func TestMergerRefusesOtherKeys(t *testing.T) {
	for _, key := range [][]byte{appendSystemKey(nil, spaceSystem, "x"), {1}, append(appendPrefix(nil, 1, 0, []byte("k")), 9)} {
		if m, err := merger.Merge(key, nil); err == nil {
			t.Errorf("key %x: got %v", key, m)
		}
	}
	if _, ok := any(new(valueMerger)).(pebble.DeletableValueMerger); ok {
		t.Error("the merger must not be able to delete (Pebble issue 6168)")
	}
}

// FuzzParseKey: any bytes at all may be asked for their parts, and what parses is written back the same.
func FuzzParseKey(f *testing.F) {
	f.Add([]byte{})
	f.Add(fullKey(7, -3, []byte("a\x00b"), []byte("c")))
	f.Add(appendSystemKey(nil, spaceSystem, "log/1"))
	f.Add(append(appendPrefix(nil, 1, 0, nil)[:fixedBytes], 0))
	f.Fuzz(func(t *testing.T, k []byte) {
		_ = fmt.Sprint(keyFormatter(k))
		token, key, n := parseKey(nil, k)
		if split := splitKey(k); n > 0 && k[0]|k[1]|k[2]|k[3] != 0 && split > n {
			t.Errorf("%x: parse ends at %d, split at %d", k, n, split)
		}
		if again := appendPrefix(nil, row.StorageID(7), token, key); n > 0 && len(again) == n && splitKey(again) != n {
			t.Errorf("%x: written back as %x", k, again)
		}
	})
}
