package gossip

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"nodedb/vnodes"
)

const (
	// firstJoins and roundJoins bound how many nodes are tried at once: at the start, when nobody is seen yet, and
	// later. One that answers is enough, gossip does the rest.
	firstJoins = 16
	roundJoins = 4
	// maxPeers bounds the stored peer list.
	maxPeers = 1024
)

// rejoin tries, round after round, members and former peers that are not seen. memberlist forgets a dead node after
// Timing.ToTheDead, and then two halves of a cluster never find each other again by themselves.
func (m *Members) rejoin(known map[vnodes.HostID]string) {
	ticker := time.NewTicker(m.opts.Timing.Rejoin)
	defer ticker.Stop()
	stored := encodePeers(known)
	next := 0
	for limit := firstJoins; ; limit = roundJoins {
		targets := m.unseen(known)
		n := min(limit, len(targets))
		m.join(targets, next, n)
		next += n
		select {
		case <-m.stop:
			return
		case <-ticker.C:
		}
		stored = m.remember(known, stored)
	}
}

// join tries n of the targets at once, from the next-th on.
func (m *Members) join(targets []string, next, n int) {
	var wg sync.WaitGroup
	for i := range n {
		addr := targets[(next+i)%len(targets)]
		wg.Go(func() {
			if _, err := m.list.Join([]string{addr}); err != nil {
				m.opts.Logger.Debug("gossip: node not reached", "address", addr, "error", err)
			}
		})
	}
	wg.Wait()
}

// members are the metadata log's, without ourselves; nil before there are any.
func (m *Members) members() map[vnodes.HostID]string {
	if m.opts.Members == nil {
		return nil
	}
	all := maps.Clone(m.opts.Members())
	delete(all, m.opts.Self)
	return all
}

// unseen gives the addresses to try, sorted. Seeds and stored peers count only until the metadata log has members:
// whoever left must be left alone.
func (m *Members) unseen(known map[vnodes.HostID]string) []string {
	up := m.view.up()
	seen := map[string]bool{m.own(): true}
	for _, addr := range up {
		seen[m.withPort(addr)] = true
	}
	var targets []string
	try := func(id vnodes.HostID, addr string) {
		addr = m.withPort(addr)
		if _, isUp := up[id]; !isUp && !seen[addr] {
			seen[addr] = true
			targets = append(targets, addr)
		}
	}
	members := m.members()
	for id, addr := range members {
		try(id, addr)
	}
	if len(members) == 0 {
		for id, addr := range known {
			try(id, addr)
		}
		for _, addr := range m.opts.Seeds {
			try(vnodes.HostID{}, addr)
		}
	}
	slices.Sort(targets)
	return targets
}

func (m *Members) own() string {
	self := m.list.LocalNode()
	return net.JoinHostPort(self.Addr.String(), strconv.Itoa(int(self.Port)))
}

// withPort adds the gossip port, which all nodes of a cluster share, to an IP without one.
func (m *Members) withPort(addr string) string {
	if _, _, err := net.SplitHostPort(addr); err == nil {
		return addr
	}
	return net.JoinHostPort(addr, strconv.Itoa(m.Port()))
}

// remember keeps who is up in the stored peer list, and forgets who is no member any more.
func (m *Members) remember(known map[vnodes.HostID]string, stored []byte) []byte {
	members := m.members()
	if len(members) > 0 {
		m.view.forget(members)
		m.news.forget()
		maps.DeleteFunc(known, func(id vnodes.HostID, _ string) bool { _, ok := members[id]; return !ok })
	}
	for id, addr := range m.view.up() {
		if _, ok := known[id]; ok || len(known) < maxPeers {
			known[id] = addr
		}
	}
	value := encodePeers(known)
	if m.opts.Store == nil || bytes.Equal(value, stored) {
		return stored
	}
	if err := m.opts.Store.PutPeers(value); err != nil {
		m.opts.Logger.Warn("gossip: peer list not stored; trying again", "error", err)
		return stored
	}
	return value
}

func compareIDs(x, y vnodes.HostID) int { return bytes.Compare(x[:], y[:]) }

// The stored peer list, sorted by host id:
//
//	| version u8 = 1 | (host id 16 B | length u8 | address) … |
const peersVersion = 1

var errPeers = errors.New("gossip: the stored peer list is damaged or of a newer nodedb")

func encodePeers(peers map[vnodes.HostID]string) []byte {
	b := []byte{peersVersion}
	ids := slices.SortedFunc(maps.Keys(peers), compareIDs)
	for _, id := range ids {
		addr := peers[id]
		if len(addr) > 255 {
			continue
		}
		b = append(b, id[:]...)
		b = append(append(b, byte(len(addr))), addr...)
	}
	return b
}

func decodePeers(b []byte) (map[vnodes.HostID]string, error) {
	peers := map[vnodes.HostID]string{}
	if len(b) == 0 {
		return peers, nil
	}
	if b[0] != peersVersion {
		return nil, fmt.Errorf("%w: version %d", errPeers, b[0])
	}
	for b = b[1:]; len(b) > 0; {
		if len(b) < 17 || len(b) < 17+int(b[16]) || len(peers) == maxPeers {
			return nil, fmt.Errorf("%w: %d bytes too many", errPeers, len(b))
		}
		end := 17 + int(b[16])
		peers[vnodes.HostID(b[:16])] = string(b[17:end])
		b = b[end:]
	}
	return peers, nil
}

func loadPeers(s Store) (map[vnodes.HostID]string, error) {
	if s == nil {
		return map[vnodes.HostID]string{}, nil
	}
	raw, err := s.GetSystem(PeersKey)
	if err != nil {
		return nil, fmt.Errorf("gossip: read the peer list: %w", err)
	}
	return decodePeers(raw)
}
