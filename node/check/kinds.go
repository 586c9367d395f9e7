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
}

var kinds = []kind{
	{"appends", 4, func(s *Suite) workload { return newAppends(s) }},
	{"registers", 8, func(s *Suite) workload { return newRegisters(s) }},
	{"deletes", 8, func(s *Suite) workload { return newDeletes(s) }},
	{"collections", 3, func(s *Suite) workload { return newCollections(s) }},
	{"statics", 3, func(s *Suite) workload { return newStatics(s) }},
	{"expiry", 3, func(s *Suite) workload { return newExpiry(s) }},
	{"scans", 2, func(s *Suite) workload { return newScans(s) }},
	{"batches", 4, func(s *Suite) workload { return newBatches(s) }},
	{"ties", 4, func(s *Suite) workload { return newTies(s) }},
	{"logged", 4, func(s *Suite) workload { return newLogged(s) }},
	{"schemas", 1, func(s *Suite) workload { return newSchemas(s) }},
}

// Names of all workloads.
func Names() []string {
	var out []string
	for i := range kinds {
		out = append(out, kinds[i].name)
	}
	return out
}

func kindOf(name string) kind {
	for _, k := range kinds {
		if k.name == name {
			return k
		}
	}
	panic("check: no workload " + name + ": there are " + strings.Join(Names(), ", "))
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
