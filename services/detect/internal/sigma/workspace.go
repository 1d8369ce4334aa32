package sigma

import "github.com/vagus-hub/vagus/services/detect/internal/rule"

// Workspace is a set of files of which one at a time is looked at, as an editor
// does: the others are only read, for the rules, filters and placeholders that
// it may name. Not safe for concurrent use.
type Workspace struct {
	files map[string]parsedFile
}

// NewWorkspace makes an empty one.
func NewWorkspace() *Workspace { return &Workspace{files: map[string]parsedFile{}} }

// Set reads a file, in place of the one that had its name.
func (w *Workspace) Set(f rule.File) { w.files[f.Name] = parse(f) }

// Drop forgets a file.
func (w *Workspace) Drop(name string) { delete(w.files, name) }

// Check loads a file as one of the set, in place of the one that had its name,
// and returns its rules and what is wrong with it.
func (w *Workspace) Check(f rule.File) Result {
	list := []parsedFile{parse(f)}
	for name, p := range w.files {
		if name != f.Name {
			list = append(list, p)
		}
	}
	s := index(list)
	s.gather(list, nil)
	own := &list[0]
	s.convert(own)
	var out Result
	for _, r := range own.rules {
		if r != nil {
			out.Rules = append(out.Rules, r)
		}
	}
	out.Problems, out.Reports = own.p.list, own.reports
	return out
}
