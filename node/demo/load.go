package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"nodedb/coordinator/consistency"
	"nodedb/query/load"
)

// load makes the tables and loads every file, unless a kept data directory has them.
func (d *demo) load(ctx context.Context) error {
	if _, err := os.Stat(d.loadedMark()); err == nil {
		d.say("%s holds the flights already", d.Dir)
		return nil
	}
	if err := d.createSchema(ctx); err != nil {
		return err
	}
	begun := time.Now()
	rows := int64(0)
	for _, s := range datasets {
		summary, err := d.loadFile(ctx, s)
		if err != nil {
			return fmt.Errorf("load %s: %w", s.file, err)
		}
		if summary.Rejects > 0 || summary.Rows != int64(s.rows) {
			return fmt.Errorf("load %s: %d rows and %d rejects, want %d rows and none", s.file, summary.Rows, summary.Rejects, s.rows)
		}
		d.say("  %s", summary)
		rows += summary.Rows
	}
	d.say("loaded %d rows in %s, three copies of each synced to disk: %.0f rows/s", rows, since(begun), float64(rows)/time.Since(begun).Seconds())
	return os.WriteFile(d.loadedMark(), nil, 0o644)
}

func (d *demo) loadFile(ctx context.Context, s dataset) (load.Summary, error) {
	in, done, err := open(d.Files, s.file)
	if err != nil {
		return load.Summary{}, err
	}
	defer done()
	null := "NA"
	o := load.Options{
		Hosts: d.hosts(), Single: false, Table: Keyspace + "." + s.table, Input: in, Name: s.table + ".csv", Format: load.CSV, SkipUnknown: true,
		Null: &null, Rejects: d.loadedMark() + "." + s.table + ".rejects", Consistency: uint16(consistency.Quorum),
	}
	if s.table == "flights" {
		o.Derive = DeriveDay
	}
	if f, ok := d.Stderr.(*os.File); ok {
		o.Progress = f
	}
	return load.Run(ctx, o)
}

// DeriveDay is load.Options.Derive for the flights: it replaces the fields year, month and day by the date they make.
func DeriveDay(header []string) ([]string, func([]string) ([]string, error)) {
	year, month, day := slices.Index(header, "year"), slices.Index(header, "month"), slices.Index(header, "day")
	out := make([]string, 1)
	return []string{"day"}, func(record []string) ([]string, error) {
		if min(year, month, day) < 0 || max(year, month, day) >= len(record) {
			return nil, errors.New("no year, month and day to make the date from")
		}
		out[0] = dayOf(record[year], record[month], record[day])
		return out, nil
	}
}
