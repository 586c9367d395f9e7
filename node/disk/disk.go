// Package disk is the file system behind storage and hints: the real one, or one in memory that can lose what was not
// synced. It may import Pebble's vfs and nothing of nodedb. Start reading at FS.
package disk

import "github.com/cockroachdb/pebble/v2/vfs"

// FS is the file system interface. Nothing in nodedb touches data files but through it.
type FS = vfs.FS

// Real is the operating system's file system.
func Real() FS { return vfs.Default }
