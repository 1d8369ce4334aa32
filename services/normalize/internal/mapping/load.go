package mapping

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sort"
)

// Set holds the mappings of all sources. It is read-only.
type Set struct {
	byID     map[string]*Mapping
	detector *detector
}

// Load compiles every <source>/mapping.yaml in fsys, with the fragments in
// fsys or, if it has none of that name, the built-in ones. With errors in some,
// the others are still returned: a bad file never takes down a good one.
func Load(fsys fs.FS) (*Set, error) {
	names, err := fs.Glob(fsys, "*/mapping.yaml")
	if err != nil {
		return nil, err
	}
	s := &Set{byID: map[string]*Mapping{}}
	errs := checkFragments(fsys)
	for _, name := range names {
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		m, err := CompileWith(name, data, func(f string) ([]byte, error) { return Fragment(fsys, f) })
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if dir := path.Dir(name); dir != m.Source {
			errs = append(errs, &Error{File: name, Line: 1, Message: fmt.Sprintf("source %q must be the folder's name, %q", m.Source, dir)})
			continue
		}
		s.byID[m.Source] = m
	}
	s.detector = newDetector(s.sorted())
	return s, errors.Join(errs...)
}

// Get finds a mapping.
func (s *Set) Get(source string) *Mapping { return s.byID[source] }

// Sources lists the source ids in order.
func (s *Set) Sources() []string {
	out := make([]string, 0, len(s.byID))
	for id := range s.byID {
		out = append(out, id)
	}
	sort.Strings(out)
	return out
}
