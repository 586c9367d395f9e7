package virtual

import (
	"time"

	"nodedb/vnodes"
)

// Repairer is a Source that knows when the replicas of this node's ranges last agreed.
type Repairer interface{ AntiEntropy() []RangeAgreement }

// RangeAgreement is what anti-entropy knows of one range of one table.
type RangeAgreement struct {
	Keyspace, Table                     string
	Range                               vnodes.Range
	Agreed, Compared                    time.Time // zero: never
	Problem                             string    // why the last comparison ended without agreement
	Rows, Partitions, Sent, Received    int64     // of the last comparison: what differed, and bytes
	TotalRows, TotalSent, TotalReceived int64     // of all
}

func antiEntropyRows(e *emitter) error {
	repairer, ok := e.src.(Repairer)
	if !ok {
		return nil
	}
	for _, r := range repairer.AntiEntropy() {
		f := fields{
			"keyspace_name": text(r.Keyspace), "table_name": text(r.Table), "range_start": text(tokenText(r.Range.Start)), "range_end": text(tokenText(r.Range.End)),
			"rows_differed": bigint(r.Rows), "partitions_differed": bigint(r.Partitions), "bytes_sent": bigint(r.Sent), "bytes_received": bigint(r.Received),
			"total_rows_differed": bigint(r.TotalRows), "total_bytes_sent": bigint(r.TotalSent), "total_bytes_received": bigint(r.TotalReceived),
		}
		if !r.Agreed.IsZero() {
			f["agreed_at"] = bigint(r.Agreed.UnixMilli())
		}
		if !r.Compared.IsZero() {
			f["compared_at"] = bigint(r.Compared.UnixMilli())
		}
		if r.Problem != "" {
			f["problem"] = text(r.Problem)
		}
		if err := e.row(f); err != nil {
			return err
		}
	}
	return nil
}
