// Package readrepair merges the pages that replicas answered, and says what each of them lacks. It is pure. It may import vnodes and
// node/row. Start reading at Merge.
package readrepair

import (
	"nodedb/node/row"
)

// Answer is the merge of several replicas' pages of one request.
type Answer struct {
	Page []byte // a page as row.PageReader reads it; its stop is the lowest position where any replica stopped early
	// Repairs has, for each input page, the mutations that its replica lacks of the merged page (none: it agrees).
	Repairs [][]row.Mutation
}

// Merge merges pages of one request to storage. reverse says the row order. Rows beyond the lowest early stop are left out: they are not final.
func Merge(storage row.StorageID, pages [][]byte, reverse bool) (*Answer, error) { panic("contract") }

// Digest is the hash of a page's content, its stop included.
func Digest(page []byte) [16]byte { panic("contract") }
