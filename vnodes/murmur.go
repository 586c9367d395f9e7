package vnodes

import (
	"encoding/binary"
	"math/bits"
)

// Constants of MurmurHash3_x64_128 (Austin Appleby, public domain, smhasher).
const (
	murmurC1 = 0x87c37b91114253d5
	murmurC2 = 0x4cf5ad432745937f
)

// PartitionToken hashes a serialized partition key: Murmur3 x64 128, first half, with Cassandra's signed-byte quirk.
// The empty key hashes to 0 (Cassandra calls that its minimum token; empty partition keys are refused before they get
// here).
func PartitionToken(key []byte) Token {
	h1, h2, tail := murmurBody(key)
	var k1, k2 uint64
	for i := len(tail) - 1; i >= 8; i-- {
		// The quirk: Java's bytes are signed, and Cassandra does not mask those of the tail. A byte above 0x7f
		// flips every bit above its own place.
		k2 ^= uint64(int64(int8(tail[i]))) << (8 * (i - 8))
	}
	for i := min(len(tail), 8) - 1; i >= 0; i-- {
		k1 ^= uint64(int64(int8(tail[i]))) << (8 * i)
	}
	h1, _ = murmurFinish(h1, h2, k1, k2, len(key))
	if t := Token(h1); t != MinToken {
		return t
	}
	return MaxToken
}

// Hash128 is Murmur3 x64 128 as published (no quirk); nodedb uses it for digests.
func Hash128(b []byte) (uint64, uint64) {
	h1, h2, tail := murmurBody(b)
	var k1, k2 uint64
	for i := len(tail) - 1; i >= 8; i-- {
		k2 ^= uint64(tail[i]) << (8 * (i - 8))
	}
	for i := min(len(tail), 8) - 1; i >= 0; i-- {
		k1 ^= uint64(tail[i]) << (8 * i)
	}
	return murmurFinish(h1, h2, k1, k2, len(b))
}

// murmurBody mixes the whole 16-byte blocks and gives what is left over.
func murmurBody(b []byte) (h1, h2 uint64, tail []byte) {
	for len(b) >= 16 {
		k1, k2 := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
		b = b[16:]
		h1 ^= mixK1(k1)
		h1 = (bits.RotateLeft64(h1, 27)+h2)*5 + 0x52dce729
		h2 ^= mixK2(k2)
		h2 = (bits.RotateLeft64(h2, 31)+h1)*5 + 0x38495ab5
	}
	return h1, h2, b
}

// murmurFinish mixes the tail and the length in. Mixing a zero k changes nothing, so short tails need no case of their
// own.
func murmurFinish(h1, h2, k1, k2 uint64, length int) (uint64, uint64) {
	h1 ^= mixK1(k1) ^ uint64(length)
	h2 ^= mixK2(k2) ^ uint64(length)
	h1 += h2
	h2 += h1
	h1, h2 = fmix(h1), fmix(h2)
	h1 += h2
	h2 += h1
	return h1, h2
}

func mixK1(k uint64) uint64 { return bits.RotateLeft64(k*murmurC1, 31) * murmurC2 }
func mixK2(k uint64) uint64 { return bits.RotateLeft64(k*murmurC2, 33) * murmurC1 }

func fmix(k uint64) uint64 {
	k = (k ^ k>>33) * 0xff51afd7ed558ccd
	k = (k ^ k>>33) * 0xc4ceb9fe1a85ec53
	return k ^ k>>33
}
