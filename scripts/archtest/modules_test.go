package archtest

import (
	"encoding/json"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// toolsModule stays outside go.work: its dependencies would lift those of the
// product.
const toolsModule = "scripts/tools"

type module struct {
	dir     string // relative to the repository, "." for the root
	Module  struct{ Path string }
	Go      string
	Require []struct {
		Path, Version string
		Indirect      bool
	}
	Replace []struct {
		Old struct{ Path string }
		New struct{ Path, Version string }
	}
}

func modules(t *testing.T) []module {
	t.Helper()
	var list []module
	for _, name := range files(t) {
		// Go ignores folders that begin with "_": programs built apart.
		if path.Base(name) != "go.mod" || recorded(name) || strings.Contains("/"+name, "/_") {
			continue
		}
		m := module{dir: path.Dir(name)}
		if err := json.Unmarshal(command(t, "go", "mod", "edit", "-json", name), &m); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		list = append(list, m)
	}
	return list
}

func TestModules(t *testing.T) {
	var work struct {
		Go  string
		Use []struct{ DiskPath string }
	}
	if err := json.Unmarshal(command(t, "go", "work", "edit", "-json"), &work); err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, u := range work.Use {
		used[path.Clean(filepath.ToSlash(u.DiskPath))] = true
	}

	versions := map[string]string{} // dependency → "version in module"
	for _, m := range modules(t) {
		if m.Go != work.Go {
			t.Errorf("%s/go.mod says go %s, go.work go %s: one language version for all", m.dir, m.Go, work.Go)
		}
		if want := path.Join(prefix, m.dir); m.Module.Path != want {
			t.Errorf("%s/go.mod declares %s, want %s: the import path is the address of the folder", m.dir, m.Module.Path, want)
		}
		if m.dir == toolsModule {
			if used[m.dir] {
				t.Errorf("go.work uses %s: tools would lift the product's dependencies", m.dir)
			}
			continue
		}
		if !used[m.dir] {
			t.Errorf("go.work does not use ./%s: its tests would not run", m.dir)
		}
		checkReplaces(t, m)
		for _, r := range m.Require {
			if r.Indirect || strings.HasPrefix(r.Path, prefix) {
				continue
			}
			here := r.Version + " in " + m.dir
			if other, ok := versions[r.Path]; ok && !strings.HasPrefix(other, r.Version+" ") {
				t.Errorf("%s: %s, but %s: with and without go.work the same code must be built (./task tidy)", r.Path, here, other)
			}
			versions[r.Path] = here
		}
	}
}

// checkReplaces: replaces are not transitive, so each module needs one for each
// local module it requires, or it cannot be built with GOWORK=off.
func checkReplaces(t *testing.T, m module) {
	replaced := map[string]string{}
	for _, r := range m.Replace {
		if !strings.HasPrefix(r.Old.Path, prefix) {
			t.Errorf("%s/go.mod replaces %s: forks are decided in an ADR", m.dir, r.Old.Path)
		}
		replaced[r.Old.Path] = r.New.Path
	}
	for _, r := range m.Require {
		if !strings.HasPrefix(r.Path, prefix) {
			continue
		}
		to, ok := replaced[r.Path]
		if !ok {
			t.Errorf("%s/go.mod requires %s without a replace: GOWORK=off cannot build it", m.dir, r.Path)
			continue
		}
		if got := path.Join(prefix, m.dir, to); !strings.HasPrefix(to, ".") || got != r.Path {
			t.Errorf("%s/go.mod replaces %s by %s: want the relative path of that module", m.dir, r.Path, to)
		}
	}
}

// TestDependencies: a dependency is a decision, so each has its reason in
// dependencies.txt.
func TestDependencies(t *testing.T) {
	const table = "scripts/archtest/dependencies.txt"
	listed := map[string]bool{}
	for line := range strings.Lines(read(t, table)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, why, _ := strings.Cut(line, " ")
		if strings.TrimSpace(why) == "" {
			t.Errorf("%s: %s has no reason", table, name)
		}
		if listed[name] {
			t.Errorf("%s: %s is listed twice", table, name)
		}
		listed[name] = true
	}
	wanted := map[string]bool{}
	for _, m := range modules(t) {
		if m.dir == toolsModule {
			continue
		}
		for _, r := range m.Require {
			if r.Indirect || strings.HasPrefix(r.Path, prefix) {
				continue
			}
			wanted[r.Path] = true
			if !listed[r.Path] {
				t.Errorf("%s/go.mod requires %s, which %s does not list: say there why it is worth having (permissive licence, maintained)", m.dir, r.Path, table)
			}
		}
	}
	for name := range listed {
		if !wanted[name] {
			t.Errorf("%s lists %s, which no module requires any more: remove the line", table, name)
		}
	}
}
