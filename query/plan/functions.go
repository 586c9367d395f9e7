package plan

import (
	"strings"
	"time"

	"nodedb/query/types"
)

var scalarTypes = []*types.Type{
	types.AsciiType, types.BigintType, types.BooleanType, types.CounterType, types.DecimalType, types.DoubleType, types.FloatType, types.IntType,
	types.TimestampType, types.UUIDType, types.VarcharType, types.VarintType, types.TimeuuidType, types.InetType, types.DateType, types.TimeType,
	types.SmallintType, types.TinyintType, types.DurationType,
}

// named registers one function under its snake-case name and, as Cassandra before 5 wrote them, without the
// underscores.
func named(f Function) {
	register(&f)
	if old := strings.ReplaceAll(f.Name, "_", ""); old != f.Name {
		g := f
		g.Name = old
		register(&g)
	}
}

func init() {
	registerTime()
	for _, t := range scalarTypes {
		registerBlob(t, t.String())
	}
	registerBlob(types.VarcharType, "varchar")
}

// registerBlob adds typeAsBlob and blobAsType.
func registerBlob(t *types.Type, name string) {
	named(Function{Name: name + "_as_blob", Args: []*types.Type{t}, Result: types.BlobType, Call: same})
	named(Function{Name: "blob_as_" + name, Args: []*types.Type{types.BlobType}, Result: t,
		Call: func(_ *Env, e *Expr, args [][]byte) ([]byte, error) {
			if err := t.Validate(args[0]); err != nil {
				return nil, e.Errorf("In call to function %s, value 0x%x is not a valid binary representation for type %s", e.Func.Name, args[0], t)
			}
			return args[0], nil
		}})
}

func same(_ *Env, _ *Expr, args [][]byte) ([]byte, error) { return args[0], nil }

func registerTime() {
	none := []*types.Type{}
	millis := func(env *Env) int64 { return env.Sources.Now().UnixMilli() }
	timeuuid := func(env *Env, _ *Expr, _ [][]byte) ([]byte, error) {
		id := env.Sources.Timeuuid()
		return id[:], nil
	}
	register(
		&Function{Name: "now", Args: none, Result: types.TimeuuidType, Call: timeuuid},
		&Function{Name: "uuid", Args: none, Result: types.UUIDType, Call: func(env *Env, _ *Expr, _ [][]byte) ([]byte, error) {
			id := env.Sources.UUID()
			return id[:], nil
		}},
	)
	named(Function{Name: "current_timeuuid", Args: none, Result: types.TimeuuidType, Call: timeuuid})
	named(Function{Name: "current_timestamp", Args: none, Result: types.TimestampType, Call: func(env *Env, _ *Expr, _ [][]byte) ([]byte, error) {
		return types.AppendInt64(nil, millis(env)), nil
	}})
	named(Function{Name: "current_date", Args: none, Result: types.DateType, Call: func(env *Env, _ *Expr, _ [][]byte) ([]byte, error) {
		return types.AppendUint32(nil, types.DateOfTime(env.Sources.Now().UTC())), nil
	}})
	named(Function{Name: "current_time", Args: none, Result: types.TimeType, Call: func(env *Env, _ *Expr, _ [][]byte) ([]byte, error) {
		now := env.Sources.Now().UTC()
		return types.AppendInt64(nil, int64(now.Sub(now.Truncate(24*time.Hour)))), nil
	}})
	for _, arg := range []*types.Type{types.TimeuuidType, types.TimestampType, types.DateType} {
		registerConversions(arg)
	}
	bound := func(f func(int64) ([16]byte, error)) func(*Env, *Expr, [][]byte) ([]byte, error) {
		return func(_ *Env, e *Expr, args [][]byte) ([]byte, error) {
			id, err := f(types.Int64(args[0]))
			if err != nil {
				return nil, e.Errorf("%s: %v", e.Func.Name, err)
			}
			return id[:], nil
		}
	}
	named(Function{Name: "min_timeuuid", Args: []*types.Type{types.TimestampType}, Result: types.TimeuuidType, Call: bound(types.MinTimeuuid)})
	named(Function{Name: "max_timeuuid", Args: []*types.Type{types.TimestampType}, Result: types.TimeuuidType, Call: bound(types.MaxTimeuuid)})
}

// registerConversions adds to_timestamp, to_date and to_unix_timestamp of one type of time.
func registerConversions(arg *types.Type) {
	one := []*types.Type{arg}
	if arg != types.TimestampType {
		named(Function{Name: "to_timestamp", Args: one, Result: types.TimestampType, Call: toMillis})
	}
	if arg != types.DateType {
		named(Function{Name: "to_date", Args: one, Result: types.DateType, Call: func(_ *Env, e *Expr, args [][]byte) ([]byte, error) {
			ms, ok := unixMillis(e.Func.Args[0], args[0])
			if !ok {
				return nil, nil
			}
			return types.AppendUint32(nil, dayOfMillis(ms)), nil
		}})
	}
	named(Function{Name: "to_unix_timestamp", Args: one, Result: types.BigintType, Call: toMillis})
}

func toMillis(_ *Env, e *Expr, args [][]byte) ([]byte, error) {
	ms, ok := unixMillis(e.Func.Args[0], args[0])
	if !ok {
		return nil, nil
	}
	return types.AppendInt64(nil, ms), nil
}

// unixMillis reads a timeuuid, timestamp or date as milliseconds since 1970.
func unixMillis(t *types.Type, v []byte) (ms int64, ok bool) {
	if len(v) == 0 {
		return 0, false
	}
	switch t.Kind {
	case types.Timeuuid:
		return types.TimeuuidTime(v).UnixMilli(), true
	case types.Date:
		return types.DateTime(types.Uint32(v)).UnixMilli(), true
	}
	return types.Int64(v), true
}

// dayOfMillis is the date of a time, ms since 1970. As in Cassandra, the day before 1970 is cut to 1970 where it isn't whole, and what is out of range wraps.
func dayOfMillis(ms int64) uint32 { return uint32(ms/(24*time.Hour).Milliseconds() + types.DateCenter) }
