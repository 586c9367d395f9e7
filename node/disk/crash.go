package disk

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Cut says what a crash leaves of a file system.
type Cut struct {
	// Keep is the share of what was not synced (blocks of files, entries of directories) that is there all the same, in percent: 100 is a killed process,
	// whose pages the kernel still has; 0 is a power loss at its worst.
	Keep int
	// Seed decides what is kept.
	Seed uint64
}

// block is the unit in which unsynced data is kept or lost, in bytes.
const block = 4096

// Clone gives what a crash at this moment would leave of a crashable file system. The same cut of the same content gives the same bytes: MemFS's own
// CrashClone draws in the order of a map for shares between 0 and 100.
func (c Cut) Clone(fs *MemFS) (*MemFS, error) {
	synced := fs.CrashClone(vfs.CrashCloneCfg{})
	if c.Keep <= 0 {
		return synced, nil
	}
	all := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
	if c.Keep >= 100 {
		return all, nil
	}
	if err := c.merge(synced, all, "/"); err != nil {
		return nil, fmt.Errorf("disk: crash clone: %w", err)
	}
	return synced.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))}), nil
}

// merge adds to a directory of synced, in order of names, a share of what all has more.
func (c Cut) merge(synced, all *MemFS, dir string) error {
	names, err := all.List(dir)
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		path := all.PathJoin(dir, name)
		info, err := all.Stat(path)
		if err != nil {
			return err
		}
		_, err = synced.Stat(path)
		known := err == nil
		switch {
		case !known && !c.keeps(path, -1):
		case info.IsDir():
			if !known {
				err = synced.MkdirAll(path, 0o755)
			} else {
				err = nil
			}
			if err = errors.Join(err, c.merge(synced, all, path)); err != nil {
				return err
			}
		default:
			if err := c.mergeFile(synced, all, path, known); err != nil {
				return err
			}
		}
	}
	return nil
}

// mergeFile writes a file anew: its synced blocks, and a share of the others. Before a kept block, lost ones are zeros.
func (c Cut) mergeFile(synced, all *MemFS, path string, known bool) error {
	want, err := read(all, path)
	if err != nil {
		return err
	}
	var have []byte
	if known {
		if have, err = read(synced, path); err != nil {
			return err
		}
	}
	for i := 0; i < len(want); i += block {
		end := min(i+block, len(want))
		if !c.keeps(path, i) {
			continue
		}
		if end > len(have) {
			have = append(have, make([]byte, end-len(have))...)
		}
		copy(have[i:], want[i:end])
	}
	f, err := synced.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(have)
	return errors.Join(err, f.Close())
}

func (c Cut) keeps(path string, at int) bool {
	return int(xxhash.Sum64String(fmt.Sprint(c.Seed, path, at))%100) < c.Keep
}

func read(fs *MemFS, path string) ([]byte, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(f)
	return b, errors.Join(err, f.Close())
}
