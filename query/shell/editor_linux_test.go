package shell

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"nodedb/query/types"
	"nodedb/query/wire"
)

const screenRows = 12

const childEnv = "NODEDB_EDITOR_CHILD"

// TestEditorChild is no test: it is the shell on a real terminal that the tests below type into. It tells on file 3 what it was asked, a line each;
// SELECT wait is answered after a byte came on file 4.
func TestEditorChild(t *testing.T) {
	if os.Getenv(childEnv) == "" {
		t.Skip("run by the tests of the line editor")
	}
	asked, answer := os.NewFile(3, "asked"), os.NewFile(4, "answer")
	f := newFake(t)
	one, many := columns("k", types.IntType), [][]any{}
	for range interactivePage {
		many = append(many, []any{"1"})
	}
	f.pages("SELECT many", one, many, many, many)
	s := newShell(Options{Stdout: os.Stdout, Stderr: os.Stderr, StdinTerminal: true, StdoutTerminal: true, NoColor: true, HistoryFile: t.TempDir() + "/h"})
	s.dial = func(context.Context, string) (session, error) { return teller{f, asked, answer}, nil }
	s.run(t.Context())
}

// teller tells what it is asked.
type teller struct {
	*fake
	asked, answer *os.File
}

func (y teller) Query(ctx context.Context, cql string, p *wire.Params) (*wire.Result, error) {
	if strings.Contains(cql, " FROM system") {
		return y.fake.Query(ctx, cql, p)
	}
	fmt.Fprintf(y.asked, "%q\n", cql)
	if cql == "SELECT wait" {
		if _, err := y.answer.Read(make([]byte, 1)); err != nil {
			return nil, err
		}
	}
	if _, ok := y.answers[cql]; !ok {
		y.void(cql)
	}
	return y.fake.Query(ctx, cql, p)
}

// terminal is a pseudo terminal with the shell on it.
type terminal struct {
	t      *testing.T
	master *os.File
	asked  *bufio.Scanner
	answer *os.File
	probed int // the cursor's position was asked
	seen   bytes.Buffer
}

func ioctl(t *testing.T, f *os.File, request uintptr, arg any) {
	t.Helper()
	var p unsafe.Pointer
	switch a := arg.(type) {
	case *int32:
		p = unsafe.Pointer(a)
	case *[4]uint16:
		p = unsafe.Pointer(a)
	}
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, uintptr(p)); errno != 0 {
		t.Fatalf("ioctl %#x of %s: %v", request, f.Name(), errno)
	}
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo terminals here: %v", err)
	}
	var unlocked, number int32
	ioctl(t, master, syscall.TIOCSPTLCK, &unlocked)
	ioctl(t, master, syscall.TIOCGPTN, &number)
	ioctl(t, master, syscall.TIOCSWINSZ, &[4]uint16{screenRows, 120})
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(int(number)), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo terminals here: %v", err)
	}
	defer slave.Close()
	asked, tells := pipe(t)
	waits, answer := pipe(t)
	defer tells.Close()
	defer waits.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestEditorChild$")
	cmd.Env = append(os.Environ(), childEnv+"=1", "TERM=xterm", "INPUTRC=/dev/null", "GORACE=atexit_sleep_ms=0")
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = slave, slave, slave, []*os.File{tells, waits}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	y := &terminal{t: t, master: master, asked: bufio.NewScanner(asked), answer: answer}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
		_ = master.Close()
	})
	return y
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	return r, w
}

func (y *terminal) write(keys string) {
	y.t.Helper()
	if _, err := io.WriteString(y.master, keys); err != nil {
		y.t.Error(err)
	}
}

// until reads the screen until text has come, and answers those who ask where the cursor is, behind first, as a slow terminal does.
func (y *terminal) until(text, first string) {
	y.t.Helper()
	buf := make([]byte, 4096)
	for !bytes.Contains(y.seen.Bytes(), []byte(text)) {
		n, err := y.master.Read(buf)
		if err != nil {
			y.t.Fatalf("%v before %q; the screen got %q", err, text, y.seen.String())
		}
		y.seen.Write(buf[:n])
		y.probes(&first)
	}
	if first != "" {
		y.write(first)
	}
}

func (y *terminal) probes(first *string) {
	for n := bytes.Count(y.seen.Bytes(), []byte("\x1b[6n")); y.probed < n; y.probed++ {
		y.write(*first + "\x1b[1;9R")
		*first = ""
	}
}

