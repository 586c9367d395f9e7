//go:build !race && !invariants

package storage

const checkedBuild = false
