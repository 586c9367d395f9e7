package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"nodedb/coordinator"
	"nodedb/coordinator/consistency"
	"nodedb/gossip/metalog"
	"nodedb/node/config"
	"nodedb/query/schema"
	"nodedb/vnodes"
)

// member is a node of a test.
func member(i int, state vnodes.NodeState, tokens ...vnodes.Token) vnodes.Node {
	return vnodes.Node{ID: vnodes.HostID{15: byte(i)}, Address: "10.0.0.1", DC: "dc1", Rack: "r1", Weight: len(tokens), State: state, Tokens: tokens}
}

// viewOf has a keyspace with a replication factor, and node 4 on the way in again after it has answered reads.
func viewOf(t *testing.T, factor string) *coordinator.View {
	t.Helper()
	ch := &schema.Change{Op: schema.CreateKeyspace, Keyspace: "k", Class: "SimpleStrategy", Replication: map[string]string{"replication_factor": factor}}
	catalog, _, err := schema.Empty().Apply(ch, 1)
	if err != nil {
		t.Fatal(err)
	}
	ring := vnodes.NewRing(2, []vnodes.Node{
		member(1, vnodes.StateNormal, 100), member(2, vnodes.StateNormal, 200), member(3, vnodes.StateNormal, 300), member(4, vnodes.StateJoining, 150),
	})
	return coordinator.NewView(2, ring, catalog)
}

