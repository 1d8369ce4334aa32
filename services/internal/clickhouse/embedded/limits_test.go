package embedded_test

import (
	"testing"

	"github.com/vagus-hub/vagus/services/internal/clickhouse/embedded"
	"github.com/vagus-hub/vagus/services/internal/clickhouse/embedded/embeddedtest"
)

// TestMemoryLimit checks that no query takes the engine beyond its limit,
// also in formats whose result is made whole in memory.
func TestMemoryLimit(t *testing.T) {
	embeddedtest.Need(t)
	o := embeddedtest.Options(t.TempDir())
	o.MaxMemory = 512 << 20
	e, err := embedded.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	for name, sql := range map[string]string{
		"aggregation": "SELECT uniqExact(number) FROM numbers(1000000000)",
		"result":      "SELECT number, repeat('x', 1000) FROM numbers(3000000) FORMAT JSON",
	} {
		t.Run(name, func(t *testing.T) {
			code, body, header := post(t, e.Addr(), embeddedtest.Reader, sql)
			if code == 200 || header.Get("X-ClickHouse-Exception-Code") != "241" {
				t.Errorf("status %d, %d bytes, %.200s", code, len(body), body)
			}
			s := status(t, e.PID())
			t.Logf("RSS %d MB, peak %d MB", s["VmRSS"]>>10, s["VmHWM"]>>10)
			if s["VmHWM"] > 1200<<10 {
				t.Errorf("the process reached %d MB", s["VmHWM"]>>10)
			}
		})
	}
	if code, body, _ := post(t, e.Addr(), embeddedtest.Reader, "SELECT 1"); code != 200 || e.Starts() != 1 {
		t.Errorf("afterwards: %d %s, starts %d", code, body, e.Starts())
	}
}
