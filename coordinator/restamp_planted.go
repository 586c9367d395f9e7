//go:build planted

package coordinator

import (
	"nodedb/node/clock"
	"nodedb/node/fault"
	"nodedb/node/row"
)

// restamped gives a batch's mutation new timestamps before it is written again, if that mistake is on.
func restamped(mutation []byte, c *clock.HLC) []byte {
	m, _, err := row.DecodeMutation(mutation)
	if err != nil || !fault.Planted("coordinator/replay-with-new-timestamps") {
		return mutation
	}
	now := c.Now()
	for i := range m.Rows {
		var b row.Builder
		v := row.View(m.Rows[i].Fragment)
		if v.Deletion() != row.NoDeletion {
			b.Delete(now)
		}
		for k := range v.Len() {
			cell := v.At(k)
			cell.Timestamp = now
			b.Add(cell)
		}
		m.Rows[i].Fragment = b.Append(nil)
	}
	return m.Append(nil)
}