// A member that is given up needn't answer; majorities of the others must have, of those that lose a range as of those that gain one.
func TestOwnersAppliedWithoutTheOneGivenUp(t *testing.T) {
	four := vnodes.HostID{15: 4}
	for name, c := range map[string]struct {
		factor  string
		applied []int
		given   vnodes.HostID
		ok      bool
	}{
		"all":                            {"3", []int{1, 2, 3, 4}, nobody, true},
		"joiner silent, and counted":     {"1", []int{1, 2, 3}, nobody, false},
		"joiner silent, given up":        {"1", []int{1, 2, 3}, four, true},
		"two copies, given up":           {"2", []int{1, 2, 3}, four, true},
		"three copies, given up":         {"3", []int{1, 2, 3}, four, true},
		"an old owner alone lacks it":    {"1", []int{1, 3}, four, false},
		"half of the new ones isn't it":  {"3", []int{1, 2}, four, false},
		"nobody has applied it":          {"3", nil, four, false},
		"the given up one's word is air": {"3", []int{1, 4}, four, false},
	} {
		applied := map[vnodes.HostID]bool{}
		for _, i := range c.applied {
			applied[vnodes.HostID{15: byte(i)}] = true
		}
		if err := ownersApplied(viewOf(t, c.factor), applied, c.given, 2); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What drivers are told where the metadata log names no target: each keyspace that differs.
func TestSchemaNewsOfASnapshot(t *testing.T) {
	build := func(names ...string) *schema.Catalog {
		c := schema.Empty()
		for i, name := range names {
			ch := &schema.Change{Op: schema.CreateKeyspace, Keyspace: name, Class: "SimpleStrategy", Replication: map[string]string{"replication_factor": "1"}}
			if name == "-" {
				ch = &schema.Change{Op: schema.DropKeyspace, Keyspace: names[0]}
			}
			next, _, err := c.Apply(ch, uint64(i+1))
			if err != nil {
				t.Fatal(err)
			}
			c = next
		}
		return c
	}
	two := build("a", "b")
	named := schema.Target{Kind: "UPDATED", Object: "TABLE", Keyspace: "a", Name: "t"}
	for name, c := range map[string]struct {
		before, now *schema.Catalog
		target      schema.Target
		want        map[schema.Target]bool
	}{
		"named":        {build(), two, named, map[schema.Target]bool{named: true}},
		"nothing":      {two, build("a", "b"), schema.Target{}, nil},
		"made":         {build("a"), two, schema.Target{}, map[schema.Target]bool{{Kind: "CREATED", Object: "KEYSPACE", Keyspace: "b"}: true}},
		"dropped":      {two, build("a", "b", "-"), schema.Target{}, map[schema.Target]bool{{Kind: "DROPPED", Object: "KEYSPACE", Keyspace: "a"}: true}},
		"made anew":    {two, build("a", "b", "-", "a"), schema.Target{}, map[schema.Target]bool{{Kind: "UPDATED", Object: "KEYSPACE", Keyspace: "a"}: true}},
		"all the same": {two, two, schema.Target{}, nil},
	} {
		got := schemaNews(c.before, c.now, c.target)
		for _, g := range got {
			if !c.want[g] {
				t.Errorf("%s: %+v", name, g)
			}
		}
		if len(got) != len(c.want) {
			t.Errorf("%s: %+v, want %v", name, got, c.want)
		}
	}
}

// startAlone runs a cluster of one, on an address of this test's own, with a keyspace of one copy.
func startAlone(t *testing.T) *Node {
	t.Helper()
	c := config.Default()
	c.Listen, c.Data = fmt.Sprintf("127.231.%d.1", 1+os.Getpid()%250), t.TempDir()
	n, err := Start(t.Context(), Options{
		Config: c, Logger: slog.New(slog.DiscardHandler), Progress: func(string) {}, Fatal: func(err error) { t.Errorf("the node stopped: %v", err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	ch := &schema.Change{Op: schema.CreateKeyspace, Keyspace: "k", Class: "SimpleStrategy", Replication: map[string]string{"replication_factor": "1"}}
	if _, _, err := n.cluster.ChangeSchema(t.Context(), ch); err != nil {
		t.Fatal(err)
	}
	return n
}

// A joiner that died is removed from every state on the way; from the last one by a step back, which a Remove whose time was up has made already.
func TestRemoveOfADeadJoiner(t *testing.T) {
	n := startAlone(t)
	for i, c := range []struct {
		steps   []vnodes.NodeState
		entries uint64 // that Remove takes
	}{
		{[]vnodes.NodeState{vnodes.StateWaiting}, 1},
		{[]vnodes.NodeState{vnodes.StateWaiting, vnodes.StateJoining}, 1},
		{[]vnodes.NodeState{vnodes.StateWaiting, vnodes.StateJoining, vnodes.StateJoiningRead}, 2},
		{[]vnodes.NodeState{vnodes.StateWaiting, vnodes.StateJoining, vnodes.StateJoiningRead, vnodes.StateJoining}, 1},
	} {
		dead := member(10+i, vnodes.StateWaiting)
		dead.Address, dead.Weight = n.Config.Listen+"0", 4 // nobody is there
		propose := func(e *metalog.Entry) {
			t.Helper()
			if _, _, err := n.log.Propose(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		propose(&metalog.Entry{Kind: metalog.EntryAddMember, Node: dead})
		for j, to := range c.steps[1:] {
			propose(&metalog.Entry{Kind: metalog.EntrySetState, Node: vnodes.Node{ID: dead.ID, State: to}, From: c.steps[j]})
		}
		before := n.log.State().Epoch
		ctx, cancel := context.WithTimeout(t.Context(), removeTimeout)
		if err := n.Remove(ctx, dead.ID); err != nil {
			t.Errorf("%v: %v", c.steps, err)
		}
		cancel()
		st := n.log.State()
		if _, still := st.Member(dead.ID); still || st.Epoch != before+c.entries {
			t.Errorf("%v: still a member: %v; %d entries, want %d", c.steps, still, st.Epoch-before, c.entries)
		}
	}
	if err := n.Remove(t.Context(), n.cluster.self); !errors.Is(err, metalog.ErrInvalid) {
		t.Errorf("a normal member: %v", err)
	}
}

// A new owner has to read what any quorum acknowledged: from a quorum of the old owners, or from all where there are fewer than that.
func TestANewOwnerStreamsFromAQuorum(t *testing.T) {
	local := vnodes.Replication{Datacenters: map[string]int{"dc1": 3}}
	for _, c := range []struct {
		owners int
		rep    vnodes.Replication
		want   consistency.Level
	}{
		{3, vnodes.Replication{Factor: 3}, consistency.Quorum}, {2, vnodes.Replication{Factor: 3}, consistency.Quorum},
		{1, vnodes.Replication{Factor: 3}, consistency.One}, {1, vnodes.Replication{Factor: 1}, consistency.Quorum},
		{2, vnodes.Replication{Factor: 5}, consistency.Two}, {3, local, consistency.EachQuorum}, {1, local, consistency.One},
	} {
		var owners []*vnodes.Node
		for i := range c.owners {
			n := member(i+1, vnodes.StateNormal, vnodes.Token(100*i))
			owners = append(owners, &n)
		}
		if got := streamLevel(&vnodes.Replicas{Old: owners, New: owners}, c.rep, "dc1"); got != c.want {
			t.Errorf("%d owners, %+v: %v, want %v", c.owners, c.rep, got, c.want)
		}
	}
}
