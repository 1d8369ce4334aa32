// Command vagus is the hub in one binary, and its command line.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/vagus-hub/vagus/services/internal/lifecycle"
	"github.com/vagus-hub/vagus/services/vagus/internal/cli"
)

var version = "dev" // set by the build

func main() {
	ctx, stop := lifecycle.Signals(context.Background())
	err := cli.New(version).ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "vagus:", err)
		os.Exit(1)
	}
}
