package embedded_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/vagus-hub/vagus/services/internal/clickhouse/embedded"
	"github.com/vagus-hub/vagus/services/internal/clickhouse/embedded/embeddedtest"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "test-parent" {
		parent(os.Args[2])
		return
	}
	os.Exit(embeddedtest.Main(m))
}

// parent starts an engine, tells the child's process id, and waits to be killed.
func parent(dir string) {
	e, err := embedded.Start(context.Background(), embeddedtest.Options(dir))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(e.PID())
	select {}
}
