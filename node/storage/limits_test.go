package storage

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nodedb/node/disk"
	"nodedb/node/fault"
	"nodedb/node/metrics"
	"nodedb/node/row"
)

func TestMeasureLimits(t *testing.T) {
	limits, err := measureLimits(context.Background(), disk.Crashable(), "limits", 5*time.Millisecond, 4*limitBatch)
	check(t, err)
	if len(limits) != 7 {
		t.Errorf("got %d limits", len(limits))
	}
	for _, l := range limits {
		if l.Name == "" || l.Raw.PerSecond <= 0 || l.Engine.PerSecond <= 0 || l.Ratio() != l.Engine.PerSecond/l.Raw.PerSecond {
			t.Errorf("%+v", l)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := MeasureLimits(ctx, disk.Crashable(), "limits", time.Hour); err == nil {
		t.Error("a cancelled measurement gave no error")
	}
}

// TestApplyWaitsWhenTooManyWritesAreInFlight holds every sync up and counts how many writes get in.
func TestApplyWaitsWhenTooManyWritesAreInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openTest(t, disk.Crashable())
		release := make(chan struct{})
		disable, err := fault.Enable("storage/wal-sync", func() error { <-release; return nil })
		check(t, err)
		admitted, done := 0, 0
		go func() {
			for range 3 * maxInFlight {
				e.Apply([]row.Mutation{insert(testTable, "k", "a", 1, "v")}, func(err error) {
					if err != nil {
						t.Error(err)
					}
					done++
				})
				admitted++
			}
		}()
		synctest.Wait()
		// One more is with the sync waiter, and one in Apply.
		if admitted != maxInFlight+1 || done != 0 {
			t.Errorf("%d writes were admitted, %d done, before the first sync; want %d and 0", admitted, done, maxInFlight+1)
		}
		disable()
		close(release)
		synctest.Wait()
		if done != 3*maxInFlight {
			t.Errorf("%d writes were done after the syncs went on", done)
		}
		check(t, e.Close())
	})
}

func TestMetrics(t *testing.T) {
	r := metrics.NewRegistry()
	e := openTest(t, disk.Crashable(), func(o *Options) { o.Metrics = r })
	for i := range 20 {
		apply(t, e, insert(testTable, "k", "a", int64(i), "v"))
	}
	readAll(t, e, partition(testTable, "k"))
	_ = applyErr(e, insert(9, "k", "a", 1, "v")) // refused
	page := scrape(t, r)
	for _, want := range []string{
		"nodedb_storage_writes_total 20", "nodedb_storage_refused_writes_total 1", "nodedb_storage_reads_total 1",
		"nodedb_storage_hot_collapses_total 1", "nodedb_storage_disk_bytes ", "nodedb_storage_write_stalls_total 0",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	before := metricOf(t, r, "nodedb_storage_written_bytes")
	apply(t, e, insert(testTable, "k", "b", 1, strings.Repeat("v", 1<<20)))
	if grew := metricOf(t, r, "nodedb_storage_written_bytes") - before; grew < 1<<20 || grew > 3<<19 {
		t.Errorf("1 MiB took %.0f bytes in the log", grew)
	}
	before = metricOf(t, r, "nodedb_storage_written_bytes")
	check(t, e.db.Flush())
	if metricOf(t, r, "nodedb_storage_written_bytes") == before {
		t.Error("a flush has written nothing")
	}
	check(t, e.Close())
	if page := scrape(t, r); !strings.Contains(page, "nodedb_storage_disk_bytes 0") {
		t.Error("a closed engine shows bytes on disk")
	}
}

// metricOf is a metric without labels.
func metricOf(t *testing.T, r *metrics.Registry, name string) float64 {
	t.Helper()
	_, after, ok := strings.Cut(scrape(t, r), "\n"+name+" ")
	line, _, _ := strings.Cut(after, "\n")
	v, err := strconv.ParseFloat(line, 64)
	if !ok || err != nil {
		t.Fatalf("no %s", name)
	}
	return v
}
