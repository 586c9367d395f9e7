package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// prepare installs the client's driver, unless that was done for the same pinned versions, and builds its program. Optional: where a tool isn't there, or the
// driver can't be installed (its registry can't be reached), the test is skipped. What can't be built of what is there fails it.
func (c *client) prepare(t *testing.T, optional bool) {
	t.Helper()
	missing := t.Fatalf
	if optional {
		missing = t.Skipf
	}
	for _, tool := range c.tools {
		if _, err := exec.LookPath(tool); err != nil {
			missing("NOT HELD: the client %s needs %s: %v", c.name, tool, err)
		}
	}
	dir := c.dir(t)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	defer c.lock(t)()
	c.copySource(t, dir)
	installed := filepath.Join(dir, "installed")
	if _, err := os.Stat(installed); err != nil {
		c.steps(t, c.install, missing)
		if err := os.WriteFile(installed, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.steps(t, c.build, t.Fatalf)
}

// copySource copies the client's files over those of the last time.
func (c *client) copySource(t *testing.T, dir string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(c.source()), ".", func(path string, d fs.DirEntry, err error) error {
		to := filepath.Join(dir, path)
		if err != nil || d.IsDir() {
			return errors.Join(err, os.MkdirAll(to, 0o755))
		}
		raw, err := os.ReadFile(filepath.Join(c.source(), path))
		if err != nil {
			return err
		}
		if old, err := os.ReadFile(to); err == nil && bytes.Equal(old, raw) {
			return nil // what is built of it is up to date
		}
		return os.WriteFile(to, raw, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (c *client) source() string { return filepath.Join("clients", c.folder) }

// dir is the client's folder for the versions that are pinned now.
func (c *client) dir(t *testing.T) string {
	t.Helper()
	sum := sha256.New()
	for _, name := range c.pins {
		raw, err := os.ReadFile(filepath.Join(c.source(), name))
		if err != nil {
			t.Fatal(err)
		}
		sum.Write(raw)
	}
	dir, err := filepath.Abs(filepath.Join(*clientsDir, c.folder+"-"+hex.EncodeToString(sum.Sum(nil)[:6])))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// lock keeps others, who may test on the same machine, from installing there meanwhile.
func (c *client) lock(t *testing.T) (unlock func()) {
	t.Helper()
	f, err := os.Create(c.dir(t) + ".lock")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return func() { _ = f.Close() }
}

// steps runs what installs or builds. When one fails, failed ends the test with what the step wrote.
func (c *client) steps(t *testing.T, steps [][]string, failed func(format string, args ...any)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), installTimeout)
	defer cancel()
	for _, s := range steps {
		if out, err := c.command(ctx, t, s...).CombinedOutput(); err != nil {
			failed("NOT HELD: %s: %v\n%s", strings.Join(s, " "), err, out)
		}
	}
}

// command is a program in the client's folder.
func (c *client) command(ctx context.Context, t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	dir := c.dir(t)
	fill := func(list []string) (filled []string) {
		for _, s := range list {
			filled = append(filled, strings.ReplaceAll(s, "{dir}", dir))
		}
		return filled
	}
	args = fill(args)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), fill(c.env)...)
	return cmd
}

// flightsFile writes n lines of the flights, 0: all, under their header.
func flightsFile(t *testing.T, n int) string {
	t.Helper()
	raw, err := os.ReadFile("../../testdata/nycflights13/flights.csv.zst")
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	var out bytes.Buffer
	for in, line := bufio.NewReader(z), 0; n == 0 || line <= n; line++ {
		text, err := in.ReadBytes('\n')
		out.Write(text)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return writeFile(t, "flights.csv", out.Bytes())
}
