package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRegistryWrite(t *testing.T) {
	r := NewRegistry()
	c := r.Counter("vagus_events_total", "events", "source")
	c.Add(2, "nginx.access")
	c.Add(1, "quote\"\n")
	c.Add(-1, "nginx.access")
	r.Gauge("vagus_up", "one").Set(1)
	h := r.Histogram("vagus_wait_seconds", "wait")
	h.Observe(time.Millisecond)
	h.Observe(time.Minute)
	r.OnCollect(func(s *Snapshot) { s.Set("vagus_lag", "lag", 7, "durable", "store") })
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	got := strings.Split(b.String(), "\n")
	want := []string{
		`vagus_events_total{source="nginx.access"} 2`, `vagus_events_total{source="quote\"\n"} 1`, `vagus_up 1`,
		`vagus_wait_seconds_bucket{le="0.001"} 1`, `vagus_wait_seconds_bucket{le="+Inf"} 2`, `vagus_wait_seconds_count 2`,
		`vagus_lag{durable="store"} 7`, `# TYPE vagus_events_total counter`,
	}
	for _, w := range want {
		if !strings.Contains("\n"+strings.Join(got, "\n"), "\n"+w+"\n") {
			t.Errorf("missing %s in\n%s", w, b.String())
		}
	}
}

func TestSeriesAreBounded(t *testing.T) {
	r := NewRegistry()
	c := r.Counter("x_total", "x", "l")
	for i := range 3 * maxSeries {
		c.Add(1, fmt.Sprint(i))
	}
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "\n"); n > maxSeries+5 {
		t.Errorf("%d lines", n)
	}
	if want := fmt.Sprintf(`x_total{l="other"} %d`, 2*maxSeries); !strings.Contains(b.String(), want) {
		t.Errorf("missing %s", want)
	}
}

func TestHealth(t *testing.T) {
	h := NewHealth(NewRegistry())
	var broken error
	h.Check("bus", func(context.Context) error { return broken })
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		h.Handler().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w.Code, strings.TrimSpace(w.Body.String())
	}
	if code, body := get("/readyz"); code != 200 {
		t.Errorf("ready: %d %s", code, body)
	}
	broken = errors.New("away")
	code, body := get("/readyz")
	if diff := cmp.Diff(`{"failed":{"bus":"away"},"status":"not ready"}`, body); code != 503 || diff != "" {
		t.Errorf("%d %s", code, diff)
	}
	if code, _ := get("/healthz"); code != 200 {
		t.Errorf("health: %d", code)
	}
	if code, _ := get("/metrics"); code != 200 {
		t.Errorf("metrics: %d", code)
	}
}

func TestNewLogger(t *testing.T) {
	for name, c := range map[string]struct {
		format, level string
		ok            bool
	}{
		"defaults": {"", "", true}, "json debug": {"json", "debug", true}, "bad level": {"text", "loud", false}, "bad format": {"xml", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := NewLogger(&bytes.Buffer{}, c.format, c.level)
			if (err == nil) != c.ok {
				t.Fatalf("err %v", err)
			}
			if c.level == "debug" && !l.Enabled(t.Context(), slog.LevelDebug) {
				t.Error("level not applied")
			}
		})
	}
}
