package demo

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nodedb/node"
	"nodedb/node/proc"
)

var play = flag.Bool("play", false, "play the demo's chapter on real processes (half a minute)")

// wait bounds that on a machine that others use, too.
const wait = 5 * time.Minute

// small is the demo on empty tables, with hints that are soon full. It ends with the test.
func small(ctx context.Context, t *testing.T) *demo {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "nodedb")
	build := exec.Command("go", "build", "-o", binary, "../..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	flags := maps.Clone(settings)
	flags["max-hints-size-per-host"] = "64KiB"
	var said strings.Builder
	d := &demo{Options: Options{Binary: binary, Nodes: 3, Dir: dir, Stdout: &said}, begun: time.Now()}
	d.cluster = proc.New(proc.Options{Binary: binary, Dir: dir, Prefix: fmt.Sprintf("127.%d.1", 20+os.Getpid()%70), Flags: flags}, d.Nodes)
	t.Cleanup(func() {
		if err := d.cluster.Stop(); err != nil {
			t.Error(err)
		}
		t.Log("\n" + said.String())
	})
	if err := d.cluster.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := d.createSchema(ctx); err != nil {
		t.Fatal(err)
	}
	return d
}

// missed waits until the others know that the victim is down: who doesn't notice that it was away has no reason to look at it first.
func (d *demo) missed(ctx context.Context, t *testing.T) {
	t.Helper()
	down := func(s node.Status) bool {
		up := 0
		for i := range s.Nodes {
			if s.Nodes[i].State == "up" {
				up++
			}
		}
		return up < d.Nodes
	}
	for _, n := range d.others() {
		if err := n.Await(ctx, down); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLongerThanHintsReach plays the chapter in which anti-entropy repairs what hints have no room for. Where there is nothing to repair it doesn't hold.
//
//	go test ./node/demo -play -v
func TestLongerThanHintsReach(t *testing.T) {
	if !*play {
		t.Skip("nothing is compared until 10 s after the last hint: run it with -play")
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	d := small(ctx, t)
	c, err := d.dial(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w := &proc.Workload{Table: Keyspace + ".story", Writers: 2, Window: 16}
	if err := w.Setup(ctx, c); err != nil {
		t.Fatal(err)
	}
	const lost = 1000
	if err := d.outlastHints(ctx, w, lost); err != nil {
		t.Fatal(err)
	}
	d.missed(ctx, t)
	if err := d.healed(ctx); err != nil {
		t.Fatal(err)
	}
	if err := d.compareReplicas(ctx); err != nil {
		t.Fatal(err)
	}
	if err := d.cluster.Nodes[victim-1].Kill(); err != nil {
		t.Fatal(err)
	}
	d.missed(ctx, t)
	if err := d.healed(ctx); !errors.Is(err, errNothingRepaired) {
		t.Errorf("with all replicas equal the chapter gives: %v", err)
	}
}
