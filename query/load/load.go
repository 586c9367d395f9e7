// Package load brings CSV, TSV and NDJSON into a table over the CQL binary protocol, pipelined, with every row accounted for: written, or in the
// rejects file with its reason. It also has the CSV reader and writer that COPY uses. It may import query/types and query/wire. Start reading at Run.
package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"nodedb/query/wire"
)

// Errors of Run; what it returns wraps one of them, or the context's. Rejected rows are no error: see Summary.
var (
	ErrOptions = errors.New("load: invalid option")
	ErrInput   = errors.New("load: cannot read the input")
	ErrTable   = errors.New("load: cannot load into the table")
	ErrStopped = errors.New("load: stopped")
)

// Format of the input.
type Format string

// The formats. The empty one is told by the file's name.
const (
	CSV    Format = "csv"
	TSV    Format = "tsv"
	NDJSON Format = "ndjson"
)

// Header says what the first row of CSV or TSV is.
type Header uint8

// The kinds of header.
const (
	HeaderAuto Header = iota // names the columns, unless Options.Columns does: then it is data
	HeaderYes                // names the columns; with Options.Columns it is skipped
	HeaderNo                 // data; without Options.Columns the columns are those of the table, in its order
)

// Bounds and defaults.
const (
	DefaultInFlight  = 512              // requests sent and not yet answered
	DefaultAttempts  = 12               // of one request, with the backoff below some 20 s
	DefaultTimeout   = 15 * time.Second // of one request
	DefaultBatchRows = 100              // rows of one partition in one request
	MaxBatchBytes    = 16 << 10         // values in one batch; Cassandra refuses batches over 50 KiB
	MaxRowBytes      = 16 << 20         // one row of the input
	MaxHosts         = 16               // connections, one a host
	DefaultBytes     = 64 << 20         // of rows sent and not yet acknowledged, with their text; one request may be over it alone
	windowRows       = 1024             // rows looked at together for their partitions
	windowBytes      = 4 << 20
	firstBackoff     = 25 * time.Millisecond // doubles with each attempt, up to
	lastBackoff      = 3 * time.Second
	stopGrace        = 3 * time.Second // for requests in flight when a load is stopped
	localQuorum      = 6               // consistency by default: LOCAL_QUORUM
)

// Options of Run. Table and one of File and Input must be given.
type Options struct {
	Hosts  []string // HOST or HOST:PORT to begin with; default 127.0.0.1
	Single bool     // do not ask the first host for others
	Table  string   // KEYSPACE.TABLE, in double quotes where case matters
	File   string   // path, or - for standard input
	Input  io.Reader
	Name   string // of Input, for its format and messages; default File

	Format    Format
	Delimiter byte     // default comma; tab for TSV
	Columns   []string // names in the order of the fields; "" or "-" skips one
	Header    Header
	// Unknown names in the header are skipped; else they are an error before anything is written. NDJSON: unknown members are skipped; else
	// the row is rejected.
	SkipUnknown bool
	// Null is text that means null. In quotes it is an ordinary text for columns of text. An empty field is null, too, for columns that are
	// not text. nil: none.
	Null *string
	// Derive adds columns to CSV and TSV. It is called once with the names of the fields and gives the names it adds (which replace fields of
	// these names) and a function that gives their values for a record. An error rejects the row. The record is reused.
	Derive func(header []string) (names []string, values func(record []string) ([]string, error))
	TTL    int32 // seconds; 0: none
	Skip   int64 // data rows to skip at the beginning

	Rejects     string // path; default the file's with .rejects added, stdin.rejects for standard input
	InFlight    int    // requests; default DefaultInFlight
	Bytes       int    // of rows in flight; default DefaultBytes
	Attempts    int    // of one request; default DefaultAttempts
	BatchRows   int    // default DefaultBatchRows; 1: no batches
	Consistency uint16 // default LOCAL_QUORUM
	Connect     wire.ClientOptions
	Dial        func(ctx context.Context, addr string, o wire.ClientOptions) (Conn, error) // default wire.Dial
	Progress    *os.File                                                                   // gets a progress bar, if it is a terminal
	Now         func() time.Time                                                           // default time.Now; for write timestamps
}

// Conn is one connection to one node, as *wire.Client is.
type Conn interface {
	Send(req wire.Request, done func(wire.Response, error)) error
	Query(ctx context.Context, cql string, p *wire.Params) (*wire.Result, error)
	Prepare(ctx context.Context, cql string) (*wire.Prepared, error)
	Done() <-chan struct{}
	Close() error
}

var _ Conn = (*wire.Client)(nil)

// Summary of a load. Rows + Rejects is every row that was read (after Skip).
type Summary struct {
	Table       string  `json:"table"`
	Rows        int64   `json:"rows"` // acknowledged
	Rejects     int64   `json:"rejects"`
	RejectsFile string  `json:"rejects_file,omitempty"` // "" without rejects
	Seconds     float64 `json:"seconds"`
	RowsPerSec  float64 `json:"rows_per_second"`
	Bytes       int64   `json:"bytes"` // read, as stored
	Requests    int64   `json:"requests"`
	Retries     int64   `json:"retries"`
	Hosts       int     `json:"hosts"` // connected at the end
}

