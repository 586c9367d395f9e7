package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"nodedb/coordinator/consistency"
	"nodedb/node/proc"
)

// reserve is what node/storage keeps free, in bytes: writes are refused below it, and taken again a quarter above it.
const reserve = 256 << 20

// disk is a file system of a node's own, in memory, whose size can be changed: what is refused is room, not memory.
type disk struct {
	t   *testing.T
	dir string
}

// newDisk mounts a file system as a node's data directory, 1 GiB at first.
func newDisk(t *testing.T, n *proc.Node) *disk {
	t.Helper()
	d := &disk{t, filepath.Join(n.Dir, "data")}
	if err := os.MkdirAll(d.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", d.dir, "tmpfs", 0, "size=1g,mode=0755"); err != nil {
		t.Skipf("a full disk is shown on a small file system, and mounting one is refused (it takes root): %v", err)
	}
	t.Cleanup(func() {
		if n.Running() {
			if err := n.Kill(); err != nil {
				t.Error(err)
			}
		}
		if err := syscall.Unmount(d.dir, 0); err != nil {
			t.Errorf("umount %s: %v", d.dir, err)
		}
	})
	return d
}

// leave makes the disk so small, or large, that so many bytes are free.
func (d *disk) leave(free uint64) {
	d.t.Helper()
	var fs syscall.Statfs_t
	if err := syscall.Statfs(d.dir, &fs); err != nil {
		d.t.Fatal(err)
	}
	size := (fs.Blocks-fs.Bfree)*uint64(fs.Bsize) + free
	if err := syscall.Mount("tmpfs", d.dir, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%d", size)); err != nil {
		d.t.Fatal(err)
	}
}

// TestRow7FullDisk: something else fills the disk. Writes are refused with an error that names it, reads go on, the node lives; once space is free
// writes go on by themselves.
func TestRow7FullDisk(t *testing.T) {
	t.Parallel()
	began := begins()
	c := newCluster(t, 1, nil)
	n := c.Nodes[0]
	d := newDisk(t, n)
	start(t, c, n)
	client := dial(t, n)
	exec1(t, client, "CREATE KEYSPACE f WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
		"CREATE TABLE f.t (k int PRIMARY KEY, v text)", "INSERT INTO f.t (k, v) VALUES (1, 'before')")
	pid := n.Pid()
	d.leave(reserve / 2)
	eventually(t, func() string {
		_, err := client.Query(deadline(t, wait), "INSERT INTO f.t (k, v) VALUES (2, 'probe')", nil)
		return not(err != nil, "a write that is refused")
	})
	_, err := client.Query(deadline(t, wait), "INSERT INTO f.t (k, v) VALUES (3, 'refused')", nil)
	if err == nil || !strings.Contains(err.Error(), "disk full") || !strings.Contains(err.Error(), d.dir) {
		t.Errorf("the write is answered: %v", err)
	}
	if got := ask(t, n, consistency.One, "SELECT v FROM f.t WHERE k = 1"); len(got) != 1 || got[0] != "before" {
		t.Errorf("read: %v", got)
	}
	if got := ask(t, n, consistency.One, "SELECT v FROM f.t WHERE k = 3"); len(got) != 0 {
		t.Errorf("the refused write is there: %v", got)
	}
	d.leave(2 * reserve)
	eventually(t, func() string {
		_, err := client.Query(deadline(t, wait), "INSERT INTO f.t (k, v) VALUES (4, 'after')", nil)
		if err != nil {
			return err.Error()
		}
		return ""
	})
	if !n.Running() || n.Pid() != pid {
		t.Error("the node was restarted")
	}
	kill(t, n)
	start(t, c, n)
	if got := ask(t, n, consistency.One, "SELECT v FROM f.t WHERE k = 4"); len(got) != 1 || got[0] != "after" {
		t.Errorf("after a restart: %v", got)
	}
	report(t, 7, began, "filled by others: refused with the directory's name, reads go on, writes go on once there is space")
}

// TestRow7WritesFillTheDisk: one of three disks is filled by the writes themselves. The cluster goes on at QUORUM, the node with the full disk lives and
// answers reads, and nothing acknowledged is lost.
func TestRow7WritesFillTheDisk(t *testing.T) {
	t.Parallel()
	began := begins()
	c := newCluster(t, 3, nil)
	full := c.Nodes[2]
	d := newDisk(t, full)
	start(t, c, c.Nodes...)
	w := newWorkload(t, c)
	d.leave(reserve + 8<<20)
	w.Nodes = c.Nodes[:2]
	w.Start(context.Background())
	ctx := deadline(t, 2*wait)
	awaitLog(t, ctx, full, "free space crossed the floor")
	if err := w.AwaitAcked(ctx, 3000); err != nil {
		t.Fatal(err)
	}
	w.Stop()
	if !full.Running() {
		t.Fatalf("the node with the full disk ended: %s", readLog(t, full))
	}
	lost := verify(t, c, w) // though the full node lacks rows, and can't be repaired
	d.leave(2 * reserve)
	lost += verify(t, c, w)
	acked, unknown := w.Counts()
	report(t, 7, began, "filled by writes, one of three: %d acks, %d unknown, %d lost", acked, unknown, lost)
}
