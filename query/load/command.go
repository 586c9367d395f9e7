package load

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
)

// Exit statuses of `nodedb load`.
const (
	ExitLoaded   = 0
	ExitFailed   = 1 // the load could not begin, or ended early
	ExitRejected = 2 // all was read, and some rows are in the rejects file
)

// Command runs a load for the command line: a line for people on stderr, the summary as JSON on stdout if asked for, and the exit status.
func Command(ctx context.Context, o Options, stdout, stderr io.Writer, asJSON bool) int {
	s, err := Run(ctx, o)
	status := ExitLoaded
	switch {
	case err != nil:
		fmt.Fprintln(stderr, err)
		status = ExitFailed
	case s.Rejects > 0:
		status = ExitRejected
	}
	if err == nil || s.Rows > 0 || s.Rejects > 0 {
		fmt.Fprintln(stderr, s)
	}
	if asJSON {
		if err := json.NewEncoder(stdout).Encode(s); err != nil {
			fmt.Fprintln(stderr, err)
			return ExitFailed
		}
	}
	return status
}
