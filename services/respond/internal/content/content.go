// Package content finds playbooks and connectors in folders.
package content

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/vagus-hub/vagus/services/respond/internal/connector"
	"github.com/vagus-hub/vagus/services/respond/internal/playbook"
)

// maxFiles bounds the files of one folder tree.
const maxFiles = 5000

type file struct {
	name string
	text []byte
}

// read returns the .yml files below root, connectors apart. Folders whose
// name starts with _ are templates and left out.
func read(root fs.FS) (connectors, playbooks []file, err error) {
	n := 0
	err = fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if base := path.Base(name); d.IsDir() && name != "." && (strings.HasPrefix(base, "_") || strings.HasPrefix(base, ".")) {
			return fs.SkipDir
		}
		if d.IsDir() || path.Ext(name) != ".yml" {
			return nil
		}
		if n++; n > maxFiles {
			return fmt.Errorf("more than %d files", maxFiles)
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		if path.Base(path.Dir(name)) == "connectors" {
			connectors = append(connectors, file{name, text})
		} else {
			playbooks = append(playbooks, file{name, text})
		}
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read content: %w", err)
	}
	return connectors, playbooks, nil
}

// Connectors reads the connectors of all roots; a later root replaces those of
// the same id. Files with mistakes are left out and reported in the error,
// next to what could be read.
func Connectors(roots ...fs.FS) ([]*connector.Spec, error) {
	var errs []error
	var out []*connector.Spec
	for _, root := range roots {
		files, _, err := read(root)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			sp, err := connector.Parse(f.name, f.text)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			out = slices.DeleteFunc(out, func(o *connector.Spec) bool { return o.ID == sp.ID })
			out = append(out, sp)
		}
	}
	return out, errors.Join(errs...)
}

// Playbooks reads the playbooks of all roots in the order of their names, like
// Connectors. Two of the same id in one root are a mistake.
func Playbooks(ops playbook.Operations, roots ...fs.FS) ([]*playbook.Playbook, error) {
	var errs []error
	var out []*playbook.Playbook
	for _, root := range roots {
		_, files, err := read(root)
		if err != nil {
			return nil, err
		}
		here := map[string]string{}
		for _, f := range files {
			pb, err := playbook.Parse(f.name, f.text, ops)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			if other := here[pb.ID]; other != "" {
				errs = append(errs, fmt.Errorf("%s: id %q is also in %s", f.name, pb.ID, other))
				continue
			}
			here[pb.ID] = f.name
			out = slices.DeleteFunc(out, func(o *playbook.Playbook) bool { return o.ID == pb.ID })
			out = append(out, pb)
		}
	}
	return out, errors.Join(errs...)
}
