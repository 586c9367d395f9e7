// Package clock is the hybrid logical clock that stamps writes: never behind what it gave before, even after a restart. It imports
// nothing of nodedb. Start reading at HLC.
package clock

import (
	"errors"
	"time"
)

// ErrSkew says that a timestamp lies too far in the future.
var ErrSkew = errors.New("clock: timestamp too far in the future")

// HLC gives strictly increasing timestamps in microseconds since 1970. Safe for concurrent use.
type HLC struct{}

// Options of New.
type Options struct {
	Wall    func() time.Time          // time.Now by default
	Ceiling int64                     // as stored by the last run; timestamps start above it
	Persist func(ceiling int64) error // stores, synced, a ceiling ahead of what is given; called rarely (every few seconds of time), outside locks
	MaxSkew time.Duration             // how far Update may push the clock ahead of the wall clock; default 5 s
}

// New starts a clock above the ceiling.
func New(o Options) (*HLC, error) { panic("contract") }

// Now gives the next timestamp, in microseconds.
func (c *HLC) Now() int64 { panic("contract") }

// Update moves the clock above a timestamp another node's clock gave; beyond MaxSkew it is ErrSkew and changes nothing.
func (c *HLC) Update(seen int64) error { panic("contract") }

// Seconds is the wall clock in unix seconds, for TTL; it never goes back.
func (c *HLC) Seconds() int64 { panic("contract") }
