package node

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"nodedb/antientropy"
	"nodedb/coordinator"
	"nodedb/gossip/metalog"
	"nodedb/node/clock"
	"nodedb/node/rpc"
	"nodedb/node/trace"
	"nodedb/query/native"
	"nodedb/query/schema"
	"nodedb/query/virtual"
	"nodedb/vnodes"
)

// agreementTimeout is how long a schema change waits for the live nodes to apply it before it is answered anyway.
const agreementTimeout = 5 * time.Second

// cluster is what coordinator, replica and query know of the cluster: the newest view, who is alive, the metadata log.
type cluster struct {
	self        vnodes.HostID
	name        string
	release     string
	storagePort int
	nativePort  int
	view        atomic.Pointer[coordinator.View]
	members     atomic.Pointer[Membership] // nil until gossip runs
	addrs       sync.Map                   // of nodes' RPC, by their addresses
	log         *metalog.Log
	transport   rpc.Transport
	clock       *clock.HLC
	coordinator *coordinator.Coordinator
	repairer    *antientropy.Repairer
	admission   coordinator.Admission
	traces      *trace.Recorder
	settings    map[string]string
	door        atomic.Pointer[native.Server] // nil until it is open
	waits       sync.WaitGroup                // goroutines of Await
}

// View is the newest view applied here.
func (c *cluster) View() *coordinator.View { return c.view.Load() }

// Catalog is the newest schema applied here.
func (c *cluster) Catalog() *schema.Catalog { return c.view.Load().Catalog }

// Alive reports whether gossip believes a node up; before gossip runs only oneself is.
func (c *cluster) Alive(id vnodes.HostID) bool {
	if id == c.self {
		return true
	}
	m := c.members.Load()
	return m != nil && (*m).Alive(id)
}

// Peer gives a node's RPC address: all nodes use one port. Each request to another node asks, so what was joined is kept.
func (c *cluster) Peer(n *vnodes.Node) rpc.Peer {
	if addr, ok := c.addrs.Load(n.Address); ok {
		return rpc.Peer{ID: n.ID, Addr: addr.(string)}
	}
	addr := net.JoinHostPort(n.Address, strconv.Itoa(c.storagePort))
	c.addrs.Store(n.Address, addr)
	return rpc.Peer{ID: n.ID, Addr: addr}
}

// Await calls done once epoch is applied here.
func (c *cluster) Await(ctx context.Context, from rpc.Peer, epoch uint64, done func(error)) {
	if c.View().Epoch >= epoch {
		done(nil)
		return
	}
	c.waits.Add(1)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), untilOf(ctx))
	go func() {
		defer c.waits.Done()
		defer cancel()
		done(c.log.WaitFor(ctx, from, epoch))
	}()
}

// untilOf is the time left of ctx, at most a write's.
func untilOf(ctx context.Context) time.Duration {
	if d, ok := ctx.Deadline(); ok {
		return min(time.Until(d), agreementTimeout)
	}
	return agreementTimeout
}

// Write and Read are the coordinator's.
func (c *cluster) Write(ctx context.Context, r *coordinator.WriteRequest, done func(error)) {
	c.coordinator.Write(ctx, r, done)
}

// Read gives one page.
func (c *cluster) Read(ctx context.Context, r *coordinator.ReadRequest, done func(page []byte, err error)) {
	c.coordinator.Read(ctx, r, done)
}

// ReadNow gives a page that is at hand.
func (c *cluster) ReadNow(r *coordinator.ReadRequest, buf []byte) (page []byte, ok bool) {
	return c.coordinator.ReadNow(r, buf)
}

// ChangeSchema has a change decided; it returns when it is applied here and the live nodes have applied it, or agreementTimeout later. The warning names
// the nodes that have not.
func (c *cluster) ChangeSchema(ctx context.Context, ch *schema.Change) (target schema.Target, warning string, err error) {
	st, target, err := c.log.Propose(ctx, &metalog.Entry{Kind: metalog.EntrySchema, Change: ch.Append(nil)})
	if err != nil {
		return schema.Target{}, "", err
	}
	wait, cancel := context.WithTimeout(ctx, agreementTimeout)
	defer cancel()
	slow, down := c.agree(wait, st)
	return target, disagreement(ch.Op, slow, down), nil
}

// agree waits until the live members have applied a state's epoch. It gives the addresses of those that have not, and of those that are not asked
// because they are believed down.
func (c *cluster) agree(ctx context.Context, st *metalog.State) (slow, down []string) {
	var all sync.WaitGroup
	failed := make([]bool, len(st.Members))
	for i := range st.Members {
		n := &st.Members[i].Node
		switch {
		case n.ID == c.self:
		case !c.Alive(n.ID):
			down = append(down, n.Address)
		default:
			all.Add(1)
			c.askApplied(ctx, n, st.Epoch, func(err error) {
				failed[i] = err != nil
				all.Done()
			})
		}
	}
	all.Wait()
	for i := range st.Members {
		if failed[i] {
			slow = append(slow, st.Members[i].Address)
		}
	}
	return slow, down
}

// disagreement is the warning to a client whose change is decided but not applied everywhere. Nodes that are down apply it before they answer again;
// they matter where data goes with the old schema, for it may be only from here that they are down.
func disagreement(op schema.Op, slow, down []string) string {
	destroys := op == schema.TruncateTable || op == schema.DropTable || op == schema.DropKeyspace
	late := slices.Clone(slow)
	if destroys {
		for _, address := range down {
			late = append(late, address+" (down)")
		}
	}
	if len(late) == 0 {
		return ""
	}
	who := "nodes have"
	if len(late) == 1 {
		who = "node has"
	}
	text := fmt.Sprintf("The change is decided, but %d %s not applied it yet: %s.", len(late), who, namesOf(late))
	if destroys {
		text += " What is written through them until they do may be acknowledged and go with the old data."
	}
	return text
}

// namesOf lists the first ten.
func namesOf(list []string) string {
	const most = 10
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}

// Traces are what traced requests did.
func (c *cluster) Traces() *trace.Recorder { return c.traces }

// Timestamp stamps a write, µs.
func (c *cluster) Timestamp() int64 { return c.clock.Now() }

// Seconds is now for TTLs.
func (c *cluster) Seconds() int64 { return c.clock.Seconds() }

// Clients are those of this node's CQL door.
func (c *cluster) Clients() []virtual.Client {
	if door := c.door.Load(); door != nil {
		return door.Clients()
	}
	return nil
}

// Settings are this node's.
func (c *cluster) Settings() map[string]string { return c.settings }

// Topology describes the cluster for the system tables.
func (c *cluster) Topology() virtual.Topology {
	v := c.View()
	t := virtual.Topology{ClusterName: c.name, ReleaseVersion: c.release, Self: c.self, Ring: v.Ring, NativePort: c.nativePort}
	for _, n := range v.Ring.Nodes() {
		t.Nodes = append(t.Nodes, virtual.NodeInfo{Node: n, Up: c.Alive(n.ID)})
	}
	return t
}
