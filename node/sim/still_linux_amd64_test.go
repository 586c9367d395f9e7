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
	return regs.Orig_rax == unix.SYS_NANOSLEEP || regs.Orig_rax == unix.SYS_FUTEX && regs.R10 != 0, nil
}
