package gossip

import (
	"net"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"nodedb/vnodes"
)

// A word of death is believed by everybody, and may be wrong: a node that gets no processor for seconds suspects whom it could not hear, buries them, and says
// both at once when it wakes up, before anybody can object. So a node that is said to be dead is asked by each node itself. As long as it answers it is up: it
// hears of its death within a round of gossip and objects.

// asks are the pings at once that one who is said to be dead has to leave unanswered, all of them: at 5% of packets lost three are, once in a thousand times.
const asks = 3

// doubt keeps a node up that is said to be dead until it doesn't answer. It is called under memberlist's lock and the view's, so it only begins.
func (m *Members) doubt(id vnodes.HostID, number uint64, n memberlist.Node) {
	addr := &net.UDPAddr{IP: n.Addr, Port: int(n.Port)}
	m.wg.Go(func() {
		for m.answers(n.Name, addr) {
			select {
			case <-m.stop:
				return
			case <-time.After(m.opts.Timing.Probe):
			}
			if !m.view.doubts(id, number) {
				return // it objected, or it died again
			}
		}
		m.view.died(id, number)
	})
}

// answers reports whether a node answers one of a few pings within Timing.ProbeTimeout.
func (m *Members) answers(name string, addr net.Addr) bool {
	var wg sync.WaitGroup
	var answered [asks]bool
	for i := range answered {
		wg.Go(func() {
			_, err := m.list.Ping(name, addr)
			answered[i] = err == nil
		})
	}
	wg.Wait()
	return answered != [asks]bool{}
}
