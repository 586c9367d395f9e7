//go:build !linux

package bench

import (
	"os"
	"time"
)

// Elsewhere than on Linux the servers' figures are not known.

func serverCPU([]int) time.Duration { return 0 }

func serverResident([]int) int64 { return 0 }

func serverWritten([]int) int64 { return 0 }

func allocated(info os.FileInfo) int64 { return info.Size() }

func listeners([]string) []int { return nil }

func pause(d time.Duration) { time.Sleep(d) }
