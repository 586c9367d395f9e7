package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Pebble reads its manifest up to the first bytes that are no record, and takes that for its end: a write that a crash tore. Were those bytes damaged
// instead, all edits from there on are gone with them, but the logs that they made superfluous have been deleted: a flipped bit would bring old rows back
// in silence. So before a log, an sstable or a manifest is deleted or reused, a witness says, synced, how far the manifest has been synced; and before
// Pebble opens a store, the manifest's records must reach as far. What no witness vouches for has superseded nothing that is gone.
//
// The witnesses lie in a file of their own, which is written anew at each start; of those of the current manifest the furthest counts:
//
//	| magic 8 bytes | manifest number u64 | synced bytes u64 | crc32c of the 24 bytes before, u32 |        (little-endian)
const (
	manifestWitnessFile  = "nodedb-manifest"
	manifestWitnessMagic = "nodedbM1"
	manifestWitnessBytes = len(manifestWitnessMagic) + 8 + 8 + 4
	// maxManifestWitnesses bounds the file, in records; then it is written anew.
	maxManifestWitnesses = 4096
)

// manifestWitness writes witnesses.
type manifestWitness struct {
	current atomic.Pointer[logState] // the newest manifest; its synced bytes
	mu      struct {
		sync.Mutex
		file    vfs.File // nil: none was written since the start
		records int
		number  uint64 // what the last record says
		synced  int64
	}
}

// manifestNumber reads a manifest's number from its name.
func manifestNumber(name string) (number uint64, ok bool) {
	digits, ok := strings.CutPrefix(name, "MANIFEST-")
	if !ok {
		return 0, false
	}
	number, err := strconv.ParseUint(digits, 10, 64)
	return number, err == nil
}

// superfluous reports whether a file goes because an edit of the manifest says so.
func superfluous(base string) bool {
	return strings.HasSuffix(base, ".log") || strings.HasSuffix(base, ".sst") || strings.HasPrefix(base, "MANIFEST-")
}

// witnessManifest makes durable how far the manifest is, unless the last witness said so. It fails the engine if it can't.
func (g *guardFS) witnessManifest() {
	w := &g.e.manifest
	state := w.current.Load()
	if state == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	synced := state.synced.Load()
	if w.mu.number == state.number && w.mu.synced == synced {
		return
	}
	if err := w.write(g, state.number, synced); err != nil {
		g.e.fail(fmt.Errorf("%w: write %s: %w", ErrFailStop, g.FS.PathJoin(g.e.dir, manifestWitnessFile), err))
		return
	}
	w.mu.number, w.mu.synced = state.number, synced
}

// write appends a witness, to a new file if there is none or it is full.
//
// REQUIRES: w.mu is held.
func (w *manifestWitness) write(g *guardFS, number uint64, synced int64) error {
	record := appendManifestWitness(nil, number, synced)
	if w.mu.file != nil && w.mu.records < maxManifestWitnesses {
		w.mu.records++
		_, err := w.mu.file.Write(record)
		return errors.Join(err, w.mu.file.Sync())
	}
	path := g.FS.PathJoin(g.e.dir, manifestWitnessFile)
	f, err := g.Create(path+".tmp", vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if _, err = f.Write(record); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = g.Rename(path+".tmp", path)
	}
	if err == nil {
		err = syncDir(g, g.e.dir)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if w.mu.file != nil {
		err = w.mu.file.Close()
	}
	w.mu.file, w.mu.records = f, 1
	return err
}

// close closes the file.
func (w *manifestWitness) close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.file == nil {
		return nil
	}
	return w.mu.file.Close()
}

func appendManifestWitness(dst []byte, number uint64, synced int64) []byte {
	start := len(dst)
	dst = append(dst, manifestWitnessMagic...)
	dst = binary.LittleEndian.AppendUint64(dst, number)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(synced))
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// furthestManifestWitness gives the largest synced offset that witnesses in b vouch for, of one manifest.
func furthestManifestWitness(b []byte, number uint64) (synced int64) {
	for ; len(b) >= manifestWitnessBytes; b = b[manifestWitnessBytes:] { // a torn one is the last
		w := b[:manifestWitnessBytes]
		body, sum := w[:manifestWitnessBytes-4], binary.LittleEndian.Uint32(w[manifestWitnessBytes-4:])
		if string(w[:8]) == manifestWitnessMagic && crc32.Checksum(body, castagnoli) == sum && binary.LittleEndian.Uint64(body[8:]) == number {
			synced = max(synced, int64(binary.LittleEndian.Uint64(body[16:])))
		}
	}
	return synced
}

// checkManifest gives ErrCorrupt where the store's manifest ends before bytes that were synced.
func checkManifest(fs vfs.FS, dir string) error {
	witnesses, err := readWhole(fs, fs.PathJoin(dir, manifestWitnessFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil // new, or not written to since it is nodedb that witnesses
	}
	if err != nil {
		return fmt.Errorf("storage: read %s: %w", fs.PathJoin(dir, manifestWitnessFile), err)
	}
	desc, err := pebble.Peek(dir, fs)
	if err != nil {
		return fmt.Errorf("storage: look for the manifest in %s: %w", dir, err)
	}
	number, ok := manifestNumber(fs.PathBase(desc.ManifestFilename))
	if !desc.Exists || !ok {
		return nil
	}
	path := fs.PathJoin(dir, fs.PathBase(desc.ManifestFilename))
	b, err := readWhole(fs, path)
	if err != nil {
		return fmt.Errorf("storage: read %s: %w", path, err)
	}
	end, synced := manifestEnd(b), furthestManifestWitness(witnesses, number)
	if synced > end {
		return fmt.Errorf("%w: %s: no valid record at byte %d, yet %d bytes were synced: acknowledged writes may be lost here; "+
			"replace this node, or restore its directory", ErrCorrupt, path, end, synced)
	}
	return nil
}

// manifestEnd gives the offset where the manifest's last whole record ends, as Pebble finds it.
func manifestEnd(b []byte) (end int64) {
	r := record.NewReader(bytes.NewReader(b), 0)
	for {
		rec, err := r.Next()
		if err != nil {
			return end
		}
		if _, err = io.Copy(io.Discard, rec); err != nil {
			return end
		}
		end = r.Offset()
	}
}
