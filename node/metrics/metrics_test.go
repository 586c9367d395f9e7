package metrics

import (
	"net/http/httptest"
	"strings"
	"testing"
)

// scrape gives the /metrics page.
func scrape(t *testing.T, r *Registry) string {
	t.Helper()
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestHandlerShowsEveryKind(t *testing.T) {
	r := NewRegistry()
	r.Counter("test_writes_total", "Writes.").Add(3)
	r.CounterVec("test_errors_total", "Errors.", "kind").WithLabelValues("timeout").Inc()
	r.Gauge("test_open", "Open.").Set(7)
	r.GaugeVec("test_peer_bytes", "Bytes.", "peer").WithLabelValues("a").Set(1)
	r.Histogram("test_seconds", "Latency.", LatencyBuckets).Observe(0.0001)
	r.HistogramVec("test_size_bytes", "Sizes.", SizeBuckets, "verb").WithLabelValues("read").Observe(100)
	r.CounterFunc("test_synced_total", "Syncs.", func() float64 { return 11 })
	r.GaugeFunc("test_disk_bytes", "Disk.", func() float64 { return 12 })
	page := scrape(t, r)
	for _, want := range []string{
		"# HELP test_writes_total Writes.", "test_writes_total 3", `test_errors_total{kind="timeout"} 1`, "test_open 7",
		`test_peer_bytes{peer="a"} 1`, `test_seconds_bucket{le="5e-05"} 0`, `test_seconds_bucket{le="0.0001"} 1`,
		`test_size_bytes_bucket{verb="read",le="256"} 1`, "test_synced_total 11", "test_disk_bytes 12", "go_goroutines",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func TestOneNameIsOneMetric(t *testing.T) {
	r := NewRegistry()
	r.Counter("test_total", "Help.").Inc()
	r.Counter("test_total", "Help.").Inc()
	if page := scrape(t, r); !strings.Contains(page, "test_total 2") {
		t.Error("two counters of one name did not share their value")
	}
	defer func() {
		if recover() == nil {
			t.Error("a name reused for another kind must panic")
		}
	}()
	r.Gauge("test_total", "Help.")
}

func TestNilRegistryWorksUnseen(t *testing.T) {
	var r *Registry
	c := r.Counter("test_total", "Help.")
	c.Inc()
	r.HistogramVec("test_seconds", "Help.", LatencyBuckets, "verb").WithLabelValues("x").Observe(1)
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 404 {
		t.Errorf("status %d, want 404", w.Code)
	}
}
