package main

import (
	"bytes"
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// runFuzz fuzzes every target for the given time, one after another: go
// accepts one target at a time, and each uses all cores.
func runFuzz(ctx context.Context, s settings, each time.Duration, patterns []string, out io.Writer) (bool, error) {
	// Sources are searched, because asking the packages (go test -list) would
	// build every test binary.
	cmd := goCommand(ctx, s, append([]string{"list", "-f",
		"{{.ImportPath}}\t{{.Dir}}\t{{range .TestGoFiles}}{{.}} {{end}}{{range .XTestGoFiles}}{{.}} {{end}}"}, patterns...)...)
	cmd.Stderr = os.Stderr
	found, err := cmd.Output()
	if err != nil {
		return false, fmt.Errorf("go list: %w", err)
	}
	passed, failed := 0, 0
	for line := range strings.Lines(string(found)) {
		fields := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(fields) != 3 {
			continue
		}
		for name := range strings.FieldsSeq(fields[2]) {
			targets, err := fuzzTargets(filepath.Join(fields[1], name))
			if err != nil {
				return false, err
			}
			for _, target := range targets {
				cmd := goCommand(ctx, s, "test", "-run=^$", "-fuzz=^"+target+"$", "-fuzztime="+each.String(), fields[0])
				output, err := cmd.CombinedOutput()
				if ctx.Err() != nil {
					return false, context.Cause(ctx)
				}
				// go succeeds when no target has that name.
				if err != nil || bytes.Contains(output, []byte("no fuzz tests to fuzz")) {
					failed++
					fmt.Fprintf(out, "FAIL  %s %s\n%s\n", short(fields[0]), target, output)
					continue
				}
				passed++
				fmt.Fprintf(out, "ok    %-52s %s\n", short(fields[0]), target)
			}
		}
	}
	fmt.Fprintf(out, "\n%d passed, %d failed, 0 skipped\n", passed, failed)
	return failed == 0, nil
}

// fuzzTargets returns the names of the fuzz targets of a test file.
func fuzzTargets(file string) ([]string, error) {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Fuzz") {
			names = append(names, fn.Name.Name)
		}
	}
	return names, nil
}
