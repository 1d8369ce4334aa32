package ruletest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/vagus-hub/vagus/services/detect/internal/author/sample"
)

// ReadSamples returns a reader of samples: of a file below the folder of the
// rule's own, in content if the rule is built in, or <source>/testdata/<file>
// of the sources. Names that lead out of there are refused, links as well.
func ReadSamples(content, sources fs.FS) func(ruleFile, name string) ([]byte, error) {
	return func(ruleFile, name string) ([]byte, error) {
		if !fs.ValidPath(name) {
			return nil, fmt.Errorf("samples %s: a path below the rule's folder, without .. and /, is needed", name)
		}
		data, err := below(filepath.Dir(filepath.FromSlash(ruleFile)), name)
		if errors.Is(err, fs.ErrNotExist) && content != nil {
			data, err = readFS(content, path.Join(path.Dir(ruleFile), name))
		}
		if errors.Is(err, fs.ErrNotExist) && sources != nil && strings.Contains(name, "/testdata/") {
			data, err = readFS(sources, name)
		}
		if err != nil {
			return nil, fmt.Errorf("samples %s: %w", name, err)
		}
		return data, nil
	}
}

func below(dir, name string) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	return read(f)
}

func readFS(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	return read(f)
}

func read(f fs.File) ([]byte, error) {
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, sample.MaxBytes+1))
	if err == nil && len(data) > sample.MaxBytes {
		err = fmt.Errorf("longer than %d MiB", sample.MaxBytes>>20)
	}
	return data, err
}
