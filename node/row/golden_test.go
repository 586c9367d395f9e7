package row

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "rewrite the goldens in testdata/row: only when a format gets a new version")

// The bytes of every format as they are on disks out there. A change here is a change of format: it needs a new version and code that still
// reads the old one.
func TestGoldens(t *testing.T) {
	goldens := map[string][]byte{
		"mutation":      seedMutation(),
		"page":          seedPage(nil),
		"page-stopped":  seedPage(seedPosition()),
		"position":      seedPosition().Append(nil),
		"position-done": (&Position{Token: 3, Key: []byte("key"), Done: true}).Append(nil),
	}
	for name, b := range seeds() {
		if len(b) < 1000 {
			goldens["row-"+name] = b
		}
	}
	for name, b := range seedHeaders() {
		goldens["header-"+name] = b
	}
	for name, b := range goldens {
		path := filepath.Join("..", "..", "testdata", "row", name+".hex")
		if *update {
			if err := os.WriteFile(path, []byte(hex.Dump(b)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.Dump(b); got != string(want) {
			t.Errorf("%s: bytes are\n%swant\n%s", name, got, want)
		}
	}
	files, err := filepath.Glob(filepath.Join("..", "..", "testdata", "row", "*.hex"))
	if err != nil || len(files) != len(goldens) {
		t.Errorf("%d files for %d goldens (%v)", len(files), len(goldens), err)
	}
}

// Bytes near to canonical ones: Check passes only for those that a Builder writes.
func TestCheckIsExact(t *testing.T) {
	accepted := 0
	rapid.Check(t, func(t *rapid.T) {
		b := bytes.Clone(drawFacts(t).build())
		if len(b) == 0 {
			return
		}
		switch rapid.IntRange(0, 3).Draw(t, "damage") {
		case 0:
			b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		case 1:
			b = b[:rapid.IntRange(0, len(b)-1).Draw(t, "cut")]
		case 2:
			b = append(b, rapid.Byte().Draw(t, "behind"))
		case 3:
			b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
		}
		if View(b).Check() != nil {
			return
		}
		accepted++
		if again := rebuild(b); !bytes.Equal(again, b) {
			t.Fatalf("Check accepts %x (%s), but Builder writes %x", b, viewString(b), again)
		}
	})
	if accepted == 0 {
		t.Error("no damaged row was canonical by chance: the test shows nothing")
	}
}

// Other versions and foreign bytes give errors that say so.
func TestErrorsRead(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"row":      {View{9, 0, 0}.Check(), "unknown version 9 of a row, this nodedb knows 1"},
		"merge":    {second(Merge(nil, []byte{9, 0, 0})), "unknown version 9 of a row"},
		"header":   {second(MergeHeaders(nil, []byte{9, 0, 0})), "unknown version 9 of a partition header"},
		"mutation": {third(DecodeMutation(make([]byte, 20))), "unknown version 0 of a mutation"},
		"short":    {third(DecodeMutation([]byte{1})), "mutation of 1 bytes"},
		"position": {third(DecodePosition(make([]byte, 10))), "unknown version 0 of a position"},
	} {
		if test.err == nil || !strings.Contains(test.err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, test.err, test.want)
		}
	}
}

func second[A any](_ A, err error) error        { return err }
func third[A, B any](_ A, _ B, err error) error { return err }
