package node

import "testing"

// A replica's word alone is taken only where no quorum can be had any more: not after a lost message.
func TestInsteadOfQuorum(t *testing.T) {
	for _, tc := range []struct {
		name                string
		ready, down, owners int
		want                refillStep
	}{
		{"two of three are there", 2, 0, 3, refillAgain},
		{"one is down", 1, 1, 3, refillLater},
		{"another restarted, too", 1, 0, 3, refillFromRest},
		{"all did", 0, 0, 3, refillEmpty},
		{"the only owner", 0, 0, 1, refillEmpty},
		{"two owners", 1, 0, 2, refillFromRest},
		{"three of five", 3, 0, 5, refillAgain},
		{"two of five", 2, 0, 5, refillFromRest},
	} {
		if got := insteadOfQuorum(tc.ready, tc.down, tc.owners); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.want)
		}
	}
}
