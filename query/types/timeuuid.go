package types

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// gregorian is 1970-01-01 in a timeuuid's clock: 100 ns since 1582-10-15.
const gregorian = 0x01B21DD213814000

// timeuuidTicks is the time of a version 1 UUID, 100 ns since 1582-10-15. The UUID's first eight bytes are time_low (4), time_mid (2), and
// version (4 bits) with time_hi (12 bits).
func timeuuidTicks(u []byte) uint64 {
	return timeuuidOrder(u) & 0x0FFFFFFFFFFFFFFF
}

// timeuuidOrder is the first eight bytes with the most significant part of the time first, the version above it.
func timeuuidOrder(u []byte) uint64 {
	m := binary.BigEndian.Uint64(u)
	return m<<48 | m<<16&0xFFFF00000000 | m>>32
}

// putTimeuuidOrder is the inverse of timeuuidOrder.
func putTimeuuidOrder(u []byte, order uint64) {
	binary.BigEndian.PutUint64(u, order<<32|order>>16&0xFFFF0000|order>>48)
}

// TimeuuidTime is the time in a timeuuid, to 100 ns. The empty value gives the zero time.
func TimeuuidTime(b []byte) time.Time {
	if len(b) < 16 {
		return time.Time{}
	}
	ticks := int64(timeuuidTicks(b)) - gregorian
	return time.Unix(floorDiv(ticks, 1e7), floorMod(ticks, 1e7)*100).UTC()
}

// TimeuuidMicros is the time in a timeuuid, µs since 1970, rounded down.
func TimeuuidMicros(b []byte) int64 {
	if len(b) < 16 {
		return 0
	}
	return floorDiv(int64(timeuuidTicks(b))-gregorian, 10)
}

// Milliseconds since 1970 that a timeuuid can hold.
const (
	minTimeuuidMillis = -gregorian / 10_000
	maxTimeuuidMillis = (0x0FFFFFFFFFFFFFFF-gregorian)/10_000 - 1
)

// MinTimeuuid is the smallest timeuuid of a millisecond (since 1970), as CQL's minTimeuuid; it is a bound, no identity.
func MinTimeuuid(ms int64) ([16]byte, error) {
	return boundTimeuuid(ms, 0, 0x8080808080808080)
}

// MaxTimeuuid is the largest timeuuid of a millisecond (since 1970), as CQL's maxTimeuuid.
func MaxTimeuuid(ms int64) ([16]byte, error) {
	return boundTimeuuid(ms, 9999, 0x7F7F7F7F7F7F7F7F)
}

func boundTimeuuid(ms int64, ticks uint64, low uint64) (u [16]byte, err error) {
	if ms < minTimeuuidMillis || ms > maxTimeuuidMillis {
		return u, fmt.Errorf("%w: a timeuuid cannot hold %d ms since 1970", ErrValue, ms)
	}
	return timeuuid(uint64(ms*10_000+gregorian)+ticks, low), nil
}

func timeuuid(ticks, low uint64) (u [16]byte) {
	putTimeuuidOrder(u[:], ticks|1<<60)
	binary.BigEndian.PutUint64(u[8:], low)
	return u
}

// TimeuuidGenerator makes timeuuids. Each is later than the one before, also when the clock stands still or steps back. It is safe for
// concurrent use.
type TimeuuidGenerator struct {
	now  func() time.Time
	low  uint64 // variant, clock sequence and node
	last atomic.Uint64
}

// NewTimeuuidGenerator makes a generator with a clock and 8 bytes from a source of randomness, for clock sequence and node. The node
// gets the multicast bit, as RFC 4122 section 4.5 wants of one that is no MAC address.
func NewTimeuuidGenerator(now func() time.Time, random io.Reader) (*TimeuuidGenerator, error) {
	var b [8]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return nil, fmt.Errorf("node id for timeuuids: %w", err)
	}
	b[0] = b[0]&0x3F | 0x80
	b[2] |= 1
	return &TimeuuidGenerator{now: now, low: binary.BigEndian.Uint64(b[:])}, nil
}

// Next gives a new timeuuid.
func (g *TimeuuidGenerator) Next() [16]byte {
	t := g.now()
	ticks := uint64(t.Unix()*1e7 + int64(t.Nanosecond()/100) + gregorian)
	for {
		last := g.last.Load()
		next := max(ticks, last+1)
		if g.last.CompareAndSwap(last, next) {
			return timeuuid(next&0x0FFFFFFFFFFFFFFF, g.low)
		}
	}
}
