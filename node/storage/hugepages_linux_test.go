//go:build linux && cgo

package storage

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestHugePages begins this test's binary as a process that asks for huge pages: it becomes one whose malloc was asked, with the same number and arguments; and
// what somebody else set for glibc stays.
func TestHugePages(t *testing.T) {
	const child = "HUGEPAGES_CHILD"
	if os.Getenv(child) != "" {
		HugePages()
		fmt.Printf("process %d, %s, %s\n", os.Getpid(), strings.Join(os.Args[1:], " "), os.Getenv(tunables))
		return
	}
	for _, set := range []string{"", "glibc.malloc.hugetlb=0"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestHugePages$", "-test.count=1")
		cmd.Env = slices.DeleteFunc(append(os.Environ(), child+"=1"), func(v string) bool { return strings.HasPrefix(v, tunables+"=") })
		want := hugeMalloc
		if set != "" {
			cmd.Env, want = append(cmd.Env, tunables+"="+set), set
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("the process failed: %v\n%s", err, out)
		}
		if line := fmt.Sprintf("process %d, -test.run=^TestHugePages$ -test.count=1, %s\n", cmd.Process.Pid, want); !strings.Contains(string(out), line) {
			t.Errorf("GLIBC_TUNABLES %q: the process says\n%s\nwanted\n%s", set, out, line)
		}
	}
}
