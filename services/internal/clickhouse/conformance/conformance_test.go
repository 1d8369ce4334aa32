package conformance_test

import (
	"os"
	"testing"

	"github.com/vagus-hub/vagus/services/internal/clickhouse/conformance"
	"github.com/vagus-hub/vagus/services/internal/clickhouse/embedded/embeddedtest"
)

func TestMain(m *testing.M) { os.Exit(embeddedtest.Main(m)) }

func TestEmbedded(t *testing.T) {
	e := embeddedtest.Engine(t)
	conformance.Run(t, conformance.Harness{Admin: e.DSN(embeddedtest.Admin), Reader: e.DSN(embeddedtest.Reader)})
}

// TestServer runs the suite against a real server: VAGUS_CLICKHOUSE_DSN names
// an account that may create databases, VAGUS_CLICKHOUSE_READER_DSN one that
// may only read (without it those tests are left out).
func TestServer(t *testing.T) {
	dsn := os.Getenv("VAGUS_CLICKHOUSE_DSN")
	if dsn == "" {
		t.Log("VAGUS_CLICKHOUSE_DSN is not set: nothing to test")
		return
	}
	conformance.Run(t, conformance.Harness{Admin: dsn, Reader: os.Getenv("VAGUS_CLICKHOUSE_READER_DSN")})
}
