package detect

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
)

// watchEvery is how often --watch looks at the files. Asking is portable and
// costs less than a millisecond for thousands of files.
const watchEvery = 300 * time.Millisecond

// watched runs once, or with --watch after every change of the paths until the
// command is cancelled. Problems do not end it then.
func (a *author) watched(c *cobra.Command, o output, paths []string, run func(io.Writer) error) error {
	w := c.OutOrStdout()
	if !o.watch {
		return run(w)
	}
	if len(paths) == 0 {
		return errors.New("--watch needs a path: the built-in rules do not change")
	}
	state := func() (sum uint64) {
		for _, p := range paths {
			sum = sum*31 + fingerprint(p)
		}
		return sum
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		before := state()
		if err := run(w); err != nil && !errors.Is(err, errProblems) {
			fmt.Fprintln(w, err)
		}
		fmt.Fprintln(w, "watching; Ctrl-C ends it")
		for before == state() {
			select {
			case <-c.Context().Done():
				return nil
			case <-tick.C:
			}
		}
		fmt.Fprintln(w)
	}
}
