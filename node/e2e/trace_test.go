package e2e

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"nodedb/coordinator/consistency"
	"nodedb/node/proc"
	"nodedb/query/wire"
)

// TestTrace: a trace names all replicas that were asked, and shows what each did, through the node that coordinated and through any other.
func TestTrace(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	client := dial(t, c.Nodes[0])
	exec1(t, client, "CREATE KEYSPACE tr"+simpleRF3, "CREATE TABLE tr.t (k int PRIMARY KEY, v text)")

	events := traced(t, client, "INSERT INTO tr.t (k, v) VALUES (1, 'x')")
	for _, n := range c.Nodes[1:] {
		wantEvent(t, events, c.Nodes[0].Address, "Sending WRITE of 1 mutation(s) to /"+n.Address)
	}
	wantEvent(t, events, c.Nodes[0].Address, "The write is answered")
	wantReplicas(t, events, "Applied 1 mutation(s)", 2)

	events = traced(t, client, "SELECT * FROM tr.t WHERE k = 1")
	asked := askedReplicas(t, events)
	if len(asked) != 2 {
		t.Errorf("QUORUM asked %q", asked)
	}
	for _, address := range asked {
		wantEvent(t, events, address, "Read 1 row(s)")
		wantEvent(t, events, c.Nodes[0].Address, "answered by /"+address)
	}
	if got := wantReplicas(t, events, "Read 1 row(s)", 2); !slices.Equal(got, asked) {
		t.Errorf("%q were asked, %q read", asked, got)
	}

	kill(t, c.Nodes[2])
	awaitDown(t, c.Nodes[0], 2)
	events = traced(t, client, "INSERT INTO tr.t (k, v) VALUES (1, 'y')")
	wantEvent(t, events, c.Nodes[0].Address, "Leaving 1 hint(s) for /"+c.Nodes[2].Address)

	// A driver asks whichever node it likes.
	s := gocqlSession(t, c.Nodes[0], "tr")
	for range 4 {
		var out bytes.Buffer
		if err := s.Query("SELECT * FROM t WHERE k = 1").Consistency(gocql.Quorum).Trace(gocql.NewTraceWriter(s, &out)).Exec(); err != nil {
			t.Fatal(err)
		}
		if strings.Count(out.String(), "Read 1 row(s)") != 2 {
			t.Errorf("gocql shows\n%s", out.String())
		}
	}
}

type traceEvent struct{ source, activity string }

// traced runs a statement at QUORUM, and gives its trace as the node that coordinated it shows it at once.
func traced(t *testing.T, c *wire.Client, statement string) (events []traceEvent) {
	t.Helper()
	ctx := deadline(t, wait)
	res, err := c.Trace(ctx, statement, &wire.Params{Consistency: uint16(consistency.Quorum)})
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	p := &wire.Params{Consistency: uint16(consistency.One), Values: [][]byte{res.TraceID[:]}}
	session, err := c.Query(ctx, "SELECT duration, started_at, parameters['query'] FROM system_traces.sessions WHERE session_id = ?", p)
	if err != nil || !session.Next() {
		t.Fatalf("%s: no session (%v)", statement, err)
	}
	if row := session.Row(); row[0] == nil || row[1] == nil || string(row[2]) != statement {
		t.Errorf("%s: session %q", statement, row)
	}
	res, err = c.Query(ctx, "SELECT source, activity FROM system_traces.events WHERE session_id = ?", p)
	if err != nil {
		t.Fatal(err)
	}
	for res.Next() {
		row := res.Row()
		source, _ := netip.AddrFromSlice(row[0])
		events = append(events, traceEvent{source.String(), string(row[1])})
	}
	return events
}

func wantEvent(t *testing.T, events []traceEvent, source, activity string) {
	t.Helper()
	if !slices.ContainsFunc(events, func(e traceEvent) bool { return e.source == source && strings.Contains(e.activity, activity) }) {
		t.Errorf("no %q on %s in\n%v", activity, source, events)
	}
}

// wantReplicas gives the nodes on which something was done; at least so many.
func wantReplicas(t *testing.T, events []traceEvent, activity string, least int) (sources []string) {
	t.Helper()
	for _, e := range events {
		if strings.HasPrefix(e.activity, activity) {
			sources = append(sources, e.source)
		}
	}
	slices.Sort(sources)
	if sources = slices.Compact(sources); len(sources) < least {
		t.Errorf("%q only on %q in\n%v", activity, sources, events)
	}
	return sources
}

// askedReplicas are those that the coordinator says it asks.
func askedReplicas(t *testing.T, events []traceEvent) (asked []string) {
	t.Helper()
	for _, e := range events {
		if _, list, ok := strings.Cut(e.activity, "digests of the others:"); ok {
			for _, name := range strings.Fields(list) {
				asked = append(asked, strings.TrimPrefix(name, "/"))
			}
		}
	}
	slices.Sort(asked)
	return asked
}

// awaitDown waits until a node sees only so many up.
func awaitDown(t *testing.T, n *proc.Node, up int) {
	t.Helper()
	allUp(t, deadline(t, wait), n, up)
}
