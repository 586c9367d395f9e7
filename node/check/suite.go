package check

import (
	"context"
	"fmt"
	"sync"
	"time"

	"nodedb/coordinator/consistency"
)

const (
	// setupAttempts and setupPause bound how long Setup and Check go on asking: a final read that fails so often is a violation.
	finalAttempts = 60
	finalPause    = 500*time.Millisecond + 1
	// finalPage is the page size of final reads, in rows.
	finalPage = 1000
)

// Options of a suite.
type Options struct {
	Seed        uint64
	Keyspace    string            // default check
	Replication string            // default SimpleStrategy, three replicas
	Level       consistency.Level // of writes. Default QUORUM
	Read        consistency.Level // of reads: replicas that answer one are among those of any acknowledged write. Default Level
	Sessions    int               // default 6
	Think       time.Duration     // mean pause of a session between two operations, as the sum of random halves; 0: none
	Vary        bool              // some writes go at ALL, some at ONE; at ONE an acknowledged write counts as one of unknown outcome
	Reread      bool              // every other read of a register is followed by another through the next node, at once
	Timeout     time.Duration     // of one statement, more than the server's own; default 30 s
	Steps       int               // operations of a session in one Run; 0: until the context ends
	Slack       time.Duration     // how far apart clocks may be, for what expires; default 2 s. Rows get TTLs of one to three times that
	Workloads   []string          // by name, see Names; nil: Names()
}

func (o Options) withDefaults() Options {
	if o.Keyspace == "" {
		o.Keyspace = "check"
	}
	if o.Replication == "" {
		o.Replication = "{'class': 'SimpleStrategy', 'replication_factor': 3}"
	}
	if o.Level == consistency.Any {
		o.Level = consistency.Quorum
	}
	if o.Read == consistency.Any {
		o.Read = o.Level
	}
	if o.Sessions <= 0 {
		o.Sessions = 6
	}
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Slack <= 0 {
		o.Slack = 2 * time.Second
	}
	if o.Workloads == nil {
		o.Workloads = Names()
	}
	return o
}

// Rules that a Violation may name besides a workload's own.
const (
	// RuleUnhappened: a read saw a write that had not been acknowledged, and a later read didn't. Accepted with periodic syncs, where replicas
	// may lose what they showed, and of reads at ONE; a violation everywhere else.
	RuleUnhappened = "unhappened"
	// RuleBackwards: the same, of a write that was acknowledged meanwhile. Accepted of reads at ONE.
	RuleBackwards = "backwards"
	// RuleUnreadable: a final read failed again and again, though everything is up.
	RuleUnreadable = "unreadable"
)

// Violation is one thing in a history that can't be true.
type Violation struct {
	Workload string
	Rule     string // what was broken: lost, stale, invented, …
	Text     string // the key, what was acknowledged, what was read, and the key's last events
}

func (v Violation) String() string { return v.Workload + ": " + v.Rule + ": " + v.Text }

// workload is one kind of operations on a table of its own, and what may be concluded from their answers.
//
// Sessions call step at the same time, each one operation after another: what belongs to a session needs no lock, the rest one that is never held
// across a statement. Nothing may depend on the order of a map or on a random source but the session's.
type workload interface {
	// tables are the statements that make its tables.
	tables() []string
	// prepare writes what has to be there before the sessions begin.
	prepare(ctx context.Context, s *Session) error
	// step is one operation.
	step(ctx context.Context, s *Session)
	// final reads what is there now, through the given session, and says what is wrong with it. The sessions have ended.
	final(ctx context.Context, s *Session)
}

// Suite is the sessions of some workloads on one cluster, over any number of Runs.
//
// Every session has its own random source, seeded by Options.Seed and its number, does one operation at a time, and waits a random odd number of
// nanoseconds in between: in virtual time, with one processor, a seed gives one history. Sessions with even numbers go from node to node and stamp
// their writes; the others stay at one node and let it. (A session that writes through two coordinators without timestamps of its own is promised no
// order: coordinator/DESIGN.md, "Known".)
type Suite struct {
	o         Options
	history   *History
	workloads []workload
	turns     []int // indexes of workloads, each as often as its weight
	sessions  []*Session
	mu        struct {
		sync.Mutex
		violations []Violation
	}
}

// New makes a suite; nothing runs yet. Unknown names of workloads panic.
func New(o Options) *Suite {
	s := &Suite{o: o.withDefaults(), history: newHistory()}
	for _, name := range s.o.Workloads {
		k := kindOf(name)
		for range k.weight {
			s.turns = append(s.turns, len(s.workloads))
		}
		s.workloads = append(s.workloads, k.make(s))
	}
	for id := range s.o.Sessions {
		s.sessions = append(s.sessions, newSession(s, id))
	}
	return s
}

// History of everything that ran so far.
func (s *Suite) History() *History { return s.history }

// Setup makes the keyspace and the tables, and fills what has to be there. Nothing may fail meanwhile for longer than half a minute.
func (s *Suite) Setup(ctx context.Context, c Client) error {
	admin := newSession(s, s.o.Sessions)
	admin.clients = []Client{c}
	statements := []string{"CREATE KEYSPACE IF NOT EXISTS " + s.o.Keyspace + " WITH replication = " + s.o.Replication}
	for _, w := range s.workloads {
		statements = append(statements, w.tables()...)
	}
	for _, text := range statements {
		if r := admin.insist(ctx, "setup", &Statement{CQL: text, Level: s.o.Level}); r.Err != nil {
			return fmt.Errorf("%s: %w", text, r.Err)
		}
	}
	for i, w := range s.workloads {
		if err := w.prepare(ctx, admin); err != nil {
			return fmt.Errorf("prepare %s: %w", s.o.Workloads[i], err)
		}
	}
	return nil
}

// Run lets all sessions work, until the context ends or each has done its steps, and returns when the last answer is there: a statement under way is
// not cancelled with the context. Clients are one a node, in the same order in every Run.
func (s *Suite) Run(ctx context.Context, clients []Client) {
	var running sync.WaitGroup
	for _, session := range s.sessions {
		session.clients = clients
		running.Go(func() { session.work(ctx) })
	}
	running.Wait()
}

// Check reads everything back at the suite's level and gives all that was wrong, now and while the sessions ran. Call it when nothing runs and the
// cluster is whole again. It may be called more than once: through each node.
func (s *Suite) Check(ctx context.Context, c Client) []Violation {
	reader := newSession(s, s.o.Sessions+1)
	reader.clients = []Client{c}
	for _, w := range s.workloads {
		w.final(ctx, reader)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.mu.violations
	s.mu.violations = nil
	return found
}

// violation notes what is wrong; why says it in words, and the key's last events are added. What one replica shows of a write under way another needn't: reads
// at ONE see acknowledged writes, and may see others come and go.
func (s *Suite) violation(workload, rule, key, why string) {
	if s.o.Read == consistency.One && (rule == RuleUnhappened || rule == RuleBackwards) {
		return
	}
	text := key + ": " + why
	if story := s.history.about(key); story != "" {
		text += "\n" + story
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.violations = append(s.mu.violations, Violation{Workload: workload, Rule: rule, Text: text})
}

// table is a workload's table with its keyspace.
func (s *Suite) table(name string) string { return s.o.Keyspace + "." + name }
