// Command testrun runs the tests of the workspace and says what matters: a
// line a package, failures in full, every skip with its reason, tests that
// fail only sometimes, and as the last line "N passed, N failed, N skipped".
//
// With CI=true a skipped or flaky test is a failure: green must mean that
// everything ran. Run it through `./task test`, `./task test:race` and
// `./task fuzz`; arguments are packages, by default the whole workspace.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"time"
)

// settings is what the flags say.
type settings struct {
	testFlags []string // passed on to go test
	last      string   // packages whose path has this run last, one at a time
	skip      string   // packages whose path has this do not run
	ci        bool     // skipped and flaky tests fail
	dir       string   // where go runs; "" is the current folder
	env       []string // added to the environment of go
}

func main() {
	var s settings
	parallel := flag.Int("p", 2, "packages tested at once")
	timeout := flag.Duration("timeout", 10*time.Minute, "limit for one package")
	race := flag.Bool("race", false, "run under the race detector")
	fuzz := flag.Duration("fuzz", 0, "fuzz each target for this long instead of running tests")
	flag.StringVar(&s.last, "last", "", "run packages whose path contains `TEXT` last and alone")
	flag.StringVar(&s.skip, "skip", "", "leave out packages whose path contains `TEXT`")
	flag.Parse()
	s.ci = os.Getenv("CI") == "true"

	// -shuffle also keeps go from answering out of its cache, which does not
	// see the files that a test reads outside its own module.
	s.testFlags = []string{"-shuffle=on", fmt.Sprintf("-p=%d", *parallel), "-timeout=" + timeout.String()}
	if *race {
		s.testFlags = append(s.testFlags, "-race")
	}
	patterns := flag.Args()
	if len(patterns) == 0 {
		patterns = []string{"work"}
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	run := func() (bool, error) { return runTests(ctx, s, patterns, os.Stdout) }
	if *fuzz > 0 {
		run = func() (bool, error) { return runFuzz(ctx, s, *fuzz, patterns, os.Stdout) }
	}
	ok, err := run()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "testrun:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// runTests runs the packages in two phases, repeats what failed once, prints
// the report and tells whether all is well.
func runTests(ctx context.Context, s settings, patterns []string, out io.Writer) (bool, error) {
	first, last, err := packages(ctx, s, patterns)
	if err != nil {
		return false, err
	}
	res := newResults()
	res.onPackage = func(p *pkg) { fmt.Fprintln(out, p.line()) }
	for _, phase := range []struct {
		pkgs  []string
		extra []string
	}{{first, nil}, {last, []string{"-p=1"}}} {
		if len(phase.pkgs) == 0 {
			continue
		}
		args := append(append([]string{}, s.testFlags...), phase.extra...)
		if err := goTest(ctx, s, append(args, phase.pkgs...), res); err != nil {
			return false, err
		}
	}
	repeatFailures(ctx, s, res)
	return res.report(out, s.ci), nil
}

// packages lists what the patterns match: those for the first phase and those
// that run last and alone.
func packages(ctx context.Context, s settings, patterns []string) (first, last []string, err error) {
	cmd := goCommand(ctx, s, append([]string{"list"}, patterns...)...)
	cmd.Stderr = os.Stderr
	list, err := cmd.Output()
	if err != nil {
		return nil, nil, fmt.Errorf("go list %s: %w", strings.Join(patterns, " "), err)
	}
	for path := range strings.FieldsSeq(string(list)) {
		switch {
		case s.skip != "" && strings.Contains(path, s.skip):
		case s.last != "" && strings.Contains(path, s.last):
			last = append(last, path)
		default:
			first = append(first, path)
		}
	}
	if len(first)+len(last) == 0 {
		return nil, nil, fmt.Errorf("no packages match %s", strings.Join(patterns, " "))
	}
	return first, last, nil
}

// goTest runs go test -json and feeds its events to res. Failing tests are no
// error; an error means that the run itself cannot be trusted.
func goTest(ctx context.Context, s settings, args []string, res *results) error {
	cmd := goCommand(ctx, s, append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	readErr := res.read(stdout)
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case readErr != nil:
		return readErr
	case err != nil && !res.anyFailed():
		return fmt.Errorf("go test: %w", err)
	}
	return nil
}

func goCommand(ctx context.Context, s settings, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), s.env...)
	// Let go stop its test binaries instead of orphaning them.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	return cmd
}
