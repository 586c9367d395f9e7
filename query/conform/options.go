package conform

import (
	"fmt"
	"strconv"
	"strings"

	"nodedb/query/wire"
)

// options of a step, each NAME or NAME=VALUE, separated by spaces:
//
//	page=N      rows a page; all pages are asked for
//	ts=N        the request's timestamp, µs
//	now=N       the request's now_in_seconds
//	keyspace=K  the request's keyspace
//	cl=N        the consistency level's number
//	serial=N    the serial consistency level's number
//	mask        values differ each time: only their lengths are recorded
//	prepare     prepare only
type options struct {
	params      wire.Params
	mask        bool
	prepareOnly bool
}

func parseOptions(text string) (options, error) {
	o := options{params: wire.Params{Consistency: wire.DefaultConsistency}}
	for word := range strings.FieldsSeq(text) {
		name, value, _ := strings.Cut(word, "=")
		n, err := strconv.ParseInt(value, 10, 64)
		p := &o.params
		switch name {
		case "page":
			p.PageSize = int32(n)
		case "ts":
			p.HasTimestamp, p.Timestamp = true, n
		case "now":
			p.HasNow, p.NowInSeconds = true, int32(n)
		case "cl":
			p.Consistency = uint16(n)
		case "serial":
			p.Serial = uint16(n)
		case "keyspace":
			p.Keyspace, err = value, nil
		case "mask":
			o.mask, err = true, nil
		case "prepare":
			o.prepareOnly, err = true, nil
		default:
			return o, fmt.Errorf("%w: unknown option %q", ErrFormat, word)
		}
		if err != nil {
			return o, fmt.Errorf("%w: option %q: %w", ErrFormat, word, err)
		}
	}
	return o, nil
}
