package exec

import (
	"errors"
	"strings"
	"testing"
)

// TestStartedReadPanics: a panic while a page is taken is the statement's error.
func TestStartedReadPanics(t *testing.T) {
	var s startedRead // without a walk, taking a page panics
	res, err := s.result(nil, nil)
	var p *Panicked
	if res != nil || !errors.As(err, &p) || !strings.Contains(string(p.Stack), "start.go") {
		t.Error(res, err)
	}
}
