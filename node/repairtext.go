package node

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/cheggaaa/pb/v3"
	"github.com/jedib0t/go-pretty/v6/table"
)

// RepairStatus is what `nodedb repair status --json` and /v1/repair print.
type RepairStatus struct {
	Now     time.Time     `json:"now"`
	Target  string        `json:"anti_entropy_target"`
	Ranges  []RepairRange `json:"ranges"`
	Unheard []string      `json:"unheard,omitempty"` // nodes that did not answer, and why: their records are missing
}

// RepairRange is what anti-entropy knows of one range of one table.
type RepairRange struct {
	Keyspace      string     `json:"keyspace"`
	Table         string     `json:"table"`
	Start         string     `json:"range_start"` // the tokens (start, end]
	End           string     `json:"range_end"`
	Agreed        *time.Time `json:"agreed_at"` // all that any replica held then was on all; null: never
	Compared      *time.Time `json:"compared_at"`
	Problem       string     `json:"problem,omitempty"` // why the last comparison ended without agreement
	Rows          uint64     `json:"rows_differed"`     // in the last comparison
	Partitions    uint64     `json:"partitions_differed"`
	Sent          uint64     `json:"bytes_sent"`
	Received      uint64     `json:"bytes_received"`
	TotalRows     uint64     `json:"total_rows_differed"` // in all
	TotalSent     uint64     `json:"total_bytes_sent"`
	TotalReceived uint64     `json:"total_bytes_received"`
}

// RepairProgress is a line of what POST /v1/repair answers; the last has Ended, and Differences of a verification.
type RepairProgress struct {
	Ended       bool               `json:"ended"`
	Ranges      int                `json:"ranges"`
	Done        int                `json:"ranges_done"`
	Rows        uint64             `json:"rows_differed"` // rows and partition headers, counted for each replica that differed
	Partitions  uint64             `json:"partitions_differed"`
	Fetched     uint64             `json:"rows_fetched"`
	Pushed      uint64             `json:"rows_pushed"`
	Sent        uint64             `json:"bytes_sent"`
	Received    uint64             `json:"bytes_received"`
	Differences []RepairDifference `json:"differences,omitempty"` // the first 1,000
	Problems    []string           `json:"problems,omitempty"`
}

// RepairDifference is one place where two replicas are not the same.
type RepairDifference struct {
	Node       string `json:"node"`    // address of the replica that differs
	Against    string `json:"against"` // from this one
	Partition  string `json:"partition"`
	Clustering string `json:"clustering"` // "": the partition's deletions and static columns, or a table without clustering columns
	What       string `json:"what"`       // missing, extra or different, seen from Against
}

// PrintRepairStatus writes a table of tables, or of all ranges.
func PrintRepairStatus(w io.Writer, s *RepairStatus, ranges bool) {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(table.StyleLight)
	if ranges {
		t.AppendHeader(table.Row{"table", "range", "all agreed", "compared", "rows differed", "bytes", "problem"})
		for _, r := range s.Ranges {
			t.AppendRow(table.Row{r.Keyspace + "." + r.Table, "(" + r.Start + ", " + r.End + "]", ago(s.Now, r.Agreed), ago(s.Now, r.Compared), r.Rows,
				bytesText(r.Sent + r.Received), r.Problem})
		}
	} else {
		t.AppendHeader(table.Row{"table", "ranges", "all agreed", "never agreed", "rows differed", "bytes", "problem"})
		for _, sum := range tablesOf(s) {
			t.AppendRow(table.Row{sum.name, sum.ranges, ago(s.Now, sum.oldest), sum.never, sum.rows, bytesText(sum.bytes), sum.problem})
		}
	}
	t.Render()
	fmt.Fprintf(w, "Every range is compared once in about %s. Rows and bytes: %s.\n", s.Target, map[bool]string{true: "of the last comparison", false: "of all comparisons"}[ranges])
	for _, u := range s.Unheard {
		fmt.Fprintln(w, "Not heard:", u)
	}
}

