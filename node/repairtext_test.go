package node

import (
	"strings"
	"testing"
)

// Replicas that were not compared are not called equal.
func TestPrintRepairSaysNoMoreThanItSaw(t *testing.T) {
	for _, p := range []RepairProgress{{Ranges: 3, Done: 3}, {Ranges: 3, Done: 3, Problems: []string{"10.0.0.3 is down"}}} {
		var out strings.Builder
		PrintRepair(&out, &p, true)
		if got, want := strings.Contains(out.String(), "the replicas are equal"), len(p.Problems) == 0; got != want {
			t.Errorf("with problems %v: %s", p.Problems, out.String())
		}
	}
}
