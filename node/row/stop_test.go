package row

import "testing"

func TestWithStopEndsAPageThatHadNoStop(t *testing.T) {
	at, other := &Position{Token: 7, Done: true}, &Position{Token: 3, Key: []byte("k"), Done: true}
	var w PageWriter
	w.Reset(nil)
	w.Partition(1, []byte("a"), nil)
	var b Builder
	b.Add(Cell{Timestamp: 1})
	w.Row([]byte{1}, b.Append(nil))
	full := append([]byte(nil), w.Finish(nil)...)
	w.Reset(nil)
	stopped := w.Finish(other)
	for _, tc := range []struct {
		name string
		page []byte
		want *Position
	}{{"rows", full, at}, {"no bytes", nil, at}, {"stopped before", stopped, other}} {
		got, err := WithStop(tc.page, at)
		if err != nil {
			t.Fatal(err)
		}
		var r PageReader
		r.Reset(got)
		for ev, err := r.Next(); ev != PageEnd; ev, err = r.Next() {
			if err != nil {
				t.Fatal(err)
			}
		}
		if r.Stop() == nil || r.Stop().Token != tc.want.Token || string(r.Stop().Key) != string(tc.want.Key) {
			t.Errorf("%s: stop %+v, want %+v", tc.name, r.Stop(), tc.want)
		}
	}
	if _, err := WithStop([]byte{pageVersion, 99}, at); err == nil {
		t.Error("a malformed page got a stop")
	}
}
