package plan

import (
	"time"

	"nodedb/query/types"
)

// shiftOperator moves a date or a timestamp (or an integer that stands for one) by a duration, there (+) or back (-).
func shiftOperator(x *Expr, op byte, a *types.Type) func(a, b []byte) ([]byte, error) {
	sign := int64(1)
	if op == '-' {
		sign = -1
	}
	switch a.Kind {
	case types.Date, types.Int:
		x.Type = types.DateType
		return func(l, r []byte) ([]byte, error) {
			d, err := types.DecodeDuration(r)
			if err == nil && d.Nanos != 0 {
				err = mathError("The duration must have a day precision. Was: " + string(d.AppendText(nil)))
			}
			if err != nil {
				return nil, err
			}
			return types.AppendUint32(nil, types.DateOfTime(shift(types.DateTime(types.Uint32(l)), sign, d))), nil
		}
	case types.Timestamp, types.Bigint:
		x.Type = types.TimestampType
		return func(l, r []byte) ([]byte, error) {
			d, err := types.DecodeDuration(r)
			if err == nil && d.Nanos%int64(time.Millisecond) != 0 {
				err = mathError("The duration must have a millisecond precision. Was: " + string(d.AppendText(nil)))
			}
			if err != nil {
				return nil, err
			}
			return types.AppendTimestamp(nil, shift(types.DecodeTimestamp(l), sign, d)), nil
		}
	}
	return nil
}

// shift moves by months, then days, then time. A month that lacks the day ends at its last.
func shift(t time.Time, sign int64, d types.DurationValue) time.Time {
	if d.Months != 0 {
		day := t.Day()
		first := t.AddDate(0, 0, 1-day).AddDate(0, int(sign)*int(d.Months), 0)
		t = first.AddDate(0, 0, min(day, first.AddDate(0, 1, -1).Day())-1)
	}
	return t.AddDate(0, 0, int(sign)*int(d.Days)).Add(time.Duration(sign * d.Nanos))
}
