//go:build !linux

package proc

import "syscall"

// childAttributes keep a terminal's Ctrl-C from the nodes.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
