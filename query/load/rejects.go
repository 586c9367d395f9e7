package load

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"sync"
)

// rejects writes the rows that are not loaded, as they were, and beside them why: FILE.rejects begins with the input's header, so that it can be loaded
// again once it is put right; FILE.rejects.errors is CSV with the columns row, line, column, value, reason. Both are made with the
// first reject. Those of an earlier load go when a load begins to write its own, or ends without any.
type rejects struct {
	path   string
	header string

	mu struct {
		sync.Mutex
		count  int64
		rows   *os.File
		buffer *bufio.Writer
		errors *os.File
		csv    *CSVWriter
	}
}

// add writes one reject.
func (r *rejects) add(j *reject) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.rows == nil {
		if err := r.open(); err != nil {
			return fmt.Errorf("%w: the rejects file: %w", ErrStopped, err)
		}
	}
	r.mu.count++
	_, err := r.mu.buffer.WriteString(j.raw + "\n")
	if err == nil {
		err = r.mu.csv.Write(strconv.FormatInt(j.number, 10), strconv.FormatInt(j.line, 10), j.column, j.value, j.reason)
	}
	if err != nil {
		return fmt.Errorf("%w: the rejects file: %w", ErrStopped, err)
	}
	return nil
}

func (r *rejects) open() (err error) {
	if r.mu.rows, err = os.Create(r.path); err != nil {
		return err
	}
	r.mu.buffer = bufio.NewWriter(r.mu.rows)
	if r.header != "" {
		if _, err := r.mu.buffer.WriteString(r.header + "\n"); err != nil {
			return err
		}
	}
	if r.mu.errors, err = os.Create(r.path + ".errors"); err != nil {
		return err
	}
	r.mu.csv = NewCSVWriter(r.mu.errors, ',')
	r.mu.csv.LF = true
	return r.mu.csv.Write("row", "line", "column", "value", "reason")
}

func (r *rejects) total() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.count
}

// close ends both files. Without rejects it removes those of an earlier load, which would mislead.
func (r *rejects) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.rows == nil {
		_ = os.Remove(r.path)
		_ = os.Remove(r.path + ".errors")
		return nil
	}
	err := r.mu.buffer.Flush()
	for _, end := range []func() error{r.mu.rows.Sync, r.mu.rows.Close} {
		if e := end(); err == nil {
			err = e
		}
	}
	if r.mu.csv != nil && r.mu.errors != nil {
		for _, end := range []func() error{r.mu.csv.Flush, r.mu.errors.Close} {
			if e := end(); err == nil {
				err = e
			}
		}
	}
	if err != nil {
		return fmt.Errorf("%w: the rejects file %s: %w", ErrStopped, r.path, err)
	}
	return nil
}
