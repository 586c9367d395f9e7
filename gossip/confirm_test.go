package gossip

import (
	"encoding/hex"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// deathOf is memberlist's packet that says that a node is dead, as its incarnation 1,000.
func deathOf(t *testing.T, m *Members, of int) []byte {
	t.Helper()
	const hasLabel, dead = 244, 5 // memberlist's types of messages
	word, err := msgpack.Marshal(struct {
		Incarnation uint32
		Node, From  string
	}{1000, hostID(of).String(), hostID(99).String()})
	if err != nil {
		t.Fatal(err)
	}
	label := hex.EncodeToString(m.opts.ClusterID[:])
	return slices.Concat([]byte{hasLabel, byte(len(label))}, []byte(label), []byte{dead}, word)
}

// doubted is how often somebody was said to be dead.
func (v *view) doubted() uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.mu.number
}

// FAULTS.md row 34: in 11 virtual hours one node without processor buried a healthy one. Its word reaches all before anybody can object.
func TestAWordOfDeathIsChecked(t *testing.T) {
	inBubble(t, 3, func(b *bench) {
		wire := b.net.Listen("10.9.0.1:7001", func(string, []byte) {}, func(c net.Conn) { _ = c.Close() })
		defer wire.Close()
		say := func() {
			for _, to := range []string{"10.1.0.1:7001", "10.1.0.3:7001"} {
				if err := wire.Send(to, deathOf(t, b.nodes[1], 2)); err != nil {
					t.Fatal(err)
				}
			}
		}
		say()
		b.await(time.Second, "the word to arrive", func() bool { return b.nodes[1].view.doubted() > 0 })
		b.await(5*time.Second, "node 2 to object", func() bool { return len(b.nodes[1].view.up()) == 2 })
		b.Lock()
		told := slices.Contains(b.events, "2 10.1.0.2 false")
		b.Unlock()
		if told {
			t.Errorf("node 1 was told that node 2, which answers, is down: %q", b.events)
		}
		b.kill(2)
		took := b.await(4*time.Second, "its death to be seen", func() bool { return b.agree(3) })
		t.Logf("a death after a wrong word was seen after %v", took)
	})
}
