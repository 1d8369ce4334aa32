package mapping

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/sources"
)

// fragmentDir holds what several mappings share, a file each.
const fragmentDir = "_fragments"

// Fragment finds the text of a fragment in fsys, or among the built-in ones.
func Fragment(fsys fs.FS, name string) ([]byte, error) {
	if !fs.ValidPath(name) || strings.Contains(name, "/") {
		return nil, fs.ErrNotExist
	}
	file := path.Join(fragmentDir, name+".yaml")
	data, err := fs.ReadFile(fsys, file)
	if errors.Is(err, fs.ErrNotExist) {
		return fs.ReadFile(sources.FS, file)
	}
	return data, err
}

func parseFragment(name string, data []byte) (fragment, error) {
	var f fragment
	if len(data) > 1<<20 {
		return f, &Error{File: name, Message: "the fragment is larger than 1 MiB"}
	}
	doc, err := parseYAML(data)
	if err == nil {
		err = yaml.NodeToValue(doc, &f, yaml.Strict())
	}
	if err != nil {
		return f, placed(name, err)
	}
	return f, nil
}

// checkFragments reads every fragment, used or not, so that an error is told
// in its own file.
func checkFragments(fsys fs.FS) []error {
	names, err := fs.Glob(fsys, fragmentDir+"/*.yaml")
	if err != nil {
		return []error{err}
	}
	var errs []error
	for _, name := range names {
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		f, err := parseFragment(name, data)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, cf := range f.Fields {
			if _, ok := event.ByPath(cf.name.value); !ok {
				errs = append(errs, placed(name, cf.name.errorf("unknown column %q", cf.name.value)))
			}
		}
	}
	return errs
}

// use adds the fragments that the mapping names behind its own entries. Of a
// fragment's fields those are left out that the mapping has itself, and those
// whose aliases it does not define.
func (c *compiler) use(f *file) {
	for name, p := range f.Aliases {
		c.aliases[name] = p
	}
	own := map[string]bool{}
	for _, cf := range f.Fields {
		own[cf.name.value] = true
	}
	for _, u := range f.Use {
		var data []byte
		err := fs.ErrNotExist
		if c.fragments != nil {
			data, err = c.fragments(u.value)
		}
		if err != nil {
			c.fail(u.errorf("there is no fragment %q in %s", u.value, fragmentDir))
			continue
		}
		part, err := parseFragment(fmt.Sprintf("%s/%s.yaml", fragmentDir, u.value), data)
		if err != nil {
			c.fail(err)
			continue
		}
		for name, p := range part.Aliases {
			if _, ok := c.aliases[name]; !ok {
				c.aliases[name] = p
			}
		}
		f.Same = append(f.Same, part.Same...)
		f.KeyValues = append(f.KeyValues, c.usable(part.KeyValues)...)
		f.Embedded = append(f.Embedded, c.usable(part.Embedded)...)
		f.Ignore = append(f.Ignore, c.usable(part.Ignore)...)
		for _, cf := range part.Fields {
			if own[cf.name.value] {
				continue
			}
			if from, ok := c.known(cf.from); ok {
				own[cf.name.value] = true
				f.Fields = append(f.Fields, columnField{name: cf.name, from: from, shared: true})
			}
		}
	}
}

// usable leaves out the paths whose alias is not defined.
func (c *compiler) usable(paths []place) []place {
	var out []place
	for _, p := range paths {
		if _, err := c.parse(p); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// known leaves out the alternatives of a field that name an alias that is not
// defined; false if nothing is left.
func (c *compiler) known(f field) (field, bool) {
	all := append([]field{f}, f.Or...)
	var left []field
	for _, one := range all {
		one.Or = nil
		paths := c.usable(one.Paths)
		if len(one.Paths) > 0 && len(paths) == 0 {
			continue
		}
		ok := true
		for _, p := range []place{one.Minus, one.Join} {
			if _, err := c.parse(p); p.value != "" && err != nil {
				ok = false
			}
		}
		if one.Paths = paths; ok {
			left = append(left, one)
		}
	}
	if len(left) == 0 {
		return field{}, false
	}
	out := left[0]
	out.Or = left[1:]
	return out, true
}
