//go:build !planted

package coordinator

import "nodedb/node/clock"

// restamped is what a batch's mutation is written again as: unchanged. (With the tag planted it can be a mistake.)
func restamped(mutation []byte, _ *clock.HLC) []byte { return mutation }
