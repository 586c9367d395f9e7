package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"nodedb/node/disk"
)

const (
	memTableBytes   = 64 << 20
	blockBytes      = 16 << 10 // a point read decompresses one block, a scan many: measured in DESIGN.md
	indexBlockBytes = 128 << 10
	bloomBits       = 10 // 1% false positives

	// stopWritesMemTables bounds memory: writers wait when so many memtables are unflushed.
	stopWritesMemTables = 4
	// l0StopWrites bounds read amplification: writers wait when L0 is so many levels deep.
	l0StopWrites = 24

	maxCacheBytes = 256 << 20 // unless asked for more
	minCacheBytes = 8 << 20
	maxRowBytes   = 128 << 20 // unless asked for more

	// formatMajorVersion is pinned: raising it is a decision, made with a new formatVersion. V6 has checksummed
	// footers, and WAL chunks that tell a torn tail from corruption.
	formatMajorVersion = pebble.FormatTableFormatV6
)

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = disk.Real()
	}
	if o.SyncPeriod <= 0 {
		o.SyncPeriod = DefaultSyncPeriod
	}
	if o.CacheBytes <= 0 {
		o.CacheBytes = defaultCacheBytes(memoryBytes())
	}
	if o.RowBytes == 0 {
		o.RowBytes = min(memoryBytes()/64, maxRowBytes)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Fatal == nil {
		o.Fatal = func(err error) { panic(err) }
	}
	return o
}

// defaultCacheBytes is an eighth of the memory, within limits: idle nodes stay small, since the cache fills only as it
// is used.
func defaultCacheBytes(memory int64) int64 {
	return max(minCacheBytes, min(memory/8, maxCacheBytes))
}

// memoryBytes is the machine's memory, or GOMEMLIMIT where that is lower.
func memoryBytes() int64 {
	limit := debug.SetMemoryLimit(-1)
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return min(limit, 2<<30)
	}
	for line := range strings.Lines(string(info)) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			if kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64); err == nil {
				return min(limit, kib<<10)
			}
		}
	}
	return min(limit, 2<<30)
}

// pebbleOptions configures Pebble; PERFORMANCE.md has the measurements behind it.
func (e *Engine) pebbleOptions(o *Options, fs vfs.FS) *pebble.Options {
	p := &pebble.Options{
		FS:                          fs,
		Lock:                        e.lock,
		Cache:                       e.cache,
		Comparer:                    comparer,
		Merger:                      merger,
		FormatMajorVersion:          formatMajorVersion,
		Logger:                      pebbleLogger{e},
		EventListener:               e.eventListener(),
		MemTableSize:                memTableBytes,
		MemTableStopWritesThreshold: stopWritesMemTables,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       l0StopWrites,
		LBaseMaxBytes:               64 << 20,
		MaxOpenFiles:                1000,
		BytesPerSync:                1 << 20,
		FlushDelayDeleteRange:       flushDelayDeleteRange,
		CompactionConcurrencyRange:  func() (int, int) { return 1, max(1, runtime.GOMAXPROCS(0)/2+1) },
	}
	for i := range p.Levels {
		p.Levels[i].BlockSize = blockBytes
		p.Levels[i].IndexBlockSize = indexBlockBytes
		p.Levels[i].FilterPolicy = bloom.FilterPolicy(bloomBits)
	}
	p.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionBalanced })
	// Rows of one partition share their prefix, yet are no versions of one another: values stay beside their keys.
	p.Experimental.SpanPolicyFunc = func([]byte) (pebble.SpanPolicy, []byte, error) {
		return pebble.SpanPolicy{DisableValueSeparationBySuffix: true, ValueStoragePolicy: pebble.ValueStorageLowReadLatency}, nil, nil
	}
	p.Experimental.L0CompactionConcurrency = 4
	return p
}

