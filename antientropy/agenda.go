package antientropy

import (
	"container/heap"

	"nodedb/vnodes"
)

// agenda has the tasks that wait for this node: those that it drives and that are in no session. They are ordered twice, so that what comes next is found
// without a look at all of them, of which there are as many as tables times ranges. Only a new ring or schema, and an owner that comes up or goes down, cost
// a look at all.
//
// Invariants, between a task's change and the place that follows it apart:
//  1. A task lies in byAge if it waits, and in byUrgency if it is urgent, too; nothing else lies there.
//  2. task.at says where, so that a task that changes is found.
type agenda struct {
	byAge     queue // longest not compared first
	byUrgency queue // due soonest first
	// owners are those of all tasks, this node among them, and whether they were up when the agenda was made.
	owners map[vnodes.HostID]bool
}

func newAgenda() agenda {
	return agenda{
		byAge:     queue{number: 0, before: (*task).before},
		byUrgency: queue{number: 1, before: (*task).sooner},
	}
}

// sooner orders urgent tasks: first what was due first.
func (t *task) sooner(o *task) bool {
	if !t.urgent.Equal(o.urgent) {
		return t.urgent.Before(o.urgent)
	}
	return t.before(o)
}

// fill makes the agenda anew.
func (a *agenda) fill(tasks map[taskKey]*task, self vnodes.HostID) {
	a.byAge.empty()
	a.byUrgency.empty()
	for _, t := range tasks {
		if t.mine = t.drives(self, a.up); !t.waits() {
			continue
		}
		a.byAge.Push(t)
		if !t.urgent.IsZero() {
			a.byUrgency.Push(t)
		}
	}
	heap.Init(&a.byAge)
	heap.Init(&a.byUrgency)
}

func (a *agenda) up(id vnodes.HostID) bool { return a.owners[id] }

// waits reports whether a task belongs into the agenda.
func (t *task) waits() bool { return t.mine && !t.busy }

// place puts a task of the present view where it belongs after a change.
func (a *agenda) place(t *task) {
	a.byAge.place(t, t.waits())
	a.byUrgency.place(t, t.waits() && !t.urgent.IsZero())
}

// queue is a heap of tasks that know where in it they are.
type queue struct {
	number int // of task.at
	before func(t, o *task) bool
	tasks  []*task
}

// first is nil where there is none.
func (q *queue) first() *task {
	if len(q.tasks) == 0 {
		return nil
	}
	return q.tasks[0]
}

func (q *queue) place(t *task, in bool) {
	switch i := t.at[q.number] - 1; {
	case in && i < 0:
		heap.Push(q, t)
	case in:
		heap.Fix(q, i)
	case i >= 0:
		heap.Remove(q, i)
	}
}

func (q *queue) empty() {
	for _, t := range q.tasks {
		t.at[q.number] = 0
	}
	clear(q.tasks)
	q.tasks = q.tasks[:0]
}

// Len implements heap.Interface, as do the following.
func (q *queue) Len() int { return len(q.tasks) }

func (q *queue) Less(i, j int) bool { return q.before(q.tasks[i], q.tasks[j]) }

func (q *queue) Swap(i, j int) {
	q.tasks[i], q.tasks[j] = q.tasks[j], q.tasks[i]
	q.tasks[i].at[q.number], q.tasks[j].at[q.number] = i+1, j+1
}

func (q *queue) Push(t any) {
	q.tasks = append(q.tasks, t.(*task))
	t.(*task).at[q.number] = len(q.tasks)
}

func (q *queue) Pop() any {
	last := len(q.tasks) - 1
	t := q.tasks[last]
	q.tasks[last], q.tasks = nil, q.tasks[:last]
	t.at[q.number] = 0
	return t
}
