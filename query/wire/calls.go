package wire

import (
	"context"
	"fmt"
	"sync"
)

// answer is what a waiting call gets.
type answer struct {
	response Response
	err      error
}

var answers = sync.Pool{New: func() any { return make(chan answer, 1) }}

// Do sends a request and waits for its answer. An ERROR answer is a Response like any other.
func (c *Client) Do(ctx context.Context, req Request) (Response, error) { return c.do(ctx, req, 0) }

func (c *Client) do(ctx context.Context, req Request, flags Flags) (Response, error) {
	ch := answers.Get().(chan answer)
	if err := c.sendWait(ctx, req, flags, func(r Response, err error) { ch <- answer{r, err} }); err != nil {
		answers.Put(ch)
		return Response{}, err
	}
	select {
	case a := <-ch:
		answers.Put(ch)
		return a.response, a.err
	case <-ctx.Done(): // the answer will go into ch, which nobody reads any more
		return Response{}, fmt.Errorf("%s: %w: %w", c.addr, ErrTimeout, context.Cause(ctx))
	}
}

func (c *Client) result(ctx context.Context, req Request, flags Flags, columns []Column) (*Result, error) {
	r, err := c.do(ctx, req, flags)
	if err != nil {
		return nil, err
	}
	return r.Result(columns)
}

func (c *Client) params(p *Params) Params {
	if p == nil {
		return Params{Consistency: c.o.Consistency}
	}
	return *p
}

// Query runs a statement and gives its result, or the first page of it. Without params: no values, not paged, at ClientOptions.Consistency. A
// server's error is a *Error.
func (c *Client) Query(ctx context.Context, cql string, p *Params) (*Result, error) {
	return c.result(ctx, &Query{CQL: cql, Params: c.params(p)}, 0, nil)
}

// Trace is Query with tracing: Result.TraceID says where to look in system_traces.
func (c *Client) Trace(ctx context.Context, cql string, p *Params) (*Result, error) {
	return c.result(ctx, &Query{CQL: cql, Params: c.params(p)}, FlagTracing, nil)
}

// Prepare prepares a statement. It is known to this connection's server for as long as that keeps it.
func (c *Client) Prepare(ctx context.Context, cql string) (*Prepared, error) {
	r, err := c.result(ctx, &Prepare{CQL: cql}, 0, nil)
	if err != nil {
		return nil, err
	}
	if r.Prepared == nil {
		return nil, fmt.Errorf("%w: PREPARE was answered by a result of kind %d", ErrMalformed, r.Kind)
	}
	return r.Prepared, nil
}

// Execute runs a prepared statement and gives its result, or the first page of it.
func (c *Client) Execute(ctx context.Context, st *Prepared, p *Params) (*Result, error) {
	return c.result(ctx, &Execute{ID: st.ID, ResultID: st.ResultID, Params: c.params(p)}, 0, st.Columns)
}

// Batch runs a batch.
func (c *Client) Batch(ctx context.Context, b *Batch) (*Result, error) {
	return c.result(ctx, b, 0, nil)
}

// Supported asks what the server supports.
func (c *Client) Supported(ctx context.Context) (map[string][]string, error) {
	r, err := c.do(ctx, &Options{}, 0)
	if err != nil {
		return nil, err
	}
	return r.Supported()
}

// Register asks for events, which ClientOptions.OnEvent gets.
func (c *Client) Register(ctx context.Context, events ...string) error {
	r, err := c.do(ctx, &Register{Events: events}, 0)
	if err != nil {
		return err
	}
	return r.Err()
}

// Pages goes through all pages of a statement's result, one request a page:
//
//	pages := client.Pages(&wire.Query{CQL: "…", Params: wire.Params{Consistency: 1, PageSize: 1000}})
//	for pages.Next(ctx) {
//		values := pages.Row()
//	}
//	err := pages.Err()
type Pages struct {
	client  *Client
	query   *Query
	execute *Execute
	columns []Column
	page    *Result
	err     error
}

// Pages goes through the pages of a statement given as text. It changes q's PageState.
func (c *Client) Pages(q *Query) *Pages { return &Pages{client: c, query: q} }

// PagesOf goes through the pages of a prepared statement.
func (c *Client) PagesOf(st *Prepared, p *Params) *Pages {
	return &Pages{client: c, columns: st.Columns, execute: &Execute{ID: st.ID, ResultID: st.ResultID, Params: c.params(p)}}
}

// Next goes to the next row, and asks for the next page where it must. False at the end and after an error.
func (p *Pages) Next(ctx context.Context) bool {
	for p.err == nil {
		if p.page != nil && p.page.Next() {
			return true
		}
		if !p.NextPage(ctx) {
			return false
		}
	}
	return false
}

// NextPage asks for the next page and gives up what is left of this one. A page may be empty and not be the last.
func (p *Pages) NextPage(ctx context.Context) bool {
	if p.page != nil {
		if p.err = p.page.Err(); p.err != nil || p.page.PageState == nil {
			return false
		}
	}
	p.page, p.err = p.ask(ctx)
	return p.err == nil
}

func (p *Pages) ask(ctx context.Context) (*Result, error) {
	if p.query != nil {
		if p.page != nil {
			p.query.PageState = p.page.PageState
		}
		return p.client.result(ctx, p.query, 0, nil)
	}
	if p.page != nil {
		p.execute.PageState = p.page.PageState
	}
	return p.client.result(ctx, p.execute, 0, p.columns)
}

// Page is the page that Next is in; nil before the first.
func (p *Pages) Page() *Result { return p.page }

// Row is the row that Next went to. The slice is reused; the values may be kept.
func (p *Pages) Row() [][]byte { return p.page.Row() }

// Err is what ended Next early.
func (p *Pages) Err() error { return p.err }
