package exec

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"nodedb/node/row"
	"nodedb/query/wire"
	"nodedb/vnodes"
)

func anyPageState(t *rapid.T) *pageState {
	s := &pageState{
		statement: rapid.Uint64().Draw(t, "statement"), sawRow: rapid.Bool().Draw(t, "saw"), left: rapid.IntRange(-1, 1<<30).Draw(t, "left"),
		emitted: rapid.IntRange(0, 1<<40).Draw(t, "emitted"),
		position: row.Position{Token: vnodes.Token(rapid.Int64().Draw(t, "token")), Key: rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(t, "key"),
			Done: rapid.Bool().Draw(t, "done"), Inclusive: rapid.Bool().Draw(t, "inclusive")},
	}
	if rapid.Bool().Draw(t, "hasClustering") {
		s.position.Clustering = rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "clustering")
	}
	return s
}

func TestPageStateRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anyPageState(t)
		b := s.append(nil)
		got, err := decodePageState(b, s.statement)
		if err != nil || !reflect.DeepEqual(got, s) {
			t.Fatalf("%+v\nreads back as %+v, %v", s, got, err)
		}
		// A changed bit anywhere is noticed, and so is another statement.
		bad := bytes.Clone(b)
		bad[rapid.IntRange(0, len(b)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		for _, try := range []struct {
			b         []byte
			statement uint64
		}{{bad, s.statement}, {b, s.statement + 1}, {b[:len(b)-1], s.statement}, {append(bytes.Clone(b), 0), s.statement}} {
			_, err := decodePageState(try.b, try.statement)
			var we *wire.Error
			if !errors.As(err, &we) || we.Code != wire.CodeInvalid || !strings.Contains(we.Message, "paging state") {
				t.Fatalf("state %x for %d: %v", try.b, try.statement, err)
			}
		}
	})
}

func FuzzDecodePageState(f *testing.F) {
	f.Add((&pageState{left: -1, position: row.Position{Key: []byte("k")}}).append(nil), uint64(0))
	f.Add((&pageState{statement: 5, left: 3, emitted: 2, sawRow: true, position: row.Position{Token: -1, Key: []byte("k"), Clustering: []byte{}}}).append(nil), uint64(5))
	f.Add([]byte("nonsense that is long enough"), uint64(1))
	f.Fuzz(func(t *testing.T, b []byte, statement uint64) {
		s, err := decodePageState(b, statement)
		if err != nil {
			return
		}
		again, err := decodePageState(s.append(nil), statement)
		if err != nil || !reflect.DeepEqual(again, s) {
			t.Fatalf("%+v reads back as %+v, %v", s, again, err)
		}
	})
}
