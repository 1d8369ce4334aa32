package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const (
	maxLines     = 500 // of a hand-written Go file that is no test
	maxMainLines = 100 // of services/*/cmd/*/main.go
)

var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

func TestPackageDocs(t *testing.T) {
	for _, p := range workspace(t) {
		names := append(append([]string{}, p.GoFiles...), p.CgoFiles...)
		if len(names) == 0 { // a package of tests only
			names = append(append(names, p.TestGoFiles...), p.XTestGoFiles...)
		}
		var found bool
		var docs []string
		for _, name := range names {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Error(err)
				continue
			}
			if f.Doc == nil {
				continue
			}
			docs = append(docs, firstLine(f.Doc))
			if goodDoc(p, f) {
				found = true
			}
		}
		if !found && len(names) > 0 {
			want := "// Package " + p.Name + " …"
			if p.Name == "main" {
				want = "// Command " + path.Base(p.ImportPath) + " …"
			}
			t.Errorf("%s: no file has the comment %q (found %q): a newcomer reads that first", p.rel(), want, docs)
		}
	}
}

func goodDoc(p pack, f *ast.File) bool {
	text := firstLine(f.Doc)
	if p.Name == "main" {
		return strings.HasPrefix(text, "Command "+path.Base(p.ImportPath)+" ") || strings.HasPrefix(text, "Package main ")
	}
	return strings.HasPrefix(text, "Package "+strings.TrimSuffix(p.Name, "_test")+" ")
}

func firstLine(doc *ast.CommentGroup) string {
	line, _, _ := strings.Cut(doc.Text(), "\n")
	return line
}

func TestFileLength(t *testing.T) {
	for _, name := range files(t) {
		if !strings.HasSuffix(name, ".go") || recorded(name) {
			continue
		}
		text := read(t, name)
		lines := strings.Count(text, "\n")
		if isMain, _ := path.Match("services/*/cmd/*/main.go", name); isMain && lines >= maxMainLines {
			t.Errorf("%s has %d lines, less than %d wanted: a program reads flags and calls its service", name, lines, maxMainLines)
		}
		if lines > maxLines && !strings.HasSuffix(name, "_test.go") && !generated.MatchString(text) {
			t.Errorf("%s has %d lines, at most %d: split it by idea", name, lines, maxLines)
		}
	}
}

// TestContentHasTests: a rule or playbook without cases is a guess. Each has
// its cases at the end of the same file.
func TestContentHasTests(t *testing.T) {
	section := regexp.MustCompile(`(?m)^tests:`)
	for _, name := range files(t) {
		dir, _, _ := strings.Cut(name, "/")
		if dir != "rules" && dir != "playbooks" || path.Ext(name) != ".yml" {
			continue
		}
		switch sub := strings.Split(name, "/")[1]; {
		case strings.HasPrefix(sub, "_"), sub == "lists", sub == "connectors":
			continue
		}
		if !section.MatchString(read(t, name)) {
			t.Errorf("%s has no \"tests:\" section: add at least one case that matches and one that does not", name)
		}
	}
}
