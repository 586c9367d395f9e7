package storage

import (
	"errors"
	"io"

	"github.com/cockroachdb/pebble/v2"
)

// cursor walks over entries in key order, within bounds given when it was made. Rows and headers come merged. Both
// kinds of table have one, so that there is one code path that reads (read.go).
type cursor interface {
	// seekPrefixGE goes to the first entry at or after key, of key's partition only; from then on only next and another
	// seekPrefixGE make sense.
	seekPrefixGE(key []byte) bool
	seekGE(key []byte) bool
	seekLT(key []byte) bool
	next() bool
	prev() bool
	// nextPrefix goes to the first entry of the next partition.
	nextPrefix() bool
	// key and value are valid until the cursor moves.
	key() []byte
	value() ([]byte, error)
	// close gives the first error that ended a walk early.
	close() error
}

// pebbleCursor is a cursor over a table on disk.
type pebbleCursor struct{ it *pebble.Iterator }

func (c *pebbleCursor) seekPrefixGE(key []byte) bool { return c.it.SeekPrefixGE(key) }
func (c *pebbleCursor) seekGE(key []byte) bool       { return c.it.SeekGE(key) }
func (c *pebbleCursor) seekLT(key []byte) bool       { return c.it.SeekLT(key) }
func (c *pebbleCursor) next() bool                   { return c.it.Next() }
func (c *pebbleCursor) prev() bool                   { return c.it.Prev() }
func (c *pebbleCursor) nextPrefix() bool             { return c.it.NextPrefix() }
func (c *pebbleCursor) key() []byte                  { return c.it.Key() }
func (c *pebbleCursor) value() ([]byte, error)       { return c.it.ValueAndErr() }

func (c *pebbleCursor) close() error {
	err := c.it.Error()
	if closed := c.it.Close(); err == nil {
		err = closed
	}
	return err
}

// getCursor gives one row on disk: seekPrefixGE finds the very key or nothing, and nothing is behind it.
type getCursor struct {
	from   source
	found  []byte // its key
	bytes  []byte
	closer io.Closer // of bytes; nil: nothing found
	err    error
}

func (c *getCursor) seekPrefixGE(key []byte) bool {
	if c.err = c.close(); c.err != nil {
		return false
	}
	c.found = key
	if c.bytes, c.closer, c.err = c.from.Get(key); c.err == nil {
		return true
	}
	if errors.Is(c.err, pebble.ErrNotFound) {
		c.err = nil
	}
	return false
}

func (c *getCursor) seekGE([]byte) bool     { return false }
func (c *getCursor) seekLT([]byte) bool     { return false }
func (c *getCursor) next() bool             { return false }
func (c *getCursor) prev() bool             { return false }
func (c *getCursor) nextPrefix() bool       { return false }
func (c *getCursor) key() []byte            { return c.found }
func (c *getCursor) value() ([]byte, error) { return c.bytes, nil }

func (c *getCursor) close() error {
	err := c.err
	if c.closer != nil {
		err = errors.Join(err, c.closer.Close())
	}
	*c = getCursor{from: c.from}
	return err
}
