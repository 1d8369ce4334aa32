// Command vagus is the hub in one binary, and its command line.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/vagus-hub/vagus/services/internal/lifecycle"
	"github.com/vagus-hub/vagus/services/vagus/internal/cli"
)

var version = "dev" // set by the build

func main() {
	ctx, stop := lifecycle.Signals(context.Background())
	err := cli.New(version).ExecuteContext(ctx)
	interrupted := ctx.Err() != nil
	stop()
	if interrupted && errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "vagus: interrupted")
		os.Exit(130) // as a shell says of a program that Ctrl-C ended
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "vagus:", err)
		os.Exit(1)
	}
}
