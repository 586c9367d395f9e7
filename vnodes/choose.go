package vnodes

import (
	"cmp"
	"math"
	"slices"
)

// Bounds of ChooseTokens' search: it tries so many sets of tokens, and only on rings up to so many tokens, where it
// takes milliseconds. On larger rings chance evens replicas out by itself.
const (
	chooseTries     = 32
	chooseTryTokens = 2048
	chooseFactor    = 3 // the replication that ownership is evened out for, besides 1
)

// ChooseTokens picks n tokens for a new node such that ownership stays even: it takes its fair share of the ring in n
// pieces, each from a large range of the node of its DC that owns most for its number of tokens. Deterministic in the
// ring and seed. Ascending. The first node of a DC gets evenly spaced tokens.
//
// Plain halving of the largest ranges, the obvious way, is even only when the number of nodes is a power of two: the
// fifth of five nodes gets half of what it should. And what is even with one replica isn't with three, where a node
// also owns the ranges before its own; so on small rings, where it shows, several choices are tried and the evenest is
// kept.
func ChooseTokens(r *Ring, dc string, n int, seed uint64) []Token {
	c := newChooser(r, dc)
	if c.tokens == 0 {
		return c.spaced(n, seed)
	}
	tries := 1
	if c.tokens <= chooseTryTokens {
		tries = chooseTries
	}
	var best []Token
	lowest := math.Inf(1)
	for try := range tries {
		tokens := c.clone().choose(n, fmix(seed+uint64(try)))
		if tries == 1 {
			return tokens
		}
		if cost := c.unevenness(tokens); cost < lowest {
			best, lowest = tokens, cost
		}
	}
	return best
}

// chooser is the part of the ring that one DC's nodes would own among themselves.
type chooser struct {
	used   map[Token]bool // in any DC
	nodes  []Node         // of the DC, as if nobody were moving, and without racks
	tokens int
	donors []donor // by host id
}

// donor is a node with its ranges, which shrink as they are cut.
type donor struct {
	owned  float64
	tokens int
	ranges []span
}

// span is the range (start, start+width]. Widths are below 2^64: a DC with a single token has 2^64-1, close enough.
type span struct {
	start Token
	width uint64
}

func newChooser(r *Ring, dc string) *chooser {
	c := &chooser{used: make(map[Token]bool, len(r.new.tokens))}
	for _, p := range []*points{r.old, r.new} {
		for _, t := range p.tokens {
			c.used[t] = true
		}
	}
	for _, n := range r.nodes {
		if n.DC == dc && n.State.inNew() && len(n.Tokens) > 0 {
			c.nodes = append(c.nodes, Node{ID: n.ID, Tokens: n.Tokens})
			c.tokens += len(n.Tokens)
		}
	}
	if c.tokens == 0 {
		return c
	}
	c.donors = make([]donor, len(c.nodes))
	alone := NewRing(0, c.nodes).old
	prev := alone.tokens[len(alone.tokens)-1]
	for i, t := range alone.tokens {
		width := uint64(t) - uint64(prev) // wraps as the ring does
		if t == prev {
			width = math.MaxUint64
		}
		d := &c.donors[alone.owner[i]]
		d.ranges = append(d.ranges, span{prev, width})
		d.owned += float64(width)
		d.tokens++
		prev = t
	}
	return c
}

func (c *chooser) clone() *chooser {
	copied := *c
	copied.donors = slices.Clone(c.donors)
	for i := range copied.donors {
		copied.donors[i].ranges = slices.Clone(copied.donors[i].ranges)
	}
	return &copied
}

// spaced gives evenly spaced tokens, turned by the seed.
func (c *chooser) spaced(n int, seed uint64) []Token {
	var tokens []Token
	step := math.MaxUint64 / uint64(max(n, 1))
	for i := range n {
		tokens = c.take(tokens, Token(fmix(seed)+uint64(i)*step))
	}
	slices.Sort(tokens)
	return tokens
}

func (c *chooser) choose(n int, seed uint64) []Token {
	var tokens []Token
	fair := math.Exp2(64) / float64(c.tokens+n)
	for i := range n {
		tokens = c.take(tokens, c.cut(fair, fmix(seed+uint64(i))))
	}
	slices.Sort(tokens)
	return tokens
}

// take adds t, or the next token that nobody has.
func (c *chooser) take(tokens []Token, t Token) []Token {
	for t == MinToken || c.used[t] || slices.Contains(tokens, t) {
		t++
	}
	return append(tokens, t)
}

// cut takes a piece of about the given width from the start of a large range of the node that owns most, and gives the
// token that owns the piece. random picks among that node's larger ranges.
func (c *chooser) cut(width float64, random uint64) Token {
	most := 0
	for i := range c.donors {
		if a, b := &c.donors[i], &c.donors[most]; a.owned/float64(a.tokens) > b.owned/float64(b.tokens) {
			most = i
		}
	}
	d := &c.donors[most]
	slices.SortFunc(d.ranges, func(a, b span) int {
		return cmp.Or(cmp.Compare(b.width, a.width), cmp.Compare(a.start, b.start))
	})
	s := &d.ranges[random%uint64((len(d.ranges)+1)/2)]
	piece := uint64(min(width, float64(s.width)*0.75))
	t := s.start + Token(piece)
	d.owned -= float64(piece)
	s.start, s.width = t, s.width-piece
	return t
}

// unevenness is how far the node that owns most would lie above the mean, with one replica and with chooseFactor.
func (c *chooser) unevenness(tokens []Token) float64 {
	ring := NewRing(0, append(slices.Clone(c.nodes), Node{ID: HostID{0xff}, Tokens: tokens}))
	cost := 0.0
	for _, factor := range []int{1, chooseFactor} {
		cost += ring.Unevenness(Replication{Factor: factor})
	}
	return cost
}

// Unevenness is what the node that owns most for its number of tokens owns, as a multiple of the mean; 1 is even. Nodes
// without tokens don't count.
func (r *Ring) Unevenness(rep Replication) float64 {
	owned := make(map[HostID]float64, len(r.nodes))
	for _, rr := range r.Place(rep).Ranges() {
		for _, n := range rr.Replicas.New {
			owned[n.ID] += float64(uint64(rr.Range.End) - uint64(rr.Range.Start))
		}
	}
	sum, most, tokens := 0.0, 0.0, 0
	for _, n := range r.nodes {
		if o, ok := owned[n.ID]; ok {
			sum += o
			most = max(most, o/float64(len(n.Tokens)))
			tokens += len(n.Tokens)
		}
	}
	if sum == 0 {
		return 1
	}
	return most / (sum / float64(tokens))
}