// rest reads the screen to its end, in the background.
func (y *terminal) rest() (gone chan struct{}) {
	gone = make(chan struct{})
	y.t.Cleanup(func() { <-gone })
	go func() {
		defer close(gone)
		buf := make([]byte, 4096)
		for none := ""; ; {
			n, err := y.master.Read(buf)
			if err != nil {
				return // the shell has left
			}
			y.seen.Write(buf[:n])
			y.probes(&none)
		}
	}()
	return gone
}

// next gives what the shell asks next, "" at its end.
func (y *terminal) next() string {
	y.t.Helper()
	if !y.asked.Scan() {
		return ""
	}
	s, err := strconv.Unquote(y.asked.Text())
	if err != nil {
		y.t.Fatal(err)
	}
	return s
}

func (y *terminal) expect(want []string) {
	y.t.Helper()
	var got []string
	for s := y.next(); s != ""; s = y.next() {
		got = append(got, s)
	}
	if !slices.Equal(got, want) {
		y.t.Errorf("asked\n%q, want\n%q", got, want)
	}
}

// longScript is more than readline reads at once.
func longScript() (keys string, want []string) {
	for i := range 28 {
		keys += fmt.Sprintf("INSERT INTO t (k,\r  v) VALUES (%d,\r  'a b');\r", i)
		want = append(want, fmt.Sprintf("INSERT INTO t (k,\n  v) VALUES (%d,\n  'a b')", i))
	}
	return keys, want
}

// TestBurst: keys that come all at once (a paste into a terminal without brackets, tmux send-keys) arrive complete and in order, also when they stand
// in one read with an answer of the terminal itself.
func TestBurst(t *testing.T) {
	long, statements := longScript()
	for name, c := range map[string]struct {
		keys string
		want []string
	}{
		"command":        {"HELP USE\rSELECT 1;\rEXIT\r", []string{"SELECT 1"}},
		"statements":     {"SELECT 1; SELECT 2;\rSELECT\r 3;\rSELECT 4; SELECT\r5;\rEXIT\r", []string{"SELECT 1", "SELECT 2", "SELECT\n 3", "SELECT 4", "SELECT\n5"}},
		"line feeds":     {"SELECT 1;\nSELECT\n2;\nEXIT\n", []string{"SELECT 1", "SELECT\n2"}},
		"other text":     {"SELECT 'é 日本';\rSELECT '🛫';\rEXIT\r", []string{"SELECT 'é 日本'", "SELECT '🛫'"}},
		"long":           {long + "EXIT\r", statements},
		"brackets":       {"\x1b[200~SELECT 1;\rSELECT\r\n'é日';\n\tSELECT 3;\x1b[201~\rSELECT 4;\rEXIT\r", []string{"SELECT 1", "SELECT\n'é日'", "SELECT 3", "SELECT 4"}},
		"brackets, long": {"\x1b[200~" + long + "\x1b[201~\rEXIT\r", statements},
		"pages":          {"SELECT many;\rSELECT 2;\rEXIT\r", []string{"SELECT many", "SELECT many", "SELECT many", "SELECT 2"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			y := newTerminal(t)
			y.until("nodedb> ", c.keys)
			y.rest()
			y.expect(c.want)
		})
	}
}

// TestTypedAtMore: keys that are no answer to ---MORE--- are the next statement; q ends the result, and what comes with it is the next statement too.
func TestTypedAtMore(t *testing.T) {
	for _, c := range []struct {
		keys string
		want []string
	}{
		{"SELECT 2;\rEXIT\r", []string{"SELECT many", "SELECT many", "SELECT many", "SELECT 2"}},
		{"'é'; SELECT 'é';\rEXIT\r", []string{"SELECT many", "SELECT many", "SELECT many", "'é'", "SELECT 'é'"}},
		{"qSELECT 2;\rEXIT\r", []string{"SELECT many", "SELECT 2"}},
		{"\rqSELECT 2;\rEXIT\r", []string{"SELECT many", "SELECT many", "SELECT 2"}},
		{" QEXIT\r", []string{"SELECT many", "SELECT many"}},
		{"  EXIT\r", []string{"SELECT many", "SELECT many", "SELECT many"}},
	} {
		t.Run(strings.Fields(c.keys)[0], func(t *testing.T) {
			t.Parallel()
			y := newTerminal(t)
			y.until("nodedb> ", "SELECT many;\r")
			y.until("---MORE---", c.keys)
			y.rest()
			y.expect(c.want)
		})
	}
}

