package simnet

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// hashOf hashes parts, each with its length, so that no two lists of parts run together.
func hashOf(seed uint64, parts ...string) uint64 {
	d := xxhash.NewWithSeed(seed)
	var n [8]byte
	for _, p := range parts {
		binary.LittleEndian.PutUint64(n[:], uint64(len(p)))
		_, _ = d.Write(n[:]) // never fails
		_, _ = d.WriteString(p)
	}
	return d.Sum64()
}

// mix derives one hash from another, for another purpose (splitmix64's finisher).
func mix(h, purpose uint64) uint64 {
	h ^= purpose * 0x9e3779b97f4a7c15
	h += 0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// share maps a hash to [0, 1).
func share(h uint64) float64 { return float64(h>>11) / (1 << 53) }
