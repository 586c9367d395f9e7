package node

import (
	"context"
	"errors"
	"net/http"
	"time"

	"nodedb/gossip/metalog"
	"nodedb/query"
	"nodedb/query/httpapi"
	"nodedb/query/wire"
	"nodedb/vnodes"
)

// errStarting is what /readyz says until the node answers requests, and again while it drains.
var errStarting = errors.New("the node is starting or draining")

// errRefilling is what /readyz says while memory tables get their rows back: who restarts nodes one by one has to wait for it. Where they wait for
// nodes that are down, the node is ready all the same.
var errRefilling = errors.New("memory tables are being refilled from the other replicas")

// newWeb makes the HTTP door.
func (n *Node) newWeb(engine *query.Engine) *httpapi.Server {
	return httpapi.New(httpapi.Options{
		Engine: engine, Catalog: n.cluster.Catalog, Metrics: n.metrics.Handler(), Logger: n.logger,
		Ring: func(context.Context) (httpapi.Ring, error) { return n.Status(), nil },
		Ready: func() error {
			switch {
			case !n.ready.Load():
				return errStarting
			case n.Refilling() && !n.pending.blocked.Load():
				return errRefilling
			}
			return nil
		},
		Extra: n.adminRoutes(),
	})
}

// adminRoutes are what people and `nodedb` commands ask a node besides queries.
func (n *Node) adminRoutes() []httpapi.Extra {
	const lines = "Answers a line of JSON for each look at the progress. The last has ended, and with verify=true the first 1,000 differences. Who goes away ends the repair."
	return []httpapi.Extra{
		{Route: httpapi.Route{Method: http.MethodGet, Path: "/v1/replica/{keyspace}/{table}", ID: "replica", Summary: "What this node itself holds of a table",
			Answer: Checksum{}, Errors: []int{400, 500, 503}}, Handler: n.replicaChecksum},
		{Route: httpapi.Route{Method: http.MethodDelete, Path: "/v1/ring/{host_id}", ID: "remove", Summary: "Remove a dead node from the ring",
			Answer: httpapi.Ring{}, Errors: []int{400, 403, 500, 503}}, Handler: n.removeMember},
		{Route: httpapi.Route{Method: http.MethodGet, Path: "/v1/repair", ID: "repairStatus", Summary: "Since when the replicas of each range agree",
			Answer: RepairStatus{}}, Handler: n.repairStatus},
		{Route: httpapi.Route{Method: http.MethodPost, Path: "/v1/repair/{keyspace}/{table}", ID: "repair", Summary: "Compare all replicas of a table now, and repair them",
			Description: lines, Line: RepairProgress{}, Errors: []int{400, 403}}, Handler: n.repairTable,
			Switches: map[string]string{"verify": "Repair nothing, only say what differs"}},
	}
}

// replicaChecksum answers /v1/replica/KEYSPACE/TABLE: what this node itself holds, to hold replicas against each other.
func (n *Node) replicaChecksum(w http.ResponseWriter, r *http.Request) {
	sum, err := n.Checksum(r.Context(), r.PathValue("keyspace"), r.PathValue("table"))
	switch {
	case errors.Is(err, ErrNoTable):
		httpapi.Refuse(w, wire.Errorf(wire.CodeInvalid, "%v", err))
	case err != nil:
		httpapi.Refuse(w, err)
	default:
		httpapi.Reply(w, sum)
	}
}

// removeTimeout bounds a removal, which waits for other nodes. The command waits a little longer.
const removeTimeout = 20 * time.Second

// removeMember answers DELETE /v1/ring/HOST_ID.
func (n *Node) removeMember(w http.ResponseWriter, r *http.Request) {
	id, err := vnodes.ParseHostID(r.PathValue("host_id"))
	if err == nil {
		ctx, cancel := context.WithTimeout(r.Context(), removeTimeout)
		defer cancel()
		err = n.Remove(ctx, id)
	}
	switch {
	case errors.Is(err, metalog.ErrInvalid), errors.Is(err, vnodes.ErrHostID):
		httpapi.Refuse(w, wire.Errorf(wire.CodeInvalid, "%v", err))
	case err != nil:
		httpapi.Refuse(w, err)
	default:
		httpapi.Reply(w, n.Status())
	}
}
