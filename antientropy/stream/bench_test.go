package stream

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"nodedb/node/row"
	"nodedb/node/storage"
)

// benchRows is how many rows BenchmarkCompare compares, each a partition.
const benchRows = 100_000

// pages is a store that answers what another one did.
type pages struct {
	from Store // nil: all is there
	all  [][]byte
	next int
}

func (p *pages) Read(ctx context.Context, spec *storage.ReadSpec, buf []byte) ([]byte, error) {
	if p.from != nil {
		page, err := p.from.Read(ctx, spec, buf)
		p.all = append(p.all, slices.Clone(page))
		return page, err
	}
	page := p.all[p.next%len(p.all)]
	p.next++
	return page, nil
}

// BenchmarkCompare reports nanoseconds a row of what each owner does in a comparison in which nothing differs: it reads its range and sums it; and of the
// summing alone, of pages that were read before.
//
//	go test ./antientropy/stream -run '^$' -bench Compare -benchtime 1000000x
func BenchmarkCompare(b *testing.B) {
	k := newKit(b, 1)
	defer k.close()
	value := string(bytes.Repeat([]byte("0123456789"), 10))
	for n := 0; n < benchRows; {
		var ms []row.Mutation
		for range 1000 {
			ms = append(ms, insert(n, 1, 10, value))
			n++
		}
		k.nodes[0].write(ms...)
	}
	s, _ := k.session()
	root := func(b *testing.B, store Store) {
		local := scanner{store: store, table: s.Table, now: s.Now, left: -1}
		var out Outcome
		if _, err := s.root(b.Context(), &local, &out); err != nil || out.Items != benchRows {
			b.Fatal(out.Items, err)
		}
	}
	read := &pages{from: k.nodes[0].engine}
	root(b, read)
	read.from = nil
	for name, store := range map[string]Store{"read and sum": k.nodes[0].engine, "sum": read} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for n := 0; n < b.N; n += benchRows {
				root(b, store)
			}
		})
	}
}
