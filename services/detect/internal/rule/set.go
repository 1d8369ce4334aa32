package rule

import (
	"bytes"
	"errors"
	"fmt"
	"io"
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
	// Locate lists where the parts of a rule stand in its file, by the paths that
	// they have in a native one; none if the rule is not in the file.
	Locate(data []byte, id string) []Place
}

// ReadFile reads a rule file of any format. What is no regular file (a pipe would
// keep the reader waiting, a device never ends) or larger than a rule may be is
// an error that does not name the file. A byte order mark, which editors on
// Windows put at the front, is left out.
func ReadFile(fsys fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(fsys, name)
	switch {
	case err != nil:
		return nil, unreadable(err)
	case !info.Mode().IsRegular():
		return nil, errors.New("is no regular file")
	case info.Size() > maxFile:
		return nil, fmt.Errorf("file has %d bytes, at most %d are allowed", info.Size(), maxFile)
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, unreadable(err)
	}
	defer f.Close()
	return Read(f) // it may grow while it is read
}

// Read reads a rule file as ReadFile does.
func Read(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	switch {
	case err != nil:
		return nil, unreadable(err)
	case len(data) > maxFile:
		return nil, fmt.Errorf("file has more than %d bytes", maxFile)
	}
	return bytes.TrimPrefix(data, byteOrderMark), nil
}

var byteOrderMark = []byte("\ufeff")

// unreadable says why, without the name of the file.
func unreadable(err error) error {
	var of *fs.PathError
	if errors.As(err, &of) {
		err = of.Err
	}
	return fmt.Errorf("cannot be read: %w", err)
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
		data, err := ReadFile(fsys, p)
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

// Locate lists where the parts of a rule stand in its file, whatever format that
// has.
func Locate(r *Rule, data []byte, formats ...Format) []Place {
	if f := formatOf(data, formats); f != nil {
		return f.Locate(data, r.ID)
	}
	return Places(data)
}

func formatOf(data []byte, formats []Format) Format {
	for _, f := range formats {
		if f.Recognize(data) {
			return f
		}
	}
	return nil
}
