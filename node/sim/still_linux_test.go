//go:build amd64 || arm64

package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The Go runtime has a thread of its own, sysmon, that takes the processor from a goroutine which has run for 10 ms of real time. On a busy machine that
// is any goroutine, since its thread may have been put aside meanwhile; others then run first, and a seed tells another story. Nothing turns that off, so
// the test runs in a child whose sysmon is stopped: with one processor and no sysmon, goroutines run until they wait.

// childEnv marks the child.
const childEnv = "NODEDB_SIM_CHILD"

// stopTries bounds how often sysmon is looked at until it is asleep and so holds no lock of the runtime; it sleeps most of the time.
const stopTries = 1000

// startStill runs this test binary again, with the arguments given, in such a child, and waits. Where stopping is not allowed it says so and goes on without.
func startStill(ctx context.Context, args []string, out io.Writer) error {
	runtime.LockOSThread() // a tracer is a thread
	defer runtime.UnlockOSThread()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	gate, open, err := os.Pipe()
	if err != nil {
		return err
	}
	c := exec.CommandContext(ctx, self, args...)
	c.Stdout, c.Stderr = out, out
	c.ExtraFiles = []*os.File{gate}
	c.Env = append(os.Environ(), childEnv+"=1", "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1")
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		return err
	}
	gate.Close()
	tid, err := stopSysmon(c.Process.Pid)
	if err != nil {
		fmt.Fprintln(os.Stderr, "sim: the runtime's sysmon could not be stopped; on a busy machine not every seed repeats itself:", err)
	}
	how := []byte{moving}
	if tid != 0 {
		how[0] = stopped
	}
	_, err = open.Write(how)
	open.Close()
	if tid != 0 { // a thread's end is its tracer's to see, before its process ends
		var status unix.WaitStatus
		_, _ = unix.Wait4(tid, &status, unix.WALL, nil)
	}
	return errors.Join(err, c.Wait())
}

// What comes through the gate: whether sysmon is stopped.
const moving, stopped byte = 0, 1

// waitGate returns once the parent has stopped the child's sysmon, or found that it can't.
func waitGate() (still bool, err error) {
	gate := os.NewFile(3, "gate")
	defer gate.Close()
	var how [1]byte
	_, err = gate.Read(how[:])
	return how[0] == stopped, err
}

// stopSysmon stops the thread that the runtime started first, while it sleeps.
func stopSysmon(pid int) (tid int, err error) {
	for try := 0; tid == 0; try++ {
		if tid, err = secondThread(pid); err != nil || try == stopTries {
			return 0, errors.Join(err, errors.New("no second thread"))
		}
		time.Sleep(time.Millisecond)
	}
	if err := unix.PtraceSeize(tid); err != nil {
		return 0, fmt.Errorf("ptrace: %w", err)
	}
	for range stopTries {
		if err := unix.PtraceInterrupt(tid); err != nil {
			return 0, fmt.Errorf("ptrace: %w", err)
		}
		var status unix.WaitStatus
		if _, err := unix.Wait4(tid, &status, unix.WALL, nil); err != nil {
			return 0, fmt.Errorf("wait: %w", err)
		}
		asleep, err := sleeping(tid)
		if err != nil {
			return 0, err
		}
		if asleep {
			return tid, nil
		}
		if err := unix.PtraceCont(tid, 0); err != nil {
			return 0, fmt.Errorf("ptrace: %w", err)
		}
		time.Sleep(50 * time.Microsecond)
	}
	return 0, errors.New("sysmon does not sleep")
}

// secondThread gives the oldest thread of a process beside its first: sysmon, which the runtime starts before all others. 0: there is none yet.
func secondThread(pid int) (int, error) {
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return 0, err
	}
	var tids []int
	for _, e := range list {
		if tid, err := strconv.Atoi(e.Name()); err == nil && tid != pid {
			tids = append(tids, tid)
		}
	}
	if len(tids) == 0 {
		return 0, nil
	}
	return slices.Min(tids), nil
}
