package readrepair

import "nodedb/node/row"

// repair collects what one replica lacks of the current partition.
type repair struct {
	header bool // lacks the merged header
	rows   []row.Entry
	bytes  int // of rows
}

// entryOverhead is more than the bytes that an entry's lengths take in a mutation.
const entryOverhead = 16

func (r *repair) reset(header bool) { *r = repair{header: header} }

// add notes a row. What was noted before becomes a mutation of its own when one would grow too large.
func (r *repair) add(w *walk, replica int, e row.Entry) {
	size := len(e.Clustering) + len(e.Fragment) + entryOverhead
	if len(r.rows) > 0 && r.bytes+size > MaxRepairBytes {
		r.flush(w, replica)
	}
	r.rows = append(r.rows, e)
	r.bytes += size
}

// flush turns what is noted into a mutation.
func (r *repair) flush(w *walk, replica int) {
	if !r.header && len(r.rows) == 0 {
		return
	}
	m := row.Mutation{Storage: w.storage, Token: w.token, Key: w.key, Rows: r.rows}
	if r.header {
		m.Header = w.headerBytes
	}
	w.answer.Repairs[replica] = append(w.answer.Repairs[replica], m)
	r.reset(false)
}
