//go:build race

package row

// raceEnabled: sync.Pool drops what it is given at random, so that allocations can't be counted.
const raceEnabled = true
