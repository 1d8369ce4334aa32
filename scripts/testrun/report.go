package main

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// maxRepeats is the number of failed packages up to which a repeat makes
// sense; beyond it something is simply broken.
const maxRepeats = 5

// repeatFailures runs failed tests a second time and marks those that pass.
// Errors of the repeat leave the failure standing.
func repeatFailures(ctx context.Context, s settings, res *results) {
	var again []*pkg
	for _, p := range res.order {
		if p.failed() && p.build == "" {
			again = append(again, p)
		}
	}
	if len(again) > maxRepeats {
		return
	}
	for _, p := range again {
		_, failed, _ := p.counted()
		args := append(slices.Clone(s.testFlags), "-count=1")
		// Without a failed test the package itself failed (a leak, an exit):
		// only all of it can tell.
		if len(failed) > 0 {
			args = append(args, "-run", "^("+strings.Join(topLevel(failed), "|")+")$")
		}
		second := newResults()
		if err := goTest(ctx, s, append(args, p.path), second); err != nil || second.anyFailed() {
			continue
		}
		if len(failed) == 0 {
			res.flaky[key(p, nil)] = true
		}
		for _, t := range failed {
			res.flaky[key(p, t)] = true
		}
	}
}

func topLevel(tests []*test) []string {
	var names []string
	for _, t := range tests {
		name, _, _ := strings.Cut(t.name, "/")
		names = append(names, regexp.QuoteMeta(name))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// key names a test, or the package itself when t is nil.
func key(p *pkg, t *test) string {
	if t == nil {
		return short(p.path)
	}
	return short(p.path) + " " + t.name
}

// report prints failures in full, skips with reasons, flaky tests and the
// closing line. It tells whether the run is good.
func (r *results) report(out io.Writer, ci bool) bool {
	var passed, failed, skipped int
	var skips, flaky, empty []string
	fail := func(name, output string) {
		if r.flaky[name] {
			flaky = append(flaky, name)
			if !ci {
				passed++
			} else {
				failed++
			}
		} else {
			failed++
		}
		fmt.Fprintf(out, "\n--- %s\n%s\n", name, strings.TrimRight(output, "\n"))
	}
	for _, p := range r.order {
		if p.status == "skip" {
			empty = append(empty, short(p.path))
			continue
		}
		good, bad, skip := p.counted()
		passed += len(good)
		skipped += len(skip)
		for _, t := range bad {
			fail(key(p, t), t.output.String())
		}
		if p.failed() && len(bad) == 0 {
			output := p.output.String()
			if b := r.builds[p.build]; b != nil {
				output = b.String()
			}
			fail(key(p, nil), output)
		}
		for _, t := range skip {
			skips = append(skips, key(p, t)+": "+reason(t))
		}
	}
	if len(empty) > 0 {
		fmt.Fprintf(out, "\nno tests in: %s\n", strings.Join(empty, ", "))
	}
	list(out, "skipped", skips)
	list(out, "flaky (failed, then passed when repeated)", flaky)
	if ci && len(skips) > 0 {
		fmt.Fprintln(out, "\nwith CI=true nothing may be skipped")
	}
	fmt.Fprintf(out, "\n%d passed, %d failed, %d skipped\n", passed, failed, skipped)
	return failed == 0 && (!ci || skipped == 0)
}

func list(out io.Writer, title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(out, "\n%s:\n  %s\n", title, strings.Join(lines, "\n  "))
}

// position is the file and line that go test puts before a message.
var position = regexp.MustCompile(`^\S+\.go:\d+: `)

// reason is what a skipped test said.
func reason(t *test) string {
	var parts []string
	for line := range strings.Lines(t.output.String()) {
		line = position.ReplaceAllString(strings.TrimSpace(line), "")
		if line != "" && !strings.HasPrefix(line, "--- ") {
			parts = append(parts, line)
		}
	}
	if len(parts) == 0 {
		return "no reason given"
	}
	return strings.Join(parts, " ")
}
