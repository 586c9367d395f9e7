package vnodes

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
)

// Token is a position on the ring: the Murmur3 hash of a serialized partition key, as Cassandra computes it.
type Token int64

// MinToken is smaller than every partition's token: a hash that lands on it is moved to MaxToken.
const (
	MinToken Token = math.MinInt64
	MaxToken Token = math.MaxInt64
)

// Range is the half-open run of tokens (Start, End]. Start >= End wraps around the ring; Start == End is the whole
// ring.
type Range struct{ Start, End Token }

// Contains reports whether t lies in (Start, End].
func (r Range) Contains(t Token) bool {
	if r.Start < r.End {
		return r.Start < t && t <= r.End
	}
	return r.Start < t || t <= r.End
}

// HostID names a node for its whole life; it is a UUID. The zero HostID names nobody.
type HostID [16]byte

// ErrHostID says that a text is not a UUID.
var ErrHostID = errors.New("host id: want a UUID such as 6f1a…-…")

// String gives the UUID form, 8-4-4-4-12.
func (h HostID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[0:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

// IsZero reports whether h names nobody.
func (h HostID) IsZero() bool { return h == HostID{} }

// MarshalText gives the UUID form.
func (h HostID) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads the UUID form.
func (h *HostID) UnmarshalText(text []byte) (err error) {
	*h, err = ParseHostID(string(text))
	return err
}

// ParseHostID reads the UUID form.
func ParseHostID(s string) (h HostID, err error) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return h, fmt.Errorf("%w, got %q", ErrHostID, s)
	}
	raw, err := hex.DecodeString(s[0:8] + s[9:13] + s[14:18] + s[19:23] + s[24:36])
	if err != nil {
		return h, fmt.Errorf("%w, got %q", ErrHostID, s)
	}
	copy(h[:], raw)
	return h, nil
}
