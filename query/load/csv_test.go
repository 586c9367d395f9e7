package load

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

func readAll(t testing.TB, r *CSVReader) (rows [][]string, bad []string) {
	for {
		rec, err := r.Read()
		if err == io.EOF {
			return rows, bad
		}
		if err != nil {
			t.Fatal(err)
		}
		if rec.Bad != "" {
			bad = append(bad, rec.Raw+": "+rec.Bad)
			continue
		}
		rows = append(rows, slices.Clone(rec.Fields))
	}
}

func TestCSVReader(t *testing.T) {
	for _, c := range []struct {
		name, in  string
		delimiter byte
		rows      [][]string
		bad       []string
	}{
		{"plain", "a,b\n1,2\n", ',', [][]string{{"a", "b"}, {"1", "2"}}, nil},
		{"no newline at the end", "a,b", ',', [][]string{{"a", "b"}}, nil},
		{"CRLF, mark and blank lines", "\xEF\xBB\xBFa,b\r\n\r\n\n1,2\r\n", ',', [][]string{{"a", "b"}, {"1", "2"}}, nil},
		{"quotes", "\"a,\n\"\"b\"\"\",,\"\"\nx,y,z\n", ',', [][]string{{"a,\n\"b\"", "", ""}, {"x", "y", "z"}}, nil},
		{"bare quote", "1,5\" pipe\n2,x\n", ',', [][]string{{"2", "x"}}, []string{"1,5\" pipe: a quote inside a field that does not begin with one"}},
		{"after a quote", "\"a\"b,c\n2,x\n", ',', [][]string{{"2", "x"}}, []string{"\"a\"b,c: characters follow a closing quote"}},
		{"never closed", "1,\"a\n2,x\n3,y", ',', [][]string{{"2", "x"}, {"3", "y"}}, []string{"1,\"a: a quote is never closed"}},
		{"tabs", "1\t5\" pipe\t\"a\tb\"\n", '\t', [][]string{{"1", "5\" pipe", "a\tb"}}, nil},
		{"empty", "", ',', nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(c.in), iotest.OneByteReader(strings.NewReader(c.in))} {
				rows, bad := readAll(t, NewCSVReader(r, c.delimiter))
				if !slices.EqualFunc(rows, c.rows, slices.Equal) || !slices.Equal(bad, c.bad) {
					t.Errorf("got %q and bad %q, want %q and %q", rows, bad, c.rows, c.bad)
				}
			}
		})
	}
	if _, err := NewCSVReader(iotest.ErrReader(errors.New("disk")), ',').Read(); err == nil || err == io.EOF {
		t.Errorf("a failing input gave %v", err)
	}
}

func TestCSVLines(t *testing.T) {
	r := NewCSVReader(strings.NewReader("a\n\n\"x\ny\",\"\"\nb\n"), ',')
	var lines []int64
	for rec, err := r.Read(); err == nil; rec, err = r.Read() {
		lines = append(lines, rec.Line)
		if rec.Line == 3 && (!rec.Quoted[0] || !rec.Quoted[1] || rec.Raw != "\"x\ny\",\"\"") {
			t.Errorf("row is %+v", rec)
		}
	}
	if !slices.Equal(lines, []int64{1, 3, 5}) {
		t.Errorf("rows begin in lines %v", lines)
	}
}

// A row beyond the limit is cut, given as bad, and what follows is read.
func TestCSVTooLong(t *testing.T) {
	long := strings.Repeat("x", MaxRowBytes+10)
	rows, bad := readAll(t, NewCSVReader(strings.NewReader(long+"\na,b\n"), ','))
	if len(bad) == 0 || !strings.Contains(bad[0][len(bad[0])-60:], "longer than 16 MiB") || !slices.Equal(rows[len(rows)-1], []string{"a", "b"}) {
		t.Errorf("%d bad, %d rows", len(bad), len(rows))
	}
}

// What the writer writes, both the reader and encoding/csv read back.
func TestCSVRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		width := rapid.IntRange(1, 4).Draw(t, "width")
		field := rapid.StringOfN(rapid.SampledFrom([]rune("ab,\"\n\r; é\t")), 0, 6, -1)
		rows := rapid.SliceOfN(rapid.SliceOfN(field, width, width), 1, 5).Draw(t, "rows")
		delimiter := rapid.SampledFrom([]byte{',', ';', '\t'}).Draw(t, "delimiter")
		var out bytes.Buffer
		w := NewCSVWriter(&out, delimiter)
		w.LF = rapid.Bool().Draw(t, "LF")
		for _, row := range rows {
			if err := w.Write(row...); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		r := NewCSVReader(iotest.HalfReader(bytes.NewReader(out.Bytes())), delimiter)
		twin := csv.NewReader(bytes.NewReader(out.Bytes()))
		twin.Comma = rune(delimiter)
		for _, row := range rows {
			got, err := r.Read()
			if err != nil || got.Bad != "" || !slices.Equal(got.Fields, row) {
				t.Fatalf("%q came back as %+v: %v", row, got, err)
			}
			// encoding/csv makes \r\n inside quotes \n.
			theirs, err := twin.Read()
			if err != nil || strings.Join(theirs, "|") != strings.ReplaceAll(strings.Join(row, "|"), "\r\n", "\n") {
				t.Fatalf("%q is %q to encoding/csv: %v", row, theirs, err)
			}
		}
	})
}

func TestCSVNulls(t *testing.T) {
	var out bytes.Buffer
	w := NewCSVWriter(&out, ',')
	if err := errors.Join(w.WriteNullable([][]byte{nil, {}, []byte("NA"), []byte("a\"")}, "NA"), w.WriteNullable([][]byte{nil, {}}, ""), w.Flush()); err != nil {
		t.Fatal(err)
	}
	if want := "NA,\"\",\"NA\",\"a\"\"\"\r\n,\"\"\r\n"; out.String() != want {
		t.Errorf("wrote %q, want %q", out.String(), want)
	}
}

// FuzzCSV: no input makes the reader panic, lose bytes of a row, or stop.
func FuzzCSV(f *testing.F) {
	for _, s := range []string{"a,b\n1,2\n", "\"a\n\"\"b\",c\r\n", "1,\"x\n2", "\"\"\"", "a\"b\n\"", "\xEF\xBB\xBFx\n", "\r\n\r"} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, in []byte, tab bool) {
		delimiter := byte(',')
		if tab {
			delimiter = '\t'
		}
		r := NewCSVReader(bytes.NewReader(in), delimiter)
		size := 0
		for rec, err := r.Read(); err == nil; rec, err = r.Read() {
			size += len(rec.Raw)
			if !bytes.Contains(in, []byte(rec.Raw)) || (rec.Bad == "") != (len(rec.Fields) > 0) {
				t.Fatalf("%q gave %+v", in, rec)
			}
		}
		// All that is not in a row is ends of lines and the mark.
		if left := bytes.Count(in, []byte{'\n'}) + bytes.Count(in, []byte{'\r'}) + 3; size+left < len(in) {
			t.Fatalf("%q: rows have %d bytes of %d", in, size, len(in))
		}
	})
}
