package bench

import (
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// The distributions of keys.
const (
	uniform  = "uniform"
	zipfian  = "zipfian" // of theta 0.99, the favourites spread over all rows
	latest   = "latest"  // zipfian from the newest row back
	theta    = 0.99
	maxAhead = 1 << 16 // inserts that ended before an older one did
)

var distributions = []string{uniform, zipfian, latest}

// rowSpace numbers the rows: which is next to be inserted, and below which all are there. Safe for concurrent use.
type rowSpace struct {
	next atomic.Int64
	low  atomic.Int64 // all rows below have been acknowledged
	mu   struct {
		sync.Mutex
		ahead map[int64]struct{} // acknowledged rows at or above low
	}
}

func newRowSpace(rows int64) *rowSpace {
	s := &rowSpace{}
	s.next.Store(rows)
	s.low.Store(rows)
	s.mu.ahead = map[int64]struct{}{}
	return s
}

// acknowledged says that row n is there. One that failed is never called so: then low stays, and reads with it.
func (s *rowSpace) acknowledged(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mu.ahead) >= maxAhead {
		return
	}
	s.mu.ahead[n] = struct{}{}
	low := s.low.Load()
	for {
		if _, ok := s.mu.ahead[low]; !ok {
			break
		}
		delete(s.mu.ahead, low)
		low++
	}
	s.low.Store(low)
}

// chooser draws the numbers of rows that exist. Not safe for concurrent use.
type chooser struct {
	kind  string
	space *rowSpace
	rows  int64 // written before: what uniform and zipfian draw from
	rng   *rand.Rand
	zipf  zipf
}

func newChooser(kind string, space *rowSpace, rows int64, rng *rand.Rand) *chooser {
	c := &chooser{kind: kind, space: space, rows: rows, rng: rng}
	if kind != uniform {
		c.zipf.grow(rows)
	}
	return c
}

func (c *chooser) draw() int64 {
	switch c.kind {
	case zipfian:
		return int64(mix(uint64(c.zipf.draw(c.rng))) % uint64(c.rows))
	case latest:
		n := c.space.low.Load()
		c.zipf.grow(n)
		return n - 1 - c.zipf.draw(c.rng)
	default:
		return c.rng.Int64N(c.rows)
	}
}

// zipf draws ranks from 0 by Gray et al., "Quickly generating billion-record synthetic databases" (SIGMOD 1994), as YCSB does.
type zipf struct {
	n                        int64
	zetaN, zeta2, alpha, eta float64
}

// grow takes in ranks up to n.
func (z *zipf) grow(n int64) {
	if n <= z.n {
		return
	}
	for i := z.n + 1; i <= n; i++ {
		z.zetaN += 1 / math.Pow(float64(i), theta)
	}
	z.n = n
	z.zeta2 = 1 + math.Pow(0.5, theta)
	z.alpha = 1 / (1 - theta)
	z.eta = (1 - math.Pow(2/float64(n), 1-theta)) / (1 - z.zeta2/z.zetaN)
}

func (z *zipf) draw(rng *rand.Rand) int64 {
	u := rng.Float64()
	switch uz := u * z.zetaN; {
	case uz < 1 || z.n < 2:
		return 0
	case uz < z.zeta2 || z.n == 2:
		return 1
	}
	return min(int64(float64(z.n)*math.Pow(z.eta*u-z.eta+1, z.alpha)), z.n-1)
}
