package check

import (
	"strconv"
	"strings"
)

// kind is a workload that can be chosen by name.
type kind struct {
	name   string
	weight int // how often sessions turn to it
	make   func(*Suite) workload
	asked  bool // only where it is asked for
}

var kinds = []kind{
	{name: "appends", weight: 4, make: func(s *Suite) workload { return newAppends(s) }},
	{name: "registers", weight: 8, make: func(s *Suite) workload { return newRegisters(s, "registers", "") }},
	{name: "deletes", weight: 8, make: func(s *Suite) workload { return newDeletes(s) }},
	{name: "collections", weight: 3, make: func(s *Suite) workload { return newCollections(s) }},
	{name: "statics", weight: 3, make: func(s *Suite) workload { return newStatics(s) }},
	{name: "expiry", weight: 3, make: func(s *Suite) workload { return newExpiry(s) }},
	{name: "scans", weight: 2, make: func(s *Suite) workload { return newScans(s) }},
	{name: "batches", weight: 4, make: func(s *Suite) workload { return newBatches(s) }},
	{name: "ties", weight: 4, make: func(s *Suite) workload { return newTies(s) }},
	{name: "logged", weight: 4, make: func(s *Suite) workload { return newLogged(s) }},
	{name: "schemas", weight: 1, make: func(s *Suite) workload { return newSchemas(s) }},
	{name: "memory", weight: 8, asked: true, make: func(s *Suite) workload { return newRegisters(s, "memory", " WITH memory = true") }},
	{name: "edges", weight: 3, asked: true, make: func(s *Suite) workload { return newEdges(s) }},
	{name: "graves", weight: 2, asked: true, make: func(s *Suite) workload { return newGraves(s) }},
	{name: "bulk", weight: 6, asked: true, make: func(s *Suite) workload { return newBulk(s) }},
}

// Names gives the workloads that run where none are named.
func Names() []string { return names(false) }

// AskedFor gives those that run only where they are named: they cost more than they find in most runs, or are promised less.
func AskedFor() []string { return names(true) }

func names(asked bool) (out []string) {
	for i := range kinds {
		if kinds[i].asked == asked {
			out = append(out, kinds[i].name)
		}
	}
	return out
}

func kindOf(name string) kind {
	for _, k := range kinds {
		if k.name == name {
			return k
		}
	}
	panic("check: no workload " + name + ": there are " + strings.Join(append(Names(), AskedFor()...), ", "))
}

// integers reads a row of whole numbers; ok is false if a value is something else.
func integers(row string, n int) (values []int, ok bool) {
	parts := strings.Split(row, "|")
	if len(parts) != n {
		return nil, false
	}
	for _, p := range parts {
		v, err := strconv.Atoi(p)
		if err != nil {
			return nil, false
		}
		values = append(values, v)
	}
	return values, true
}
