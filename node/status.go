package node

import (
	"sync"
	"time"

	"nodedb/vnodes"
)

// statusTimeout is how long a status waits for each node's report.
const statusTimeout = 2 * time.Second

// Status is the cluster as one node sees it: what `nodedb status --json` and /v1/ring print.
type Status struct {
	Cluster string       `json:"cluster"`
	Epoch   uint64       `json:"epoch"`
	Nodes   []NodeStatus `json:"nodes"`
}

// NodeStatus is one member. PendingHints are those that wait, on all nodes that answered, to be delivered to it.
type NodeStatus struct {
	HostID       string `json:"host_id"`
	Address      string `json:"address"`
	DC           string `json:"dc"`
	Rack         string `json:"rack"`
	State        string `json:"state"` // up, down, joining or leaving
	Tokens       int    `json:"tokens"`
	LoadBytes    uint64 `json:"load_bytes"`
	PendingHints int64  `json:"pending_hints"`
}

// Status asks every live member for its load and hints, and puts the cluster together.
func (n *Node) Status() Status {
	st := n.log.State()
	s := Status{Cluster: st.Name, Epoch: st.Epoch, Nodes: make([]NodeStatus, len(st.Members))}
	pending := map[string]int64{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range st.Members {
		m := &st.Members[i]
		s.Nodes[i] = NodeStatus{
			HostID: m.ID.String(), Address: m.Address, DC: m.DC, Rack: m.Rack, State: n.stateOf(&m.Node), Tokens: len(m.Tokens),
		}
		all.Add(1)
		n.askStatus(&m.Node, statusTimeout, func(r report, err error) {
			mu.Lock()
			defer mu.Unlock()
			defer all.Done()
			if err != nil {
				return
			}
			s.Nodes[i].LoadBytes = r.Load
			for id, count := range r.Hints {
				pending[id] += count
			}
		})
	}
	all.Wait()
	for i := range s.Nodes {
		s.Nodes[i].PendingHints = pending[s.Nodes[i].HostID]
	}
	return s
}

func (n *Node) stateOf(m *vnodes.Node) string {
	if !n.cluster.Alive(m.ID) {
		return "down"
	}
	switch m.State {
	case vnodes.StateJoining, vnodes.StateJoiningRead, vnodes.StateWaiting:
		return "joining"
	case vnodes.StateLeaving, vnodes.StateLeavingRead:
		return "leaving"
	}
	return "up"
}
