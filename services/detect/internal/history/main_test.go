//go:build linux || darwin

package history

import (
	"os"
	"testing"

	"github.com/vagus-hub/vagus/services/internal/clickhouse/embedded/embeddedtest"
)

func TestMain(m *testing.M) { os.Exit(embeddedtest.Main(m)) }
