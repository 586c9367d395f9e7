package planted

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// root is the repository, from here.
const root = "../../.."

// planted gives the folders in which each planted bug is, by name, as the product's source has them.
func planted(t *testing.T) map[string][]string {
	t.Helper()
	at := map[string][]string{}
	walk(t, root, func(path string, set *token.FileSet, file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if f, ok := call.Fun.(*ast.SelectorExpr); !ok || f.Sel.Name != "Planted" {
				return true
			}
			name, ok := literal(call.Args[0])
			if !ok {
				t.Errorf("%s: the name of a planted bug has to be a literal", set.Position(call.Pos()))
				return true
			}
			folder := filepath.ToSlash(filepath.Dir(path))
			if !slices.Contains(at[name], folder) {
				at[name] = append(at[name], folder)
			}
			return true
		})
	})
	return at
}

// walk parses the product's files, whatever their build tags.
func walk(t *testing.T, root string, visit func(path string, set *token.FileSet, file *ast.File)) {
	t.Helper()
	set := token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && path != root && strings.HasPrefix(d.Name(), ".") && d.Name() != ".." {
			return cmpSkip(err)
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		visit(rel, set, file)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func cmpSkip(err error) error {
	if err != nil {
		return err
	}
	return filepath.SkipDir
}

func literal(x ast.Expr) (string, bool) {
	l, ok := x.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(l.Value)
	return s, err == nil
}

// listed gives the names in the list of node/fault, which only the tag compiles.
func listed(t *testing.T) (names []string) {
	t.Helper()
	walk(t, filepath.Join(root, "node/fault"), func(path string, _ *token.FileSet, file *ast.File) {
		if path != "bugs.go" {
			return
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if bug, ok := n.(*ast.CompositeLit); ok && bug.Type == nil {
				name, _ := literal(bug.Elts[0])
				names = append(names, name)
			}
			return true
		})
	})
	return names
}

// What is listed is planted and what is planted is listed, each in one package, whose name it begins with.
func TestEveryBugIsListedAndPlanted(t *testing.T) {
	at, names := planted(t), listed(t)
	if len(names) < 25 {
		t.Errorf("%d bugs are listed, want at least 25", len(names))
	}
	if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Error("fault.Bugs is not in order, or names one twice")
	}
	if used := slices.Sorted(maps.Keys(at)); !slices.Equal(used, names) {
		t.Errorf("planted:\n%s\nlisted in node/fault/bugs.go:\n%s", strings.Join(used, "\n"), strings.Join(names, "\n"))
	}
	for name, folders := range at {
		if prefix, _, _ := strings.Cut(name, "/"); len(folders) != 1 || filepath.Base(folders[0]) != prefix {
			t.Errorf("%s is planted in %v; it should be in one package, and begin with its name", name, folders)
		}
	}
}

// Without the tag Planted is a constant: neither a branch nor a name is left of it in what ships.
func TestReleaseHasNoPlantedBug(t *testing.T) {
	if testing.Short() {
		t.Skip("builds nodedb in the long form")
	}
	binary := filepath.Join(t.TempDir(), "nodedb")
	if out, err := exec.Command("go", "build", "-o", binary, root).CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	b, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b, []byte("storage/before-commit")) {
		t.Fatal("not even the name of a fault point is in the binary: names can't be looked for like this")
	}
	for name := range planted(t) {
		if bytes.Contains(b, []byte(name)) {
			t.Errorf("the release has %q in it", name)
		}
	}
	if bytes.Contains(b, []byte("NODEDB_PLANTED")) {
		t.Error("the release reads NODEDB_PLANTED")
	}
}
