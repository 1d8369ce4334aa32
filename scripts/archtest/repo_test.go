package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const prefix = "github.com/vagus-hub/vagus"

// pack is what the rules need to know of a package (see go help list).
type pack struct {
	ImportPath   string
	Dir          string
	Name         string
	GoFiles      []string
	CgoFiles     []string
	TestGoFiles  []string
	XTestGoFiles []string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Module       *struct{ Path string }
}

// rel is the package's folder relative to the repository, with slashes.
func (p pack) rel() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, prefix), "/")
}

// root is the repository's folder; tests run in their package's.
var root = sync.OnceValue(func() string {
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		panic(err)
	}
	return dir
})

// command runs a program in the repository and returns what it prints.
func command(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = root()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.Bytes())
	}
	return out
}

var packages = sync.OnceValues(func() ([]pack, error) {
	cmd := exec.Command("go", "list", "-e",
		"-json=ImportPath,Dir,Name,GoFiles,CgoFiles,TestGoFiles,XTestGoFiles,Imports,TestImports,XTestImports,Module", "work")
	cmd.Dir = root()
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var list []pack
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pack
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return list, nil
		} else if err != nil {
			return nil, err
		}
		if p.Module != nil {
			list = append(list, p)
		}
	}
})

// workspace lists every package of the workspace; go list runs once.
func workspace(t *testing.T) []pack {
	t.Helper()
	list, err := packages()
	if err != nil {
		t.Fatalf("go list work: %v", err)
	}
	return list
}

var tracked = sync.OnceValues(func() ([]string, error) {
	cmd := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root()
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var names []string
	for name := range strings.SplitSeq(string(out), "\x00") {
		if name == "" {
			continue
		}
		// A deleted file stays listed until the deletion is committed.
		if info, err := os.Lstat(filepath.Join(root(), name)); err == nil && info.Mode().IsRegular() {
			names = append(names, name)
		}
	}
	return names, nil
})

// files lists the files of the repository: what git has or would take.
func files(t *testing.T) []string {
	t.Helper()
	names, err := tracked()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	return names
}

// read returns a file of the repository.
func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root(), filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func exists(name string) bool {
	_, err := os.Stat(filepath.Join(root(), filepath.FromSlash(name)))
	return !errors.Is(err, fs.ErrNotExist)
}

// recorded tells whether a file is a sample or golden, kept as it came.
func recorded(name string) bool {
	return strings.Contains(name, "testdata/") || strings.HasPrefix(name, "testdata/")
}
