package detect

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// importFlags are those of every import.
type importFlags struct {
	out               string
	check, all, force bool
}

func (o *importFlags) add(c *cobra.Command, all string) {
	c.Flags().StringVar(&o.out, "out", "", "folder to write native rules to")
	c.Flags().BoolVar(&o.force, "force", false, "with --out: replace files that are there and differ, as those that were changed by hand")
	c.Flags().BoolVar(&o.check, "check", false, "only report")
	c.Flags().BoolVar(&o.all, "all", false, all)
}

func (o *importFlags) valid(format string) error {
	switch {
	case (o.out == "") == !o.check:
		return fmt.Errorf("import %s: give either --out DIR or --check", format)
	case o.force && o.check:
		return fmt.Errorf("import %s: --force replaces files of --out, and --check writes none", format)
	}
	return nil
}

// readFiles reads the files of paths and folders whose name has one of the
// endings; a file that is named itself may be called anything. Links to folders
// are followed only if they are named. A file that cannot be read is a problem,
// and the others are read.
func readFiles(paths []string, endings ...string) ([]rule.File, []rule.Problem, error) {
	var out []rule.File
	var problems []rule.Problem
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, nil, err
		}
		if info.IsDir() {
			p += string(filepath.Separator) // of a link: the folder behind it
		}
		err = filepath.WalkDir(p, func(name string, d fs.DirEntry, err error) error {
			bad := func(err error) {
				problems = append(problems, rule.Problem{File: filepath.ToSlash(name), Line: 1, Column: 1, Message: err.Error()})
			}
			if err != nil {
				var of *fs.PathError
				if errors.As(err, &of) {
					err = of.Err
				}
				bad(fmt.Errorf("cannot be read: %w", err))
				return nil
			}
			if d.IsDir() || name != p && !slices.Contains(endings, filepath.Ext(name)) {
				return nil
			}
			if info, err := os.Stat(name); err == nil && info.IsDir() {
				return nil
			}
			data, err := rule.ReadFile(os.DirFS(filepath.Dir(name)), filepath.Base(name))
			if err != nil {
				bad(err)
				return nil
			}
			out = append(out, rule.File{Name: filepath.ToSlash(name), Data: data})
			return nil
		})
		if err != nil {
			return nil, nil, err
		}
	}
	if len(out)+len(problems) == 0 {
		return nil, nil, fmt.Errorf("no file ending in %s below %s", strings.Join(endings, " or "), strings.Join(paths, ", "))
	}
	return out, problems, nil
}

// incomplete says what an import left out: that is an error, although the rest
// was written, so that a script hears of it.
type incomplete struct {
	unread int    // files that cannot be read
	left   int    // rules that are not taken over
	what   string // they are
	kept   int    // files that are there already and differ
}

func (i incomplete) err(format string) error {
	var parts []string
	if i.unread > 0 {
		parts = append(parts, count(i.unread, "problem")+" with files")
	}
	if i.left > 0 {
		parts = append(parts, count(i.left, i.what)+" left out")
	}
	if i.kept > 0 {
		parts = append(parts, count(i.kept, "file")+" not replaced (--force does)")
	}
	if len(parts) == 0 {
		return nil
	}
	return fmt.Errorf("import %s: %s", format, strings.Join(parts, ", "))
}

// writeProblems lists files that cannot be read.
func writeProblems(w io.Writer, problems []rule.Problem) {
	for _, p := range problems {
		fmt.Fprintln(w, p)
	}
}

// differs reports whether a file is there and holds something else.
func differs(name string, data []byte) bool {
	have, err := os.ReadFile(name)
	return err == nil && !bytes.Equal(have, data)
}