// TestTypedAhead: what is typed while a statement runs is read afterwards.
func TestTypedAhead(t *testing.T) {
	y := newTerminal(t)
	y.until("nodedb> ", "SELECT wait;\r")
	y.rest()
	if got := y.next(); got != "SELECT wait" {
		t.Fatalf("asked %q", got)
	}
	y.write("SELECT 1;\rSELECT\r 'é'; SELECT 3;\rEXIT\r")
	if _, err := y.answer.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	y.expect([]string{"SELECT 1", "SELECT\n 'é'", "SELECT 3"})
}

// screen is what a terminal shows, as far as the line editor's output needs it, and what scrolled off.
type screen struct {
	lines         [][]byte
	row, col, top int // rows count from the first line that ever was
}

func (s *screen) line() *[]byte {
	s.top = max(s.top, s.row-screenRows+1)
	for len(s.lines) <= s.row {
		s.lines = append(s.lines, nil)
	}
	return &s.lines[s.row]
}

// show replays output. A byte takes a column, nothing wraps, and of the sequences: cursor up, down, right and left, index, erase in line and below.
func (s *screen) show(out []byte) {
	sequence := regexp.MustCompile(`^\x1b(?:\[([0-9;?]*) ?([A-Za-z])|([A-Z0-9]))`)
	for len(out) > 0 {
		m := sequence.FindSubmatch(out)
		if m == nil {
			s.put(out[0])
			out = out[1:]
			continue
		}
		out = out[len(m[0]):]
		n, _ := strconv.Atoi(string(m[1]))
		s.move(string(m[2])+"-"+string(m[3]), n)
	}
}

func (s *screen) put(c byte) {
	switch c {
	case '\r':
		s.col = 0
	case '\n':
		s.row++
	default:
		l := s.line()
		for len(*l) <= s.col {
			*l = append(*l, ' ')
		}
		(*l)[s.col] = c
		s.col++
	}
	s.line()
}

func (s *screen) move(what string, n int) {
	l := s.line()
	switch what {
	case "A-":
		s.row = max(s.top, s.row-max(1, n))
	case "B-":
		s.row = min(s.top+screenRows-1, s.row+max(1, n))
	case "C-":
		s.col = min(119, s.col+max(1, n))
	case "D-":
		s.col = max(0, s.col-max(1, n))
	case "-D":
		s.row++
	case "J-":
		s.lines = s.lines[:s.row+1]
		*l = (*l)[:min(len(*l), s.col)]
	case "K-":
		switch n {
		case 0:
			*l = (*l)[:min(len(*l), s.col)]
		case 1:
			copy(*l, bytes.Repeat([]byte(" "), s.col))
		default:
			*l = nil
		}
	}
	s.line()
}

// TestBottom: at the bottom of the screen the line editor overwrites nothing.
func TestBottom(t *testing.T) {
	y := newTerminal(t)
	const times = 6
	input := "HELP USE\rSELECT\r1,\r2;\r\x1b[200~SELECT 1;\rSELECT 2;\x1b[201~\rSELECT 3;\x01\x05\r"
	y.until("nodedb> ", strings.Repeat(input, times)+"EXIT\r")
	<-y.rest() // the child says PASS in the end
	var s screen
	s.show(y.seen.Bytes())
	var shown []string
	for _, l := range s.lines {
		if text := strings.TrimRight(string(l), " "); text != "" && text != "PASS" {
			shown = append(shown, text)
		}
	}
	want := []string{
		"nodedb> HELP USE", "USE: the keyspace that tables without one are in", "    USE name;", "Example:", "    USE shop;",
		"nodedb> SELECT", "│     1,", "    ... 2;", "nodedb> SELECT 1;", "    ... SELECT 2;", "nodedb> SELECT 3;",
	}
	want = append(slices.Repeat(want, times), "nodedb> EXIT")
	if i := slices.Index(shown, want[0]); i < 0 || !slices.Equal(shown[i:], want) {
		t.Errorf("the screen shows\n%s", strings.Join(shown, "\n"))
	}
}
