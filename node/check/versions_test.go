package check

import "testing"

// TestVersionsJudge plays hand-made histories of one key: what must be accepted, and what must not.
func TestVersionsJudge(t *testing.T) {
	write := func(v *versions, o Outcome) { v.wrote(v.next(), o) }
	for _, tc := range []struct {
		name string
		play func(v *versions) (rule, why string)
		want string
	}{
		{"nothing written, nothing read", func(v *versions) (string, string) { return v.read(v.begin(), 0) }, ""},
		{"acknowledged, read", func(v *versions) (string, string) {
			write(v, Done)
			return v.read(v.begin(), 1)
		}, ""},
		{"acknowledged, not read", func(v *versions) (string, string) {
			write(v, Done)
			return v.read(v.begin(), 0)
		}, "stale"},
		{"the one before is read", func(v *versions) (string, string) {
			write(v, Done)
			write(v, Done)
			return v.read(v.begin(), 1)
		}, "stale"},
		{"acknowledged after the read began", func(v *versions) (string, string) {
			f := v.begin()
			write(v, Done)
			return v.read(f, 0)
		}, ""},
		{"unknown, not read", func(v *versions) (string, string) {
			write(v, Done)
			write(v, Unknown)
			return v.read(v.begin(), 1)
		}, ""},
		{"unknown, read", func(v *versions) (string, string) {
			write(v, Done)
			write(v, Unknown)
			return v.read(v.begin(), 2)
		}, ""},
		{"unknown, before one that is acknowledged", func(v *versions) (string, string) {
			write(v, Unknown)
			write(v, Done)
			return v.read(v.begin(), 1)
		}, "stale"},
		{"refused, read", func(v *versions) (string, string) {
			write(v, Refused)
			return v.read(v.begin(), 1)
		}, "refused"},
		{"never written", func(v *versions) (string, string) {
			write(v, Done)
			return v.read(v.begin(), 2)
		}, "invented"},
		{"read back and forth, acknowledged meanwhile", func(v *versions) (string, string) {
			n := v.next()
			v.read(v.begin(), n)
			f := v.begin()
			v.wrote(n, Done)
			return v.read(f, 0)
		}, "backwards"},
		{"an unknown write is read and then not", func(v *versions) (string, string) {
			write(v, Unknown)
			v.read(v.begin(), 1)
			return v.read(v.begin(), 0)
		}, RuleUnhappened},
		{"reads at one time may differ", func(v *versions) (string, string) {
			n := v.next()
			a, b := v.begin(), v.begin()
			v.read(a, n)
			return v.read(b, 0)
		}, ""},
	} {
		if rule, why := tc.play(newVersions(1)); rule != tc.want {
			t.Errorf("%s: %q (%s), want %q", tc.name, rule, why, tc.want)
		}
	}
}
