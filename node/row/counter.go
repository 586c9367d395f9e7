package row

import (
	"bytes"
	"slices"

	"nodedb/vnodes"
)

// Shard is what one store added to a counter: its running sum, never a delta, so that merging twice counts once. Clock is a
// write timestamp in microseconds that grows with every update of the shard: deletions compare with it as with any cell's
// timestamp. (A shard with a separate logical clock would make deletion depend on the order of merges.)
type Shard struct {
	Host        vnodes.HostID
	Incarnation uint64 // of the store: a wiped one starts a new shard
	Clock       int64
	Sum         int64
}

// A counter's value is its shards, ascending by the first 24 bytes:
//
//	| host id 16 | incarnation u64 be | clock i64 le | sum i64 le |   40 bytes each
const (
	shardKeyBytes = 24
	shardBytes    = 40
)

// AppendShard adds a shard to a counter's value; any order will do.
func AppendShard(dst []byte, s Shard) []byte {
	dst = append(dst, s.Host[:]...)
	for shift := 56; shift >= 0; shift -= 8 {
		dst = append(dst, byte(s.Incarnation>>shift))
	}
	dst = le.AppendUint64(dst, uint64(s.Clock))
	return le.AppendUint64(dst, uint64(s.Sum))
}

// ShardCount is the number of shards in a counter's value.
func ShardCount(value []byte) int { return len(value) / shardBytes }

// ShardAt decodes shard i of a counter's value.
func ShardAt(value []byte, i int) (s Shard) {
	b := value[i*shardBytes : (i+1)*shardBytes]
	copy(s.Host[:], b)
	for _, x := range b[16:shardKeyBytes] {
		s.Incarnation = s.Incarnation<<8 | uint64(x)
	}
	s.Clock, s.Sum = shardClock(b), shardSum(b)
	return s
}

// CounterSum is the counter that a value stands for: the sum of its shards (wrapping, as CQL's does).
func CounterSum(value []byte) (sum int64) {
	for ; len(value) >= shardBytes; value = value[shardBytes:] {
		sum += shardSum(value)
	}
	return sum
}

func shardClock(b []byte) int64 { return int64(le.Uint64(b[24:])) }
func shardSum(b []byte) int64   { return int64(le.Uint64(b[32:])) }

// shardWins reports whether a replaces b, a shard of the same key.
func shardWins(a, b []byte) bool {
	if ca, cb := shardClock(a), shardClock(b); ca != cb {
		return ca > cb
	}
	return shardSum(a) > shardSum(b)
}

// newestClock is the largest clock of the shards, NoDeletion without any.
func newestClock(value []byte) int64 {
	newest := NoDeletion
	for ; len(value) >= shardBytes; value = value[shardBytes:] {
		newest = max(newest, shardClock(value))
	}
	return newest
}

// mergeShards appends the merge of two canonical values.
func mergeShards(dst, a, b []byte) []byte {
	for len(a) > 0 && len(b) > 0 {
		order := bytes.Compare(a[:shardKeyBytes], b[:shardKeyBytes])
		if order < 0 || (order == 0 && shardWins(a, b)) {
			dst = append(dst, a[:shardBytes]...)
		} else {
			dst = append(dst, b[:shardBytes]...)
		}
		if order <= 0 {
			a = a[shardBytes:]
		}
		if order >= 0 {
			b = b[shardBytes:]
		}
	}
	return append(append(dst, a...), b...)
}

// shadowShards gives the shards above timestamp: value itself when it has no others.
func shadowShards(value []byte, timestamp int64) []byte {
	covered := 0
	for i := 0; i < len(value); i += shardBytes {
		if shardClock(value[i:]) <= timestamp {
			covered++
		}
	}
	switch covered {
	case 0:
		return value
	case len(value) / shardBytes:
		return nil
	}
	kept := make([]byte, 0, len(value)-covered*shardBytes)
	for ; len(value) > 0; value = value[shardBytes:] {
		if shardClock(value) > timestamp {
			kept = append(kept, value[:shardBytes]...)
		}
	}
	return kept
}

// canonicalShards sorts a value's shards, one for each key; value itself when it is canonical.
func canonicalShards(value []byte) []byte {
	if len(value)%shardBytes != 0 {
		panic("row: a counter's value is whole shards of 40 bytes (row.AppendShard)")
	}
	if checkShards(value) == nil {
		return value
	}
	shards := make([][]byte, 0, len(value)/shardBytes)
	for ; len(value) > 0; value = value[shardBytes:] {
		shards = append(shards, value[:shardBytes])
	}
	slices.SortFunc(shards, bytes.Compare)
	var merged []byte
	for _, s := range shards {
		merged = mergeShards(nil, merged, s)
	}
	return merged
}

// checkShards says whether a value is whole shards, strictly ascending by key.
func checkShards(value []byte) error {
	if len(value) == 0 || len(value)%shardBytes != 0 {
		return corrupt("counter of %d bytes, want shards of %d", len(value), shardBytes)
	}
	for i := shardBytes; i < len(value); i += shardBytes {
		if bytes.Compare(value[i-shardBytes:][:shardKeyBytes], value[i:][:shardKeyBytes]) >= 0 {
			return corrupt("counter shards out of order at %d", i/shardBytes)
		}
	}
	return nil
}