// String is the line for people.
func (s Summary) String() string {
	line := fmt.Sprintf("%s: %d rows, %d rejects, %.1f s, %.0f rows/s", s.Table, s.Rows, s.Rejects, s.Seconds, s.RowsPerSec)
	if s.RejectsFile != "" {
		line += fmt.Sprintf(" (rejects in %s, reasons in %s)", s.RejectsFile, s.RejectsFile+".errors")
	}
	return line
}

// Run loads a file into a table. Every row that was read is acknowledged by the cluster at the consistency level, or in the rejects file with
// its reason. It ends early, with an error and the summary so far, when the input cannot be read, the cluster cannot be reached for as long as
// the attempts last, or ctx ends; the rows that were read and not acknowledged are then among the rejects.
//
// A repeated row wins over the earlier one: each row is written with a timestamp of its own, in the order of the file, and a retry keeps it.
func Run(ctx context.Context, o Options) (Summary, error) {
	keyspace, table, err := o.complete()
	if err != nil {
		return Summary{Table: o.Table}, err
	}
	in, err := openInput(&o)
	if err != nil {
		return Summary{Table: o.Table}, err
	}
	defer in.close()
	l := &loader{o: o, in: in, keyspace: keyspace, table: table, started: time.Now()}
	err = l.run(ctx)
	return l.summary(), err
}

// complete fills defaults in and checks the rest.
func (o *Options) complete() (keyspace, table string, err error) {
	if keyspace, table, err = splitTable(o.Table); err != nil {
		return "", "", err
	}
	if o.File == "" && o.Input == nil {
		return "", "", fmt.Errorf("%w: give a file, or - for standard input", ErrOptions)
	}
	if o.Name == "" {
		o.Name = o.File
	}
	if len(o.Hosts) == 0 {
		o.Hosts = []string{"127.0.0.1"}
	}
	if err := o.completeFormat(); err != nil {
		return "", "", err
	}
	for _, d := range []struct {
		value *int
		def   int
	}{{&o.InFlight, DefaultInFlight}, {&o.Bytes, DefaultBytes}, {&o.Attempts, DefaultAttempts}, {&o.BatchRows, DefaultBatchRows}} {
		if *d.value <= 0 {
			*d.value = d.def
		}
	}
	if o.Consistency == 0 {
		o.Consistency = localQuorum
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Connect.Timeout == 0 {
		o.Connect.Timeout = DefaultTimeout
	}
	if o.Dial == nil {
		o.Dial = func(ctx context.Context, addr string, c wire.ClientOptions) (Conn, error) {
			return wire.Dial(ctx, addr, c)
		}
	}
	if o.Rejects == "" {
		o.Rejects = rejectsPath(o.Name)
	}
	if o.Rejects == o.File {
		return "", "", fmt.Errorf("%w: the rejects would overwrite %s", ErrOptions, o.File)
	}
	return keyspace, table, nil
}

func (o *Options) completeFormat() error {
	if o.Format == "" {
		var err error
		if o.Format, err = formatOf(o.Name); err != nil {
			return err
		}
	}
	switch o.Format {
	case CSV, TSV:
	case NDJSON:
		if o.Derive != nil {
			return fmt.Errorf("%w: columns are derived for csv and tsv only", ErrOptions)
		}
	default:
		return fmt.Errorf("%w: format %q is none of csv, tsv, ndjson", ErrOptions, o.Format)
	}
	switch o.Delimiter {
	case 0:
		o.Delimiter = ','
		if o.Format == TSV {
			o.Delimiter = '\t'
		}
	case '"', '\n', '\r':
		return fmt.Errorf("%w: %q cannot be the delimiter", ErrOptions, o.Delimiter)
	}
	return nil
}

// splitTable reads KEYSPACE.TABLE.
func splitTable(s string) (keyspace, table string, err error) {
	rest := s
	if keyspace, rest, err = identifier(rest); err == nil && strings.HasPrefix(rest, ".") {
		if table, rest, err = identifier(rest[1:]); err == nil && rest == "" {
			return keyspace, table, nil
		}
	}
	return "", "", fmt.Errorf("%w: %q is no table: give KEYSPACE.TABLE", ErrOptions, s)
}

// identifier reads a CQL identifier from the front: lower-cased, unless in double quotes.
func identifier(s string) (name, rest string, err error) {
	if strings.HasPrefix(s, `"`) {
		for i := 1; i < len(s); i++ {
			if s[i] != '"' {
				continue
			}
			if i+1 < len(s) && s[i+1] == '"' {
				i++
				continue
			}
			if i == 1 {
				break
			}
			return strings.ReplaceAll(s[1:i], `""`, `"`), s[i+1:], nil
		}
		return "", s, ErrOptions
	}
	i := 0
	for i < len(s) && (s[i] == '_' || s[i] >= '0' && s[i] <= '9' || s[i]|0x20 >= 'a' && s[i]|0x20 <= 'z') {
		i++
	}
	if i == 0 {
		return "", s, ErrOptions
	}
	return strings.ToLower(s[:i]), s[i:], nil
}

// quote writes a CQL identifier.
func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
