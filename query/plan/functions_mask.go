package plan

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"math/rand/v2"
	"strings"
	"unicode/utf8"

	"nodedb/query/types"
)

// hashes that mask_hash knows, by Java's names.
var hashes = map[string]func() hash.Hash{
	"MD5": md5.New, "SHA": sha1.New, "SHA-1": sha1.New, "SHA1": sha1.New, "SHA-224": sha256.New224, "SHA-256": sha256.New, "SHA-384": sha512.New384, "SHA-512": sha512.New,
	"SHA-512/224": sha512.New512_224, "SHA-512/256": sha512.New512_256,
}

func init() {
	registerFactory(&factory{name: "mask_null", params: []string{"any"}, make: func(kinds []*types.Type) *Function {
		return &Function{Result: kinds[0], Nulls: true, Call: func(*Env, *Expr, [][]byte) ([]byte, error) { return nil, nil }}
	}})
	registerFactory(&factory{name: "mask_default", params: []string{"any"}, make: func(kinds []*types.Type) *Function {
		masked := maskedValue(kinds[0])
		return &Function{Result: kinds[0], Nulls: true, Call: func(*Env, *Expr, [][]byte) ([]byte, error) { return masked, nil }}
	}})
	registerFactory(&factory{
		name: "mask_replace", params: []string{"any", "any"},
		want: func(i int, first *types.Type) *types.Type {
			if i == 1 {
				return first
			}
			return nil
		},
		make: func(kinds []*types.Type) *Function {
			return &Function{Result: kinds[0], Nulls: true, Call: func(_ *Env, _ *Expr, args [][]byte) ([]byte, error) { return args[1], nil }}
		},
	})
	registerFactory(&factory{
		name: "mask_hash", params: []string{"any", "text"}, optional: 1,
		want: func(i int, _ *types.Type) *types.Type {
			if i == 1 {
				return types.VarcharType
			}
			return nil
		},
		make: func([]*types.Type) *Function { return &Function{Result: types.BlobType, Nulls: true, Call: maskHash} },
	})
	registerPartial("mask_inner", true)
	registerPartial("mask_outer", false)
}

func maskHash(_ *Env, e *Expr, args [][]byte) ([]byte, error) {
	if args[0] == nil {
		return nil, nil
	}
	name := "SHA-256"
	if len(args) == 2 && args[1] != nil {
		name = string(args[1])
	}
	make, ok := hashes[strings.ToUpper(name)]
	if !ok {
		return nil, e.Errorf("Hash algorithm not found: %s", name)
	}
	h := make()
	h.Write(args[0])
	return h.Sum(nil), nil
}

// registerPartial adds mask_inner or mask_outer: (text, characters kept or masked at the beginning, at the end, [the padding]).
func registerPartial(name string, inner bool) {
	registerFactory(&factory{
		name: name, params: []string{"string", "int", "int", "text"}, optional: 1,
		check: func(i int, t *types.Type) string {
			if i == 0 && !t.IsText() {
				return "a text/varchar/ascii"
			}
			return ""
		},
		want: func(i int, _ *types.Type) *types.Type {
			return [...]*types.Type{nil, types.IntType, types.IntType, types.VarcharType}[i]
		},
		make: func(kinds []*types.Type) *Function {
			return &Function{Result: kinds[0], Nulls: true, Call: func(_ *Env, e *Expr, args [][]byte) ([]byte, error) {
				if args[0] == nil {
					return nil, nil
				}
				pad := []rune("*")
				if len(args) == 4 && args[3] != nil {
					if pad = []rune(string(args[3])); len(pad) != 1 {
						return nil, e.Errorf("The padding argument for function system.%s should be single-character, but '%s' has %d characters.", name, args[3], len(pad))
					}
				}
				return maskPart(args[0], margin(args[1]), margin(args[2]), pad[0], inner), nil
			}}
		},
	})
}

// margin reads a number of characters; null is none.
func margin(v []byte) int {
	if len(v) != 4 {
		return 0
	}
	return max(0, int(types.Int32(v)))
}

// maskPart replaces what lies between the margins (inner), or the margins themselves.
func maskPart(v []byte, begin, end int, pad rune, inner bool) []byte {
	text := []rune(string(v))
	out := make([]byte, 0, len(v))
	for i, r := range text {
		if between := i >= begin && i < len(text)-end; between == inner {
			r = pad
		}
		out = utf8.AppendRune(out, r)
	}
	return out
}

// maskedValue is what mask_default shows instead of a value of a type.
func maskedValue(t *types.Type) []byte {
	switch t.Kind {
	case types.Ascii, types.Varchar:
		return []byte("****")
	case types.Date:
		return types.AppendUint32(nil, types.DateCenter)
	case types.Timeuuid:
		id, err := types.MinTimeuuid(0)
		if err != nil {
			return nil
		}
		return id[:]
	case types.Decimal:
		return make([]byte, 5)
	case types.Duration:
		return make([]byte, 3)
	case types.List, types.Set, types.Map:
		return make([]byte, 4)
	case types.Boolean, types.Tinyint, types.Varint:
		return make([]byte, 1)
	case types.Smallint:
		return make([]byte, 2)
	case types.Int, types.Float, types.Inet:
		return make([]byte, 4)
	case types.Bigint, types.Counter, types.Double, types.Time, types.Timestamp:
		return make([]byte, 8)
	case types.UUID:
		return make([]byte, 16)
	case types.Tuple, types.UDT:
		values := make([][]byte, len(t.Elems))
		for i, e := range t.Elems {
			values[i] = maskedValue(e)
		}
		return buildValue(t, values)
	case types.Vector:
		values := make([][]byte, t.Dim)
		for i := range values {
			values[i] = maskedValue(t.Elems[0])
		}
		return buildValue(t, values)
	}
	return []byte{}
}

// randomVector is random_float_vector(dimension, min, max).
func randomVector(dim int, low, high float32) []byte {
	var out []byte
	for range dim {
		out = types.AppendFloat(out, low+rand.Float32()*(high-low))
	}
	return out
}