// tableSummary is a table's ranges in one line.
type tableSummary struct {
	name          string
	ranges, never int
	oldest        *time.Time // agreement, of the ranges that have one; nil: none has
	rows, bytes   uint64
	problem       string // of some range
}

func tablesOf(s *RepairStatus) []*tableSummary {
	by := map[string]*tableSummary{}
	for i := range s.Ranges {
		r := &s.Ranges[i]
		name := r.Keyspace + "." + r.Table
		sum := by[name]
		if sum == nil {
			sum = &tableSummary{name: name}
			by[name] = sum
		}
		sum.ranges++
		sum.rows += r.TotalRows
		sum.bytes += r.TotalSent + r.TotalReceived
		sum.problem = cmp.Or(sum.problem, r.Problem)
		switch {
		case r.Agreed == nil:
			sum.never++
		case sum.oldest == nil || r.Agreed.Before(*sum.oldest):
			sum.oldest = r.Agreed
		}
	}
	return slices.SortedFunc(maps.Values(by), func(a, b *tableSummary) int { return cmp.Compare(a.name, b.name) })
}

// ago writes how long ago something was.
func ago(now time.Time, at *time.Time) string {
	if at == nil {
		return "never"
	}
	return max(0, now.Sub(*at)).Round(time.Second).String() + " ago"
}

// PrintRepair writes what a repair or verification found.
func PrintRepair(w io.Writer, p *RepairProgress, verify bool) {
	for _, d := range p.Differences {
		where := d.Partition
		if d.Clustering != "" {
			where += " AND " + d.Clustering
		}
		fmt.Fprintf(w, "%s: %s (%s, held against %s)\n", d.Node, where, d.What, d.Against)
	}
	if more := p.Rows - min(p.Rows, uint64(len(p.Differences))); verify && more > 0 && len(p.Differences) > 0 {
		fmt.Fprintf(w, "... and %d more\n", more)
	}
	switch {
	case p.Rows == 0 && len(p.Problems) > 0:
		fmt.Fprintf(w, "%d of %d ranges compared: the replicas that could be compared are equal", p.Done, p.Ranges)
	case p.Rows == 0:
		fmt.Fprintf(w, "%d of %d ranges compared: the replicas are equal", p.Done, p.Ranges)
	case verify:
		fmt.Fprintf(w, "%d of %d ranges compared: %d rows in %d partitions differ", p.Done, p.Ranges, p.Rows, p.Partitions)
	default:
		fmt.Fprintf(w, "%d of %d ranges compared: %d rows in %d partitions differed; %d rows were fetched and %d pushed", p.Done, p.Ranges, p.Rows, p.Partitions,
			p.Fetched, p.Pushed)
	}
	fmt.Fprintf(w, "; %s exchanged\n", bytesText(p.Sent+p.Received))
}

// FollowRepair reads the lines of a repair's progress to the last, with a bar on a terminal.
func FollowRepair(lines io.Reader, out io.Writer, bar bool) (*RepairProgress, error) {
	var p RepairProgress
	var shown *pb.ProgressBar
	if bar {
		shown = pb.New(0).SetWriter(out).SetTemplateString(`{{counters . }} ranges {{bar . }} {{percent . }} {{string . "found"}}`)
		shown.Start()
		defer shown.Finish()
	}
	dec := json.NewDecoder(lines)
	for !p.Ended {
		p = RepairProgress{}
		if err := dec.Decode(&p); err != nil {
			return nil, fmt.Errorf("the repair's progress ended early (it goes on for half a minute at most): %w", err)
		}
		if shown != nil {
			shown.SetTotal(int64(p.Ranges)).SetCurrent(int64(p.Done)).Set("found", fmt.Sprintf("%d rows differ", p.Rows))
		}
	}
	return &p, nil
}
