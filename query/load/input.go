package load

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// MaxWindow bounds the memory that a .zst file may ask for.
const MaxWindow = 128 << 20

// input is where rows come from, decompressed.
type input struct {
	name   string
	r      io.Reader
	size   int64 // bytes as stored; 0 when unknown
	read   *atomic.Int64
	closes []func()
}

func (in *input) close() {
	for i := len(in.closes) - 1; i >= 0; i-- {
		in.closes[i]()
	}
}

// openInput opens the file, standard input or the reader, and decompresses it if its first bytes say so.
func openInput(o *Options) (*input, error) {
	in := &input{name: o.Name, read: new(atomic.Int64)}
	r := o.Input
	switch {
	case r != nil:
	case o.File == "-":
		r, in.name = os.Stdin, "standard input"
	default:
		f, err := os.Open(o.File)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInput, err)
		}
		in.closes = append(in.closes, func() { f.Close() })
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			in.size = info.Size()
		}
		r = f
	}
	if err := in.decompress(r); err != nil {
		in.close()
		return nil, fmt.Errorf("%w: %s: %w", ErrInput, in.name, err)
	}
	return in, nil
}

// countingReader counts what is read from the file, for the progress bar.
type countingReader struct {
	r    io.Reader
	read *atomic.Int64
}

func (c countingReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.read.Add(int64(n))
	return n, err
}

func (in *input) decompress(r io.Reader) error {
	buffered := bufio.NewReaderSize(countingReader{r, in.read}, 64<<10)
	magic, err := buffered.Peek(4)
	if err != nil && err != io.EOF {
		return err
	}
	in.r = buffered
	switch {
	case bytes.HasPrefix(magic, []byte{0x1F, 0x8B}):
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return err
		}
		in.r = z
	case bytes.Equal(magic, []byte{0x28, 0xB5, 0x2F, 0xFD}):
		z, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(MaxWindow))
		if err != nil {
			return err
		}
		in.closes = append(in.closes, z.Close)
		in.r = z
	}
	return nil
}

// formatOf tells the format from a file's name: flights.csv, flights.tsv.gz, flights.ndjson.zst.rejects.
func formatOf(name string) (Format, error) {
	base := strings.ToLower(filepath.Base(name))
	for _, ending := range []string{".rejects", ".gz", ".zst"} {
		base = strings.TrimSuffix(base, ending)
	}
	switch filepath.Ext(base) {
	case ".csv":
		return CSV, nil
	case ".tsv", ".tab":
		return TSV, nil
	case ".ndjson", ".jsonl":
		return NDJSON, nil
	}
	return "", fmt.Errorf("%w: the name %q does not tell the format: give --format csv, tsv or ndjson", ErrOptions, name)
}

func rejectsPath(name string) string {
	if name == "-" || name == "" {
		return "stdin.rejects"
	}
	return name + ".rejects"
}
