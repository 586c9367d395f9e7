package plan

import (
	"testing"

	"nodedb/query/types"
)

// Decimals are computed as Java's BigDecimal computes them, scales too: corners that no script of query/conform has.
func TestDecimals(t *testing.T) {
	for _, c := range []struct{ a, op, b, want string }{
		{"1", "/", "3", "0.33333333333333333333333333333333"}, {"2", "/", "3", "0.66666666666666666666666666666667"}, {"-2", "/", "3", "-0.66666666666666666666666666666667"},
		{"100", "/", "1", "1E+2"}, {"0", "/", "5", "0"}, {"5", "/", "2.50", "2"}, {"1", "/", "8", "0.125"},
		{"12.50", "/", "300.0", "0.041666666666666666666666666666667"}, {"1E+3", "+", "1", "1001"}, {"1.10", "+", "1.1", "2.20"}, {"1.5", "*", "2.00", "3.000"},
		{"7.0", "%", "12.50", "7.0"}, {"25.0", "%", "12.50", "0.00"}, {"250", "%", "12.50", "0.0"}, {"-7", "%", "3", "-1"},
	} {
		a, errA := types.ParseDecimal(c.a)
		b, errB := types.ParseDecimal(c.b)
		v, err := decimals(c.op[0], a, b)
		if got := string(types.DecimalType.AppendText(nil, v)); errA != nil || errB != nil || err != nil || got != c.want {
			t.Errorf("%s %s %s is %s (%v), want %s", c.a, c.op, c.b, got, err, c.want)
		}
	}
	for text, want := range map[string]string{"1E+3": "-1E+3", "12": "-12", "0.00": "0.00"} {
		v, err := types.DecimalType.ParseText(text)
		if got := string(types.DecimalType.AppendText(nil, negated(types.DecimalType, v))); err != nil || got != want {
			t.Errorf("-(%s) is %s, want %s", text, got, want)
		}
	}
	zero, _ := types.DoubleType.ParseText("0.0")
	if got := string(types.DoubleType.AppendText(nil, negated(types.DoubleType, zero))); got != "-0" {
		t.Errorf("-(0.0) is %s", got)
	}
}
