//go:build race || invariants

package storage

// checkedBuild says that the build spends allocations on checks.
const checkedBuild = true
