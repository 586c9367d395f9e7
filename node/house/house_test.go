package house

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "rewrite testdata/imports.golden")

const (
	module       = "nodedb"
	maxFileLines = 800
	maxFuncLines = 70
)

// ranks is DESIGN.md section 1: a package imports lower rows, and what stands left of it in its own row. A subpackage that is not named here
// stands right of its parent.
var ranks = [][]string{
	{"node/fault", "vnodes", "node/clock", "node/row", "node/metrics", "node/config", "node/disk", "node/trace", "node/wake", "query/types"},
	{"node/tlsconf", "node/rpc", "node/rpc/simnet", "node/storage", "query/cql", "coordinator/consistency", "antientropy/merkle"},
	{"gossip", "coordinator/paxos", "coordinator/readrepair", "query/wire", "query/schema", "antientropy/stream"},
	{"gossip/metalog", "hints", "antientropy", "coordinator", "coordinator/batchlog", "coordinator/replica"},
	{"query/auth", "query/virtual", "query/plan", "query/exec", "query"},
	{"query/native", "query/httpapi", "query/load", "query/shell", "query/conform"},
	{"node", "node/check", "node/proc", "node/demo", "node/bench", "node/sim", "node/e2e", "node/house"},
	{""},
}

// exempt lists what breaks a size limit, with its reason. It only shrinks.
var exempt = map[string]string{}

// source is one parsed file of the tree.
type source struct {
	path string // from the root
	pkg  string // folder from the root, "" for the root itself
	test bool
	raw  []byte
	file *ast.File
}

func load(t *testing.T) ([]source, *token.FileSet) {
	t.Helper()
	root := "../.."
	set := token.NewFileSet()
	var all []source
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if d.IsDir() {
			if rel != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(set, path, raw, parser.ParseComments)
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(filepath.Dir(rel))
		if pkg == "." {
			pkg = ""
		}
		all = append(all, source{rel, pkg, strings.HasSuffix(path, "_test.go"), raw, file})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("only %d Go files found: is the test run from its folder?", len(all))
	}
	return all, set
}

// own gives the nodedb packages a file imports.
func (s *source) own() []string {
	var out []string
	for _, imp := range s.file.Imports {
		path := strings.Trim(imp.Path.Value, `"`)
		if rest, ok := strings.CutPrefix(path, module+"/"); ok {
			out = append(out, rest)
		}
	}
	return out
}

// rankOf gives a package's row and place in it; an unnamed subpackage has its parent's.
func rankOf(pkg string) (row, place int, ok bool) {
	for p := pkg; ; {
		for r, names := range ranks {
			if i := slices.Index(names, p); i >= 0 {
				return r, i, true
			}
		}
		cut := strings.LastIndex(p, "/")
		if cut < 0 {
			return 0, 0, false
		}
		p = p[:cut]
	}
}

func TestImportGraph(t *testing.T) {
	all, _ := load(t)
	edges := map[string]bool{}
	for i := range all {
		s := &all[i]
		for _, to := range s.own() {
			if to == s.pkg {
				continue
			}
			mark := ""
			if s.test {
				mark = " (test)"
			}
			edges[fmt.Sprintf("%s -> %s%s", name(s.pkg), to, mark)] = true
			if !s.test {
				checkRank(t, s, to)
			}
		}
	}
	var lines []string
	for e := range edges {
		if strings.HasSuffix(e, " (test)") && edges[strings.TrimSuffix(e, " (test)")] {
			continue
		}
		lines = append(lines, e)
	}
	slices.Sort(lines)
	got := strings.Join(lines, "\n") + "\n"
	golden := "../../testdata/imports.golden"
	if *rewrite {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the import graph changed; if that is a decision, run: go test ./node/house -rewrite\n%s", differ(string(want), got))
	}
}

func name(pkg string) string {
	if pkg == "" {
		return "main"
	}
	return pkg
}

