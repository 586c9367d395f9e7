//go:build !linux

package bench

import "time"

// Elsewhere than on Linux the servers' figures are not known.

func serverCPU([]int) time.Duration { return 0 }

func serverResident([]int) int64 { return 0 }

func listeners([]string) []int { return nil }

func pause(d time.Duration) { time.Sleep(d) }
