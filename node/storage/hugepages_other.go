//go:build !linux || !cgo

package storage

// HugePages does nothing here: see the one for Linux.
func HugePages() {}
