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

// LoadFS reads every <domain>/<slug>.yml below root. Folders and files whose
// name starts with "_" or "." are left out. Rules come in order of id. A rule
// with an error is missing from the list; the others are there.
// Prefix is put before the names in problems.
func LoadFS(fsys fs.FS, root, prefix string) ([]*Rule, []Problem, error) {
	var rules []*Rule
	var problems []Problem
	byID := map[string]string{}
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
		if d.IsDir() {
			return nil
		}
		switch path.Ext(p) {
		case ".yaml":
			problems = append(problems, Problem{File: prefix + p, Line: 1, Column: 1, Message: "rule files end in .yml"})
			return nil
		case ".yml":
		default:
			return nil
		}
		data, err := fs.ReadFile(fsys, p)
		if err != nil {
			problems = append(problems, Problem{File: prefix + p, Line: 1, Column: 1, Message: err.Error()})
			return nil
		}
		r, ps := Load(prefix+p, data)
		problems = append(problems, ps...)
		if r == nil {
			return nil
		}
		if other := byID[r.ID]; other != "" {
			problems = append(problems, Problem{File: prefix + p, Line: 1, Column: 1, Message: fmt.Sprintf("id %s is taken by %s", r.ID, other)})
			return nil
		}
		byID[r.ID] = r.File
		rules = append(rules, r)
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read rules %s: %w", root, err)
	}
	sort.Slice(rules, func(i, j int) bool { return rules[i].ID < rules[j].ID })
	return rules, problems, nil
}