// eventListener watches for what must stop the node. Everything else Pebble reports would be noise.
func (e *Engine) eventListener() *pebble.EventListener {
	return &pebble.EventListener{
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			e.fail(fmt.Errorf("%w: %s: %w", ErrCorrupt, info.Path, info.Details))
		},
		BackgroundError: func(err error) {
			switch {
			case isCorruption(err):
				e.fail(fmt.Errorf("%w: background work in %s: %w", ErrCorrupt, corruptPath(err, e.dir), err))
			case isNoSpace(err):
				e.space.ranOut()
			default:
				e.logger.Error("storage: background work failed, it is tried again", "err", err, "dir", e.dir)
			}
		},
		WALCreated:    func(pebble.WALCreateInfo) { e.logCreated() },
		FlushBegin:    func(pebble.FlushInfo) { e.doubt.flushBegins() },
		FlushEnd:      func(pebble.FlushInfo) { e.pace.changed() },
		CompactionEnd: func(pebble.CompactionInfo) { e.pace.changed() },
		WriteStallBegin: func(info pebble.WriteStallBeginInfo) {
			e.counts.stalls.Inc()
			e.logger.Debug("storage: writes wait", "reason", info.Reason)
		},
		DiskSlow: func(info pebble.DiskSlowInfo) {
			e.logger.Warn("storage: slow disk", "path", info.Path, "took", info.Duration)
		},
	}
}

// pebbleLogger adapts slog to Pebble.
type pebbleLogger struct{ e *Engine }

// Infof implements pebble.Logger.
func (pebbleLogger) Infof(string, ...any) {}

// Errorf implements pebble.Logger.
func (l pebbleLogger) Errorf(format string, args ...any) {
	l.e.logger.Error("storage: " + fmt.Sprintf(format, args...))
}

// Fatalf implements pebble.Logger: Pebble can't go on.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	l.e.fail(fmt.Errorf("%w: %s: %s", ErrFailStop, l.e.dir, fmt.Sprintf(format, args...)))
}

// The format file, one line of text, is written before anything else in the directory:
//
//	nodedb storage 1\n
const (
	formatFile    = "nodedb-format"
	formatPrefix  = "nodedb storage "
	formatVersion = 1
)

// prepareDir makes the directory, durably: a crash must not take a new directory away with what was synced inside it.
func prepareDir(fs vfs.FS, dir string) error {
	if _, err := fs.Stat(dir); err == nil {
		return nil
	}
	if err := fs.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("storage: make %s: %w", dir, err)
	}
	for parent := fs.PathDir(dir); ; parent = fs.PathDir(parent) {
		if err := syncDir(fs, parent); err != nil && !errors.Is(err, os.ErrPermission) {
			return fmt.Errorf("storage: sync %s: %w", parent, err)
		}
		if parent == fs.PathDir(parent) {
			return nil
		}
	}
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// checkFormat refuses a directory of a newer format and marks a new one with ours.
func checkFormat(fs vfs.FS, dir string) error {
	path := fs.PathJoin(dir, formatFile)
	f, err := fs.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return writeFormat(fs, dir, path)
	}
	if err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(f, 64))
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("storage: read %s: %w", path, err)
	}
	return checkVersion(path, text)
}

// checkVersion reads the text of the format file.
func checkVersion(path string, text []byte) error {
	rest, ok := bytes.CutPrefix(text, []byte(formatPrefix))
	version, err := strconv.Atoi(strings.TrimSpace(string(rest)))
	if !ok || err != nil || version < 1 {
		return fmt.Errorf("%w: %s: want %q and a number, got %q", ErrCorrupt, path, formatPrefix, text)
	}
	if version > formatVersion {
		return fmt.Errorf("%w: %s has format %d, this binary knows formats to %d; start the newer binary", ErrTooNew, path, version, formatVersion)
	}
	return nil
}

func writeFormat(fs vfs.FS, dir, path string) error {
	temporary := path + ".tmp"
	f, err := fs.Create(temporary, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	_, err = fmt.Fprintf(f, "%s%d\n", formatPrefix, formatVersion)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = fs.Rename(temporary, path)
	}
	if err == nil {
		err = syncDir(fs, dir)
	}
	if err != nil {
		return fmt.Errorf("storage: write %s: %w", path, err)
	}
	return nil
}
