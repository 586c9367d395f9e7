// Package fault owns named fault points: places in production code where a test can make an operation fail, stall or
// crash. They are always compiled in, so that what ships is what was tested, and cost one atomic load and a predictable
// branch while off: 1.9 ns (BenchmarkHitOff, 2.8 ns, less BenchmarkLoop, 0.9 ns: medians of six on shared cores, at ab992ac). A write makes at most five Hits
// on a node, 10 ns of its 27 µs of CPU (node/bench/FINDINGS.md). Only tests switch them on.
// Planted bugs (Planted), the mistakes that tests have to catch, are compiled in by a build tag alone. It imports nothing of nodedb. Start
// reading at Point.
package fault

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// Point is one named place. Declare it as a package variable beside the code it guards:
//
//	var walSync = fault.New("storage/wal-sync")
//
//	if err := walSync.Hit(); err != nil { … }
//
// Safe for concurrent use.
type Point struct {
	name string
	on   atomic.Bool // false in production, for ever
	act  atomic.Pointer[func() error]
}

// registry of all points of the process. Points are package variables, so it is complete before main starts.
var registry struct {
	sync.Mutex
	points map[string]*Point
}

// New registers a point. Names are "package/what"; a name given twice is a bug and panics when the process starts.
func New(name string) *Point {
	registry.Lock()
	defer registry.Unlock()
	if registry.points == nil {
		registry.points = make(map[string]*Point)
	}
	if _, taken := registry.points[name]; taken {
		panic(fmt.Sprintf("fault: the point %q is declared twice", name))
	}
	p := &Point{name: name}
	registry.points[name] = p
	return p
}

// Name is what the point was registered as.
func (p *Point) Name() string { return p.name }

// Hit gives nil, or what the test that switched the point on wants to happen here.
func (p *Point) Hit() error {
	if !p.on.Load() {
		return nil
	}
	return p.fire()
}

// fire is apart from Hit so that Hit is inlined.
func (p *Point) fire() error {
	act := p.act.Load()
	if act == nil { // switched off between the two loads
		return nil
	}
	return (*act)()
}

// Enable has act called at each Hit of the named point, from whatever goroutine hits it, until the returned function is
// called or another Enable replaces it. For tests only. An unknown name is an error: a fault that never fires proves
// nothing.
func Enable(name string, act func() error) (disable func(), err error) {
	registry.Lock()
	p := registry.points[name]
	registry.Unlock()
	if p == nil {
		return nil, fmt.Errorf("fault: no point is named %q; fault.Names lists them", name)
	}
	own := &act
	p.act.Store(own)
	p.on.Store(true)
	return func() {
		if p.act.CompareAndSwap(own, nil) {
			p.on.Store(false)
		}
	}, nil
}

// Names lists all points of the process, in order.
func Names() []string {
	registry.Lock()
	defer registry.Unlock()
	names := make([]string, 0, len(registry.points))
	for name := range registry.points {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
