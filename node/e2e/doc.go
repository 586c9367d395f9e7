// Package e2e drives real nodedb processes with real clients: it builds the binary and starts, kills and asks nodes on loopback addresses. Tests
// named TestRow… are FAULTS.md's rows on real processes, under the workloads and checkers of package check; -campaign says at which share of their full
// counts. It has tests only and may import everything. Start reading at TestRow1KillOne.
package e2e
