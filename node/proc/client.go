package proc

import (
	"context"
	"fmt"
	"slices"
	"time"

	"nodedb/coordinator/consistency"
	"nodedb/query/wire"
)

// pageSize of Ask, in rows.
const pageSize = 5000

// requestTimeout of a client's request: more than any of the server's.
const requestTimeout = 30 * time.Second

// Dial connects to the node's CQL port.
func (m *Node) Dial(ctx context.Context) (*wire.Client, error) {
	return wire.Dial(ctx, m.CQL(), wire.ClientOptions{Timeout: requestTimeout})
}

// Ask runs a statement, through all pages, and gives its rows as text: values as cqlsh prints them, joined by |.
func Ask(ctx context.Context, c *wire.Client, level consistency.Level, cql string) ([]string, error) {
	pages := c.Pages(&wire.Query{CQL: cql, Params: wire.Params{Consistency: uint16(level), PageSize: pageSize}})
	var out []string
	for pages.Next(ctx) {
		out = append(out, text(pages.Page().Columns, pages.Row()))
	}
	return out, pages.Err()
}

// text is a row's values as cqlsh prints them, joined by |.
func text(columns []wire.Column, values [][]byte) string {
	var line []byte
	for i, v := range values {
		if i > 0 {
			line = append(line, '|')
		}
		line = columns[i].Type.AppendText(line, v)
	}
	return string(line)
}

// Difference says how an answer differs from what was expected; "" if it does not.
func Difference(got, want []string, ordered bool) string {
	if !ordered {
		got, want = slices.Clone(got), slices.Clone(want)
		slices.Sort(got)
		slices.Sort(want)
	}
	if slices.Equal(got, want) {
		return ""
	}
	for i := range max(len(got), len(want)) {
		var g, w string
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			return fmt.Sprintf("got %d rows, want %d; first difference: got %q, want %q", len(got), len(want), g, w)
		}
	}
	return "rows differ"
}
