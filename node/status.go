package node

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"nodedb/query/httpapi"
	"nodedb/vnodes"
)

// statusTimeout is how long a status waits for each node's report.
const statusTimeout = 2 * time.Second

// Status is the cluster as one node sees it: what `nodedb status --json` and /v1/ring print.
type Status = httpapi.Ring

// Status asks every live member for its load and hints, and puts the cluster together.
func (n *Node) Status() Status {
	st := n.log.State()
	s := Status{Cluster: st.Name, Epoch: st.Epoch, Nodes: make([]httpapi.RingNode, len(st.Members))}
	pending, lost := map[string]int64{}, map[string]int64{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range st.Members {
		m := &st.Members[i]
		s.Nodes[i] = httpapi.RingNode{
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
			s.Nodes[i].LoadBytes, s.Nodes[i].OpenBatches = r.Load, r.Batches
			for id, count := range r.Hints {
				pending[id] += count
			}
			for id, count := range r.Lost {
				lost[id] += count
			}
		})
	}
	all.Wait()
	for i := range s.Nodes {
		s.Nodes[i].PendingHints, s.Nodes[i].LostHints = pending[s.Nodes[i].HostID], lost[s.Nodes[i].HostID]
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

// PrintStatus writes a status as a table.
func PrintStatus(w io.Writer, s *Status) {
	fmt.Fprintf(w, "Cluster %s, metadata epoch %d\n", s.Cluster, s.Epoch)
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"state", "address", "dc", "rack", "tokens", "load", "hints for it", "lost", "host id"})
	for _, n := range s.Nodes {
		t.AppendRow(table.Row{n.State, n.Address, n.DC, n.Rack, n.Tokens, bytesText(n.LoadBytes), n.PendingHints, n.LostHints, n.HostID})
	}
	t.Render()
}

// bytesText writes a size as people read it.
func bytesText(b uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(b), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", b)
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}
