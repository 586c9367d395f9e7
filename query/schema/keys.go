package schema

import (
	"encoding/binary"
	"slices"
)

// MaxKey bounds a serialized partition key, one of its components, and the sum of a row's clustering values, in bytes
// (Cassandra's unsigned short).
const MaxKey = 65535

// A partition key's bytes are what CQL routing keys are:
//
//	one component:    | value |
//	several, for each:  | length, 2 bytes big endian | value | 0x00 |

// AppendPartitionKey serializes partition key values as CQL routing keys are: one component as it is; several each as
// length (2 bytes), bytes, 0x00. Nulls, (for one component) empty values, and components over 65535 bytes are errors.
func (t *Table) AppendPartitionKey(dst []byte, values [][]byte) ([]byte, error) {
	if len(values) != len(t.PartitionKey) {
		return nil, invalid("Partition key of %s.%s has %d columns, got %d values", t.Keyspace, t.Name, len(t.PartitionKey), len(values))
	}
	from := len(dst)
	for i, v := range values {
		if v == nil {
			return nil, invalid("Invalid null value in condition for column %s", t.PartitionKey[i].Name)
		}
		if len(v) > MaxKey {
			return nil, tooLong(len(v))
		}
		if len(values) == 1 {
			if len(v) == 0 {
				return nil, invalid("Key may not be empty: column %s", t.PartitionKey[i].Name)
			}
			return append(dst, v...), nil
		}
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(v)))
		dst = append(dst, v...)
		dst = append(dst, 0)
	}
	if n := len(dst) - from; n > MaxKey {
		return nil, tooLong(n)
	}
	return dst, nil
}

// PartitionKeyOf gives what AppendPartitionKey appends. A key of one column is its value itself, not a copy.
func (t *Table) PartitionKeyOf(values [][]byte) ([]byte, error) {
	if len(values) == 1 && len(t.PartitionKey) == 1 && len(values[0]) > 0 && len(values[0]) <= MaxKey {
		return slices.Clip(values[0]), nil
	}
	return t.AppendPartitionKey(nil, values)
}

func tooLong(n int) error {
	return invalid("Key length of %d is longer than maximum of %d", n, MaxKey)
}

// SplitPartitionKey gives the values back; they alias key. dst is reused.
func (t *Table) SplitPartitionKey(dst [][]byte, key []byte) ([][]byte, error) {
	dst = dst[:0]
	if len(t.PartitionKey) == 1 {
		return append(dst, key), nil
	}
	rest := key
	for range t.PartitionKey {
		if len(rest) < 3 {
			return nil, t.badKey(key)
		}
		n := int(binary.BigEndian.Uint16(rest))
		if len(rest) < n+3 || rest[n+2] != 0 {
			return nil, t.badKey(key)
		}
		dst = append(dst, rest[2:2+n:2+n])
		rest = rest[n+3:]
	}
	if len(rest) > 0 {
		return nil, t.badKey(key)
	}
	return dst, nil
}

func (t *Table) badKey(key []byte) error {
	return invalid("Partition key 0x%x does not have the %d components of %s.%s", key, len(t.PartitionKey), t.Keyspace, t.Name)
}

// AppendClustering encodes a prefix (or all) of the clustering values, order-preserving.
func (t *Table) AppendClustering(dst []byte, values [][]byte) ([]byte, error) {
	if len(values) > len(t.Clustering) {
		return nil, invalid("%s.%s has %d clustering columns, got %d values", t.Keyspace, t.Name, len(t.Clustering), len(values))
	}
	sum := 0
	for i, v := range values {
		c := t.Clustering[i]
		if v == nil {
			return nil, invalid("Invalid null value in condition for column %s", c.Name)
		}
		if sum += len(v); sum > MaxKey {
			return nil, invalid("The sum of all clustering columns is too long (%d > %d)", sum, MaxKey)
		}
		var err error
		if dst, err = c.Type.AppendKey(dst, v, c.Desc); err != nil {
			return nil, invalid("Invalid value for column %s: %v", c.Name, err)
		}
	}
	return dst, nil
}

// SplitClustering gives the values of an encoded clustering key back. dst is reused; values may alias key.
func (t *Table) SplitClustering(dst [][]byte, key []byte) ([][]byte, error) {
	dst, _, err := t.SplitClusteringInto(dst, nil, key)
	return dst, err
}

// SplitClusteringInto is SplitClustering without an allocation a value: what can't alias key is appended to arena,
// which is given back, grown.
func (t *Table) SplitClusteringInto(dst [][]byte, arena, key []byte) (values [][]byte, grown []byte, err error) {
	dst = dst[:0]
	for _, c := range t.Clustering {
		var v []byte
		if v, arena, key, err = c.Type.DecodeKeyInto(arena, key, c.Desc); err != nil {
			return nil, arena, invalid("Clustering key of %s.%s, column %s: %v", t.Keyspace, t.Name, c.Name, err)
		}
		dst = append(dst, v)
	}
	if len(key) > 0 {
		return nil, arena, invalid("Clustering key of %s.%s has %d bytes too many", t.Keyspace, t.Name, len(key))
	}
	return dst, arena, nil
}
