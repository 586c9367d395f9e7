package storage

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"nodedb/node/fault"
)

// A log that ends in bytes that are no record was torn by the crash, or corrupted where it had been synced: then what
// was acknowledged behind would be lost in silence. Pebble v2.1.7 decides by synced offsets in later chunks, but counts
// only the last, partial block of each write into them (LogWriter.flushLoop), so that under load they lag far behind,
// and looks only in later blocks. So the log gets witnesses of our own: after a sync, an entry (Pebble's LogData, which
// it skips) that says up to where the file has been synced:
//
//	| magic 8 bytes | log number u64 | synced bytes u64 | crc32c of the 24 bytes before, u32 |        (little-endian)
//
// Before Pebble opens a store, checkLogTail looks where the newest log's records end. A witness anywhere behind, of the
// same log, that vouches for bytes beyond that place is proof of corruption. What stays unknowable is the last group
// commit: nothing behind it tells that it was synced.
const (
	witnessMagic = "nodedbW1"
	witnessBytes = len(witnessMagic) + 8 + 8 + 4

	logBlockBytes = 32 << 10 // of Pebble's record format, like the numbers below
	legacyHeader  = 7        // | crc32c u32 | length u16 | encoding u8 |
	recycleHeader = 11       // ... | log number u32 |
	syncHeader    = 19       // ... | synced offset u64 |
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// logState is how far the current log was synced.
type logState struct {
	number uint64
	synced atomic.Int64 // bytes
}

// appendWitness appends a witness entry.
func appendWitness(dst []byte, number uint64, synced int64) []byte {
	start := len(dst)
	dst = append(dst, witnessMagic...)
	dst = binary.LittleEndian.AppendUint64(dst, number)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(synced))
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// furthestWitness gives the largest synced offset that witnesses in b vouch for, of one log.
func furthestWitness(b []byte, number uint64) (synced int64) {
	for {
		i := bytes.Index(b, []byte(witnessMagic))
		if i < 0 || len(b)-i < witnessBytes {
			return synced
		}
		w := b[i : i+witnessBytes]
		body, sum := w[:witnessBytes-4], binary.LittleEndian.Uint32(w[witnessBytes-4:])
		if crc32.Checksum(body, castagnoli) == sum && binary.LittleEndian.Uint64(body[8:]) == number {
			synced = max(synced, int64(binary.LittleEndian.Uint64(body[16:])))
		}
		b = b[i+len(witnessMagic):]
	}
}

// witnessSync writes a witness if the log has been synced further since the last one. It is not synced itself. Called
// by the sync waiter and by others that waited for a sync; one witness a sync is enough, so a lost race only costs one
// more.
func (e *Engine) witnessSync() {
	state := e.log.Load()
	if state == nil || e.failed.Load() != nil {
		return
	}
	synced := state.synced.Load()
	if e.witnessed.Swap(synced) == synced {
		return
	}
	var buf [witnessBytes]byte
	if err := e.db.LogData(appendWitness(buf[:0], state.number, synced), pebble.NoSync); err != nil {
		e.logger.Warn("storage: the log goes without a witness", "err", err)
	}
}

// logNumber reads a log's number from its name.
func logNumber(name string) (number uint64, ok bool) {
	digits, ok := strings.CutSuffix(name, ".log")
	if !ok {
		return 0, false
	}
	number, err := strconv.ParseUint(digits, 10, 64)
	return number, err == nil
}

// checkLogTail gives ErrCorrupt where the newest log of a store ends before bytes that were synced. Older logs were
// closed; Pebble is strict with them.
func checkLogTail(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	if err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	newest, name := uint64(0), ""
	for _, n := range names {
		if number, ok := logNumber(n); ok && number >= newest {
			newest, name = number, n
		}
	}
	if name == "" {
		return nil
	}
	path := fs.PathJoin(dir, name)
	b, err := readWhole(fs, path)
	if err != nil {
		return fmt.Errorf("storage: read %s: %w", path, err)
	}
	end := recordsEnd(b, uint32(newest))
	if synced := furthestWitness(b[end:], newest); synced > int64(end) && !fault.Planted("storage/log-tail-not-checked") {
		return fmt.Errorf("%w: %s: no valid record at byte %d, yet %d bytes were synced: acknowledged writes are lost here; "+
			"replace this node, or restore its directory", ErrCorrupt, path, end, synced)
	}
	return nil
}

// readWhole reads a file, a log of at most a few memtables.
func readWhole(fs vfs.FS, path string) ([]byte, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b := make([]byte, info.Size())
	n, err := io.ReadFull(f, b)
	if err == io.ErrUnexpectedEOF || err == io.EOF {
		err = nil
	}
	return b[:n], err
}

// recordsEnd gives the offset of the first bytes that are no chunk of the log, as Pebble's reader finds it; the length
// of b if there are none.
func recordsEnd(b []byte, number uint32) int {
	at := 0
	for at < len(b) {
		left := logBlockBytes - at%logBlockBytes // in the block
		block := b[at:min(at+left, len(b))]
		if left < syncHeader && allZero(block) {
			at += len(block) // padding
			continue
		}
		n := chunkBytes(block, number)
		if n == 0 {
			return at
		}
		at += n
	}
	return len(b)
}

// chunkBytes gives the length of the valid chunk at the start of block, or 0.
func chunkBytes(block []byte, number uint32) int {
	if len(block) < recycleHeader {
		return 0
	}
	header := 0
	switch encoding := block[6]; {
	case encoding >= 5 && encoding <= 8:
		header = recycleHeader
	case encoding >= 9 && encoding <= 12:
		header = syncHeader
	default:
		return 0
	}
	end := header + int(binary.LittleEndian.Uint16(block[4:]))
	if end > len(block) || binary.LittleEndian.Uint32(block[legacyHeader:]) != number {
		return 0
	}
	sum := crc32.Checksum(block[6:end], castagnoli)
	if sum = (sum>>15 | sum<<17) + 0xa282ead8; binary.LittleEndian.Uint32(block) != sum {
		return 0
	}
	return end
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