func checkRank(t *testing.T, s *source, to string) {
	fromRow, fromPlace, ok := rankOf(s.pkg)
	toRow, toPlace, ok2 := rankOf(to)
	if !ok || !ok2 {
		t.Errorf("%s: %s or %s has no rank", s.path, name(s.pkg), to)
		return
	}
	below := toRow < fromRow || (toRow == fromRow && (toPlace < fromPlace || strings.HasPrefix(s.pkg, to+"/")))
	if !below {
		t.Errorf("%s: %s may not import %s: it stands higher, or right of it in its row", s.path, name(s.pkg), to)
	}
}

func differ(want, got string) string {
	var b strings.Builder
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for _, l := range w {
		if !slices.Contains(g, l) {
			fmt.Fprintf(&b, "gone: %s\n", l)
		}
	}
	for _, l := range g {
		if !slices.Contains(w, l) {
			fmt.Fprintf(&b, "new:  %s\n", l)
		}
	}
	return b.String()
}

func TestEveryPackageHasOneDoc(t *testing.T) {
	all, _ := load(t)
	docs := map[string]int{}
	for i := range all {
		s := &all[i]
		if strings.HasSuffix(s.file.Name.Name, "_test") {
			continue
		}
		if _, ok := docs[s.pkg]; !ok {
			docs[s.pkg] = 0
		}
		if s.file.Doc == nil {
			continue
		}
		docs[s.pkg]++
		text := strings.Join(strings.Fields(s.file.Doc.Text()), " ")
		if s.pkg != "" && !strings.HasPrefix(text, "Package "+s.file.Name.Name+" ") {
			t.Errorf("%s: the package comment should begin with \"Package %s\"", s.path, s.file.Name.Name)
		}
		if s.pkg != "" && !strings.Contains(text, "Start reading at") {
			t.Errorf("%s: the package comment should say where to start reading", s.path)
		}
	}
	for pkg, n := range docs {
		if n != 1 {
			t.Errorf("package %s has %d package comments, want one", name(pkg), n)
		}
	}
}

func TestSizes(t *testing.T) {
	all, set := load(t)
	for i := range all {
		s := &all[i]
		if lines := bytes.Count(s.raw, []byte("\n")); lines > maxFileLines && exempt[s.path] == "" {
			t.Errorf("%s has %d lines, at most %d are allowed", s.path, lines, maxFileLines)
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Body == nil || s.test {
				continue
			}
			lines := set.Position(f.End()).Line - set.Position(f.Pos()).Line + 1
			if lines > maxFuncLines && exempt[s.path+":"+f.Name.Name] == "" {
				t.Errorf("%s: %s has %d lines, at most %d are allowed", s.path, f.Name.Name, lines, maxFuncLines)
			}
		}
	}
}

func TestFormatted(t *testing.T) {
	all, _ := load(t)
	for i := range all {
		s := &all[i]
		out, err := format.Source(s.raw)
		if err != nil || !bytes.Equal(out, s.raw) {
			t.Errorf("%s is not gofmt-ed (%v)", s.path, err)
		}
	}
}

func TestVet(t *testing.T) {
	if testing.Short() {
		t.Skip("go vet runs in the long form")
	}
	cmd := exec.Command("go", "vet", "./...")
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("go vet: %v\n%s", err, out)
	}
}

func TestTopLevelIsTheUsers(t *testing.T) {
	allowed := []string{"main.go", "node", "gossip", "vnodes", "coordinator", "query", "hints", "antientropy", "testdata", "go.mod", "go.sum",
		"README.md", "ARCHITECTURE.md", "CHANGELOG.md", "LICENSE", "Dockerfile"}
	out, err := exec.Command("git", "-C", "../..", "ls-files").Output()
	if err != nil {
		t.Skip("not a git checkout")
	}
	for _, path := range strings.Fields(string(out)) {
		top, _, _ := strings.Cut(path, "/")
		if !strings.HasPrefix(top, ".") && !slices.Contains(allowed, top) {
			t.Errorf("%s: %s does not belong at the top level", path, top)
		}
	}
}
