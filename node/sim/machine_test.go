package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"nodedb/gossip"
	"nodedb/node"
	"nodedb/node/config"
	"nodedb/node/disk"
	"nodedb/node/rpc"
	"nodedb/node/rpc/simnet"
)

const storagePort = 7000

func ip(i int) string      { return fmt.Sprintf("10.0.0.%d", i) }
func address(i int) string { return fmt.Sprintf("%s:%d", ip(i), storagePort) }

// machine is one computer: its disk outlives its incarnations.
type machine struct {
	w    *world
	i    int // from 1
	disk *simDisk
	skew time.Duration // of its wall clock

	mu struct {
		sync.Mutex
		life    *life // nil: off
		born    int   // incarnations so far
		closed  bool  // it stays off
		asleep  time.Time
		waiting int       // how many wait for it to wake
		late    bool      // hears no epochs
		ended   time.Time // the last incarnation
		doomed  *life     // a fault breaks its disk: it may stop by itself
		cut     disk.Cut  // what its disk keeps then
	}
}

func newMachine(w *world, i int) *machine {
	m := &machine{w: w, i: i}
	m.disk = newDisk(m)
	return m
}

// life is one incarnation of a machine's node.
type life struct {
	m       *machine
	number  int
	fs      *lifeFS
	net     *simnet.Node
	members *members
	cancel  context.CancelFunc // of the start
	started chan struct{}      // closed when Start has returned
	gone    chan struct{}      // closed when nothing of it counts any more

	requests sync.WaitGroup                  // of clients
	gossip   atomic.Pointer[simnet.Endpoint] // nil: gossip isn't memberlist's, or has not begun

	mu struct {
		sync.Mutex
		node *node.Node // once started
		err  error      // why it didn't
		dead error      // why nothing of it counts any more
		ids  uint64     // given
		rand uint64     // drawn
	}
}

// turnOn starts the machine's node in the background, unless it is on.
func (m *machine) turnOn() {
	m.mu.Lock()
	if m.mu.life != nil || m.mu.closed {
		m.mu.Unlock()
		return
	}
	m.mu.born++
	l := &life{m: m, number: m.mu.born, started: make(chan struct{}), gone: make(chan struct{})}
	m.mu.life = l
	m.mu.Unlock()
	l.fs = m.disk.mount(l)
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	m.w.history.say("machine %d: incarnation %d starts", m.i, l.number)
	m.w.lives.Go(func() {
		defer close(l.started)
		n, err := node.Start(ctx, l.options())
		l.mu.Lock()
		l.mu.node, l.mu.err = n, err
		l.mu.Unlock()
		if err != nil && l.deadBy() != nil {
			err = errPower // what its start was doing then depends on which of two channels it looked at
		}
		m.w.history.say("machine %d: incarnation %d started: %v", m.i, l.number, err)
		if err != nil && l.deadBy() == nil {
			m.exited(l)
		}
	})
}

// options are those of the product's own start.
func (l *life) options() node.Options {
	w := l.m.w
	return node.Options{
		Config: l.m.config(), FS: l.fs, Logger: w.logger(l.m.i, l.number), Release: "sim", Progress: func(string) {}, Fatal: l.fatal,
		Host: node.Host{
			Transport: l.listen, Membership: l.join, Listen: func(string) (net.Listener, error) { return newDoor(), nil },
			NewID: l.newID, Random: l.random, Wall: func() time.Time { return time.Now().Add(l.m.skew) },
		},
	}
}

// startAgain is how soon a process that ended by itself is started again, as service managers do.
const startAgain = time.Second

// exited takes a process that ended by itself for what it is, and starts it again.
func (m *machine) exited(l *life) {
	m.mu.Lock()
	cut := disk.Cut{Keep: 100}
	doomed := m.mu.doomed == l
	if doomed {
		cut = m.mu.cut
	}
	m.mu.Unlock()
	if m.crashed(l, cut) && !doomed {
		m.w.lives.Go(func() {
			time.Sleep(startAgain + time.Duration(m.i))
			m.turnOn()
		})
	}
}

// expect says that a fault breaks an incarnation's disk, and what is left of the disk then.
func (m *machine) expect(l *life, cut disk.Cut) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.doomed, m.mu.cut = l, cut
}

// fails reports whether a fault breaks an incarnation's disk.
func (m *machine) fails(l *life) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.doomed == l
}

// sleep takes the machine's CPU away from its clients' requests.
func (m *machine) sleep(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.asleep, m.mu.waiting = time.Now().Add(d), 0
}

// awake returns when the machine has a CPU: to one after the other, for goroutines that wake at one instant run in any order.
func (m *machine) awake() {
	m.mu.Lock()
	d := time.Until(m.mu.asleep)
	if d > 0 {
		m.mu.waiting++
		d += time.Duration(m.mu.waiting)
	}
	m.mu.Unlock()
	time.Sleep(d)
}

// config is the configuration of the machine's node.
func (m *machine) config() *config.Config {
	c := config.Default()
	c.Listen, c.Data, c.ClusterName = ip(m.i), "/data", "sim"
	for i := range m.w.conf.founders() {
		c.Join = append(c.Join, ip(i+1))
	}
	c.CacheSize = 8 << 20
	m.w.conf.apply(m.i, c)
	return c
}

