package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// modulePrefix is left out of package paths for the eye.
const modulePrefix = "github.com/vagus-hub/vagus/"

// maxOutput bounds what is kept and printed of one failure; a timeout dumps
// every goroutine.
const maxOutput = 64 << 10

// event is one line of go test -json (see go doc test2json).
type event struct {
	Action      string
	Package     string
	ImportPath  string // build events only
	Test        string
	Elapsed     float64
	Output      string
	FailedBuild string
}

type test struct {
	name   string
	status string // "", pass, fail, skip
	output bytes.Buffer
}

type pkg struct {
	path    string
	status  string // "", pass, fail, skip (no tests)
	elapsed float64
	build   string // import path whose build failed
	output  bytes.Buffer
	tests   map[string]*test
	order   []*test
}

// results collects the events of one or more runs.
type results struct {
	pkgs      map[string]*pkg
	order     []*pkg
	builds    map[string]*bytes.Buffer // output of failed builds
	flaky     map[string]bool          // "package Test" that passed when repeated
	onPackage func(*pkg)               // called as each package ends
}

func newResults() *results {
	return &results{
		pkgs:      map[string]*pkg{},
		builds:    map[string]*bytes.Buffer{},
		flaky:     map[string]bool{},
		onPackage: func(*pkg) {},
	}
}

// read consumes a stream of events. Lines that are no event are kept with
// nothing: go itself prints those to stderr.
func (r *results) read(in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) == nil {
			r.add(e)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read events of go test: %w", err)
	}
	return nil
}

func (r *results) add(e event) {
	if e.Action == "build-output" {
		b := r.builds[e.ImportPath]
		if b == nil {
			b = &bytes.Buffer{}
			r.builds[e.ImportPath] = b
		}
		keep(b, e.Output)
		return
	}
	if e.Package == "" {
		return
	}
	p := r.pkgs[e.Package]
	if p == nil {
		p = &pkg{path: e.Package, tests: map[string]*test{}}
		r.pkgs[e.Package] = p
		r.order = append(r.order, p)
	}
	if e.Test == "" {
		switch e.Action {
		case "output":
			keep(&p.output, e.Output)
		case "pass", "fail", "skip":
			p.status, p.elapsed, p.build = e.Action, e.Elapsed, e.FailedBuild
			if e.Action != "skip" { // no tests: named in the report
				r.onPackage(p)
			}
		}
		return
	}
	t := p.tests[e.Test]
	if t == nil {
		t = &test{name: e.Test}
		p.tests[e.Test] = t
		p.order = append(p.order, t)
	}
	switch e.Action {
	case "output":
		if !strings.HasPrefix(strings.TrimSpace(e.Output), "=== ") {
			keep(&t.output, e.Output)
		}
	case "pass":
		t.status = e.Action
		t.output = bytes.Buffer{}
	case "fail", "skip":
		t.status = e.Action
	}
}

func keep(b *bytes.Buffer, s string) {
	const mark = "\n… cut …\n"
	if b.Len() >= maxOutput {
		return
	}
	b.WriteString(s)
	if b.Len() >= maxOutput {
		b.WriteString(mark)
	}
}

func (r *results) anyFailed() bool {
	for _, p := range r.order {
		if p.failed() {
			return true
		}
	}
	return false
}

// failed tells whether the package failed or never ended.
func (p *pkg) failed() bool { return p.status == "fail" || p.status == "" }

// counted returns the tests that count: the innermost ones, and a parent only
// if it failed by itself. A test without an end (its process died) failed.
func (p *pkg) counted() (passed, failed, skipped []*test) {
	parents := map[string]bool{}
	failedBelow := map[string]bool{}
	for _, t := range p.order {
		for name := t.name; ; {
			i := strings.LastIndexByte(name, '/')
			if i < 0 {
				break
			}
			name = name[:i]
			parents[name] = true
			if t.status == "fail" || t.status == "" {
				failedBelow[name] = true
			}
		}
	}
	for _, t := range p.order {
		switch {
		case t.status == "fail" || t.status == "":
			if !failedBelow[t.name] {
				failed = append(failed, t)
			}
		case parents[t.name]:
		case t.status == "skip":
			skipped = append(skipped, t)
		default:
			passed = append(passed, t)
		}
	}
	return passed, failed, skipped
}

// line is the summary of a package that has ended.
func (p *pkg) line() string {
	passed, failed, skipped := p.counted()
	name := short(p.path)
	switch {
	case p.build != "":
		return fmt.Sprintf("FAIL  %-52s does not build", name)
	case p.failed():
		return fmt.Sprintf("FAIL  %-52s %4d failed of %d  %.1fs", name, len(failed), len(failed)+len(passed)+len(skipped), p.elapsed)
	}
	s := fmt.Sprintf("ok    %-52s %4d tests  %.1fs", name, len(passed), p.elapsed)
	if len(skipped) > 0 {
		s += fmt.Sprintf("  (%d skipped)", len(skipped))
	}
	return s
}

func short(path string) string { return strings.TrimPrefix(path, modulePrefix) }
