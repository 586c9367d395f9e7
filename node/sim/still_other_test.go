//go:build !linux || !(amd64 || arm64)

package sim

import (
	"context"
	"errors"
	"io"
)

const childEnv = "NODEDB_SIM_CHILD"

// startStill can't be had here: see still_linux_test.go.
func startStill(context.Context, []string, io.Writer) error {
	return errors.New("the simulation runs on Linux, amd64 or arm64: elsewhere a seed would not repeat itself")
}

func waitGate() (still bool, err error) { return false, nil }