func (l *life) listen(addr string, o rpc.Options) (node.Transport, error) {
	l.net = l.m.w.net.Open(addr, o.Identity)
	if l.m.w.logs {
		return loud{l.net, l}, nil
	}
	return l.net, nil
}

func (l *life) join(o gossip.Options) (node.Membership, error) {
	if l.m.w.family.memberlist {
		o.Wire = l.wire
		return gossip.Start(o)
	}
	l.members = joinMembers(l, o)
	return l.members, nil
}

// wire is gossip's way to the other nodes.
func (l *life) wire(address string, packet func(string, []byte), stream func(net.Conn)) gossip.Wire {
	e := l.m.w.net.Listen(address, packet, stream)
	l.gossip.Store(e)
	if l.deadBy() != nil {
		e.Close()
	}
	return e
}

// newID gives ids that differ between machines, incarnations and calls.
func (l *life) newID() (id [16]byte) {
	l.mu.Lock()
	l.mu.ids++
	n := l.mu.ids
	l.mu.Unlock()
	h := hash(l.m.w.seed, "id", l.m.i, l.number, n)
	binary.BigEndian.PutUint64(id[:], h)
	binary.BigEndian.PutUint64(id[8:], hash(h, "low"))
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id
}

func (l *life) random(n int) int {
	l.mu.Lock()
	l.mu.rand++
	x := l.mu.rand
	l.mu.Unlock()
	return int(hash(l.m.w.seed, "random", l.m.i, l.number, x) % uint64(n))
}

// errPower says that the machine lost its power or its process was killed.
var errPower = errors.New("the machine is off")

// die makes the incarnation count for nothing from here on: no answer of it reaches a node or a client. It calls nothing of the product and may be called
// from anywhere.
func (l *life) die(why error) bool {
	l.mu.Lock()
	first := l.mu.dead == nil
	if first {
		l.mu.dead = why
	}
	l.mu.Unlock()
	if first {
		close(l.gone)
		if l.net != nil {
			l.net.Crash()
		}
		if e := l.gossip.Load(); e != nil {
			e.Close()
		}
	}
	return first
}

func (l *life) deadBy() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.dead
}

// fatal is what the product calls when its process has to end.
func (l *life) fatal(err error) {
	w := l.m.w
	if l.deadBy() != nil {
		return
	}
	w.history.say("machine %d: incarnation %d can't go on: %v", l.m.i, l.number, err)
	if !l.m.fails(l) {
		w.fail("machine %d stopped by itself: %v", l.m.i, err)
	}
	l.m.exited(l)
}

// bury takes down what is left of an incarnation; it does not wait.
func (l *life) bury() {
	l.m.w.lives.Go(func() {
		l.cancel()
		<-l.started
		l.requests.Wait()
		if n := l.running(); n != nil {
			_ = n.Close(context.Background()) // its disk may fail it
		}
	})
}

// crash is kill -9 or a power loss at this very moment: the disk keeps what cut leaves. false: it was off.
func (m *machine) crash(cut disk.Cut) bool {
	l := m.alive()
	return l != nil && m.crashed(l, cut)
}

// crashed is crash for an incarnation, if it is the present one.
func (m *machine) crashed(l *life, cut disk.Cut) bool {
	m.mu.Lock()
	if m.mu.life != l {
		m.mu.Unlock()
		return false
	}
	m.mu.life, m.mu.ended = nil, time.Now()
	m.mu.Unlock()
	m.disk.crash(cut)
	l.die(errPower)
	l.bury()
	return true
}

// off stops the node as an operator does, and waits.
func (m *machine) off() error {
	m.mu.Lock()
	l := m.mu.life
	m.mu.life, m.mu.ended = nil, time.Now()
	m.mu.Unlock()
	if l == nil {
		return nil
	}
	m.w.history.say("machine %d: stopped", m.i)
	l.cancel()
	<-l.started
	l.requests.Wait()
	var err error
	if n := l.running(); n != nil {
		err = n.Close(context.Background())
	}
	l.die(errPower)
	return err
}

// running gives the node once it has started, nil before and when it did not.
func (l *life) running() *node.Node {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.node
}

// alive gives the present incarnation, nil when the machine is off.
func (m *machine) alive() *life {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.life
}

// door is a client's door that nobody ever comes in by: sessions run statements in process.
type door struct {
	closed chan struct{}
	once   sync.Once
}

func newDoor() *door { return &door{closed: make(chan struct{})} }

func (d *door) Accept() (net.Conn, error) {
	<-d.closed
	return nil, net.ErrClosed
}

func (d *door) Close() error {
	d.once.Do(func() { close(d.closed) })
	return nil
}

func (d *door) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1} }

// loud is a node's transport in a run that says all: its history has what was sent, too, and when.
type loud struct {
	*simnet.Node
	l *life
}

func (t loud) Send(c *rpc.Call) {
	t.l.m.w.history.say("%s sends %s %s %x", t.Addr(), c.To.Addr, c.Verb, c.Body)
	t.Node.Send(c)
}
