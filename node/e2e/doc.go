// Package e2e drives real nodedb processes with real clients: it builds the binary and starts, kills and asks nodes on loopback addresses. It
// has tests only and may import everything. Start reading at TestKillOne.
package e2e
