package rule

import (
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strconv"
	"strings"
)

// Repeat fills {n} in a test value.
func Repeat(s string, n int) string { return strings.ReplaceAll(s, "{n}", strconv.Itoa(n)) }

// File is a rule file.
type File struct {
	Name string
	Data []byte
}

// Format is a format of rules beside the hub's own, whose files load as they
// are. They are read as one set, because their rules may refer to one another.
type Format interface {
	// Recognize reports whether a file is of the format.
	Recognize(data []byte) bool
	// Load reads files of the format. A rule with an error is missing from the
	// list; the others are there.
	Load(files []File) ([]*Rule, []Problem)
}

// LoadFS reads every <domain>/<slug>.yml below root, and every .yml and .yaml
// of another format. Folders and files whose name starts with "_" or "." are
// left out. Rules come in order of id. A rule with an error is missing from the
// list; the others are there. Prefix is put before the names in problems.
func LoadFS(fsys fs.FS, root, prefix string, formats ...Format) ([]*Rule, []Problem, error) {
	var files []File
	var problems []Problem
	err := fs.WalkDir(fsys, root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if base := path.Base(p); p != root && (strings.HasPrefix(base, "_") || strings.HasPrefix(base, ".")) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if ext := path.Ext(p); d.IsDir() || ext != ".yml" && ext != ".yaml" {
			return nil
		}
		data, err := fs.ReadFile(fsys, p)
		if err != nil {
			problems = append(problems, Problem{File: prefix + p, Line: 1, Column: 1, Message: err.Error()})
			return nil
		}
		if path.Ext(p) == ".yaml" && formatOf(data, formats) == nil {
			problems = append(problems, Problem{File: prefix + p, Line: 1, Column: 1, Message: "rule files end in .yml"})
			return nil
		}
		files = append(files, File{prefix + p, data})
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read rules %s: %w", root, err)
	}
	rules, more := LoadFiles(files, formats...)
	return rules, append(problems, more...), nil
}

// LoadFiles reads rule files as one set, in order of id.
func LoadFiles(files []File, formats ...Format) ([]*Rule, []Problem) {
	var rules []*Rule
	var problems []Problem
	foreign := map[Format][]File{}
	for _, f := range files {
		if format := formatOf(f.Data, formats); format != nil {
			foreign[format] = append(foreign[format], f)
			continue
		}
		r, ps := Load(f.Name, f.Data)
		problems = append(problems, ps...)
		if r != nil {
			rules = append(rules, r)
		}
	}
	for _, format := range formats {
		if own := foreign[format]; len(own) > 0 {
			rs, ps := format.Load(own)
			rules, problems = append(rules, rs...), append(problems, ps...)
		}
	}
	byID := map[string]string{}
	kept := rules[:0]
	for _, r := range rules {
		if other := byID[r.ID]; other != "" {
			problems = append(problems, Problem{File: r.File, Line: 1, Column: 1, Message: fmt.Sprintf("id %s is taken by %s", r.ID, other)})
			continue
		}
		byID[r.ID] = r.File
		kept = append(kept, r)
	}
	sort.Slice(kept, func(i, j int) bool { return kept[i].ID < kept[j].ID })
	return kept, problems
}

func formatOf(data []byte, formats []Format) Format {
	for _, f := range formats {
		if f.Recognize(data) {
			return f
		}
	}
	return nil
}
