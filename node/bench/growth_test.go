package bench

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestGrowth: each size is measured on nodes of its own, and a ratio is to the first.
func TestGrowth(t *testing.T) {
	before := dimensions
	defer func() { dimensions = before }()
	dimensions = []dimension{
		{name: "tables", sizes: []int64{1, 3, 1000}, list: func(int64) []*Workload { return []*Workload{named("insert", 0)} }, before: crowd},
		{name: "tombstones", sizes: []int64{0, 300}, list: graveLoads},
	}
	dir := t.TempDir()
	list, err := MeasureGrowth(t.Context(), GrowthOptions{
		Binary: nodedb(t), Prefix: prefix(83), Dir: dir, Most: 300, Seconds: 200 * time.Millisecond, InFlight: 4, Progress: io.Discard,
	})
	if err != nil {
		t.Fatal(err)
	}
	var sizes []int64
	for _, g := range list {
		sizes = append(sizes, g.Size)
		if g.OpsPerSec <= 0 || g.ServerCPU <= 0 || g.Ratio <= 0 || g.RSS <= 0 {
			t.Errorf("%+v", g)
		}
	}
	if len(list) != 4 || sizes[0] != 1 || sizes[1] != 3 || sizes[3] != 300 || list[0].Ratio != 1 || list[1].Ratio != list[1].ServerCPU/list[0].ServerCPU {
		t.Errorf("%+v", list)
	}
	var out bytes.Buffer
	if err := PrintGrowth(&out, list); err != nil || strings.Count(out.String(), "\n") != 5 {
		t.Errorf("%v: %s", err, out.String())
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	for _, o := range []GrowthOptions{{InFlight: 1}, {Seconds: 1}, {Seconds: 1, InFlight: 1, Only: []string{"hopes"}}} {
		if _, err := MeasureGrowth(t.Context(), o); !errors.Is(err, ErrOptions) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// TestDeepRows: in partitions of each size, reads of rows and slices find what was written.
func TestDeepRows(t *testing.T) {
	addr := startNode(t, 9)
	for _, size := range []int64{100, 1000} {
		list := deepLoads(size)
		for _, w := range list {
			w.Rows = 2000
		}
		if r, err := runList(t.Context(), Options{Hosts: []string{addr}, Ops: 50, Seconds: time.Minute}, list); err != nil || len(r.Results) != 2 {
			t.Fatalf("%d: %v", size, err)
		}
	}
}

// TestVolume: what is written comes to the disk at least once, starts find it, and a node that idles is watched.
func TestVolume(t *testing.T) {
	dir := t.TempDir()
	o := VolumeOptions{
		Binary: nodedb(t), Prefix: prefix(84), Dir: dir, Sync: "batch", Bytes: 4 << 20, Steps: 2, InFlight: 32, Idle: 100 * time.Millisecond, Quiet: 200 * time.Millisecond,
	}
	v, err := MeasureVolume(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	last := v.Steps[len(v.Steps)-1]
	if len(v.Steps) != 2 || last.Bytes != 4<<20/rowBytes*rowBytes || last.OnDisk < last.Bytes/2 || v.Settled.Bytes != last.Bytes || v.Settled.OnDisk <= 0 {
		t.Errorf("%+v", v)
	}
	if last.Written < last.Bytes || last.Amplification < 1 || v.Settled.Written < last.Written {
		t.Errorf("%d bytes of rows, %d to the disk", last.Bytes, last.Written)
	}
	if len(v.Starts) != 3 || v.Starts[0].Seconds <= 0 || v.Idle.Seconds < 0.1 || v.Idle.RSS <= 0 {
		t.Errorf("%+v, %+v", v.Starts, v.Idle)
	}
	if left, _ := filepath.Glob(dir + "/*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	var out bytes.Buffer
	if err := v.Print(&out); err != nil || !strings.Contains(out.String(), "settled") || !strings.Contains(out.String(), "idle for") {
		t.Errorf("%v: %s", err, out.String())
	}
	o.Steps = 0
	if _, err := MeasureVolume(t.Context(), o); !errors.Is(err, ErrOptions) {
		t.Error(err)
	}
}
