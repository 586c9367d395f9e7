//go:build linux && cgo

package storage

import (
	"os"
	"syscall"
)

const (
	// tunables is where glibc reads its settings, when a process begins and only then. A libc that is another one doesn't look.
	tunables = "GLIBC_TUNABLES"
	// hugeMalloc makes malloc ask for huge pages (MADV_HUGEPAGE) where it takes 2 MB and more.
	hugeMalloc = "glibc.malloc.hugetlb=1"
)

// HugePages puts memtables, and the pages of tables that are cached, into huge pages of memory. A write finds its place in a memtable of 64 MiB by a dozen reads all over
// it: in pages of 4 KiB each of them has its address looked up, too. With cgo Pebble takes that memory from malloc, which can be asked for it only before it is used for the first time; so
// a process that hasn't been asked begins itself anew, in its place, with the same arguments. It is called before anything else. Who sets GLIBC_TUNABLES has the last word, and where
// it can't be done all goes on without.
//
// Without cgo memtables lie in Go's heap, for which there is no such setting.
func HugePages() {
	if _, set := os.LookupEnv(tunables); set {
		return
	}
	binary, err := os.Executable()
	if err != nil {
		return
	}
	_ = syscall.Exec(binary, os.Args, append(os.Environ(), tunables+"="+hugeMalloc)) // returns only if it failed
}
