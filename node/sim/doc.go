// Package sim runs whole nodes, the product's own code, in virtual time: a testing/synctest bubble, a faulty network (node/rpc/simnet) and disks that can
// crash (node/disk). A seed gives the configuration, the workload, the faults and their order. Everything is in test files; it may import all that package
// node may, and node. Start reading at world in world_test.go; DESIGN.md says what is simulated and what isn't.
package sim
