package sim

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// sleeping reports whether a stopped thread was in nanosleep, or in a futex wait with a timeout: the runtime's locks wait without one.
func sleeping(tid int) (bool, error) {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return false, fmt.Errorf("ptrace: %w", err)
	}
	return regs.Regs[8] == unix.SYS_NANOSLEEP || regs.Regs[8] == unix.SYS_FUTEX && regs.Regs[3] != 0, nil
}
