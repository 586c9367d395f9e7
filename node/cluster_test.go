package node

import (
	"fmt"
	"strings"
	"testing"

	"nodedb/query/schema"
)

func TestDisagreementNamesTheNodes(t *testing.T) {
	var many []string
	for i := range 12 {
		many = append(many, fmt.Sprint("10.0.0.", i))
	}
	for _, c := range []struct {
		op         schema.Op
		slow, down []string
		want       string // begins so; "": no warning
		loses      bool
	}{
		{schema.CreateTable, nil, nil, "", false},
		{schema.CreateTable, nil, []string{"10.0.0.3"}, "", false},
		{schema.CreateTable, []string{"10.0.0.2"}, []string{"10.0.0.3"}, "The change is decided, but 1 node has not applied it yet: 10.0.0.2.", false},
		{schema.TruncateTable, []string{"10.0.0.2"}, []string{"10.0.0.3"},
			"The change is decided, but 2 nodes have not applied it yet: 10.0.0.2, 10.0.0.3 (down).", true},
		{schema.DropTable, nil, []string{"10.0.0.3"}, "The change is decided, but 1 node has not applied it yet: 10.0.0.3 (down).", true},
		{schema.DropKeyspace, many, nil, "The change is decided, but 12 nodes have not applied it yet: 10.0.0.0,", true},
	} {
		got := disagreement(c.op, c.slow, c.down)
		if c.want == "" && got != "" || !strings.HasPrefix(got, c.want) || strings.Contains(got, "go with the old data") != c.loses {
			t.Errorf("op %d, %v, %v: %q", c.op, c.slow, c.down, got)
		}
		if len(c.slow) > 10 && !strings.Contains(got, "10.0.0.9 and 2 more") {
			t.Errorf("%q", got)
		}
	}
}
