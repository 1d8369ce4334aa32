package detect

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zeebo/xxh3"

	"github.com/vagus-hub/vagus/services/detect/internal/atr"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/sigma"
)

// set is what loading the rules gave.
type set struct {
	rules    []*rule.Rule // in order of id
	problems []rule.Problem
	kept     int // rules that run in an older version because their file is bad
}

// loadSet reads the built-in rules, those of a folder, which win, and those
// that were pushed, which win over both; more may be nil. Rules of files that
// have errors now are taken over from before.
func loadSet(content fs.FS, dir string, more *pushed, before *set) (*set, error) {
	out := &set{}
	byID := map[string]*rule.Rule{}
	add := func(fsys fs.FS, root, prefix string) error {
		rules, problems, err := rule.LoadFS(fsys, root, prefix, formats()...)
		if err != nil {
			return err
		}
		out.problems = append(out.problems, problems...)
		for _, r := range rules {
			byID[r.ID] = r
		}
		return nil
	}
	if content != nil {
		if err := add(content, contentRoot(content), ""); err != nil {
			return nil, err
		}
	}
	if dir != "" {
		if err := add(os.DirFS(dir), ".", filepath.ToSlash(dir)+"/"); err != nil {
			return nil, err
		}
	}
	if more != nil {
		if err := add(more.files, ".", more.prefix()); err != nil {
			return nil, err
		}
	}
	if before != nil {
		bad := map[string]bool{}
		for _, p := range out.problems {
			bad[p.File] = bad[p.File] || !p.Warning
		}
		for _, r := range before.rules {
			if bad[r.File] {
				byID[r.ID] = r
				out.kept++
			}
		}
	}
	for _, r := range byID {
		out.rules = append(out.rules, r)
	}
	slices.SortFunc(out.rules, func(a, b *rule.Rule) int { return strings.Compare(a.ID, b.ID) })
	out.problems = append(out.problems, rule.Link(out.rules)...)
	return out, nil
}

// formats lists the formats of rules beside the hub's own. ATR's files have a
// key of Sigma's, too, so they are recognised first.
func formats() []rule.Format { return []rule.Format{atr.Format{}, sigma.Format{}} }

// contentRoot finds the folder of rules in embedded content.
func contentRoot(content fs.FS) string {
	if i, err := fs.Stat(content, "rules"); err == nil && i.IsDir() {
		return "rules"
	}
	return "."
}

// fingerprint changes when a file below dir does.
func fingerprint(dir string) uint64 {
	h := xxh3.New()
	// An unreadable folder has a fingerprint too; Reload then says what is wrong.
	_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			fmt.Fprintln(h, p, err)
			return nil
		}
		if i, err := d.Info(); err == nil && !d.IsDir() {
			fmt.Fprintln(h, p, i.Size(), i.ModTime().UnixNano())
		}
		return nil
	})
	return h.Sum64()
}
