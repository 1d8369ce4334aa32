package archtest

import (
	"bytes"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestNothingUnfinished: what is not done is said in an issue, where it is seen.
func TestNothingUnfinished(t *testing.T) {
	// Put together, so that this file does not match.
	marks := regexp.MustCompile(`\b(` + "TO" + "DO|FIX" + "ME" + `)\b`)
	eachText(t, func(name, line string, n int) {
		if marks.MatchString(line) {
			t.Errorf("%s:%d: %s", name, n, strings.TrimSpace(line))
		}
	})
}

// TestNoMachineNames: a build must not depend on where one machine keeps its
// files or gets its packages from.
func TestNoMachineNames(t *testing.T) {
	names := append(machineFolders(t), registryHosts(t)...)
	if len(names) == 0 {
		return
	}
	for i, n := range names {
		names[i] = regexp.QuoteMeta(n)
	}
	found := regexp.MustCompile(`(^|[^\w./-])(https?://)?(` + strings.Join(names, "|") + `)`)
	eachText(t, func(name, line string, n int) {
		if m := found.FindStringSubmatch(line); m != nil {
			t.Errorf("%s:%d names %s, which belongs to a machine", name, n, m[3])
		}
	})
}

// machineFolders are the folders of this machine that cannot be meant in
// general: that of the clone, the user's home, the caches.
func machineFolders(t *testing.T) []string {
	// Names that rules, samples and documents rightly use.
	common := []string{"/", "/home", "/root", "/tmp", "/var", "/var/tmp", "/srv", "/opt", "/usr", "/usr/src", "/app", "/src", "/data", "/mnt"}
	dirs := []string{filepath.Dir(root())}
	if home, err := os.UserHomeDir(); err == nil {
		dirs = append(dirs, home)
	}
	dirs = append(dirs, strings.Fields(string(command(t, "go", "env", "GOCACHE", "GOMODCACHE")))...)
	var out []string
	for _, d := range dirs {
		if d = filepath.ToSlash(filepath.Clean(d)); path.IsAbs(d) && !slices.Contains(common, d) {
			out = append(out, d+"/")
		}
	}
	return out
}

// registryHosts are the hosts this machine gets packages from.
func registryHosts(t *testing.T) []string {
	texts := [][]byte{command(t, "go", "env", "GOPROXY", "GOSUMDB")}
	// These two are often not installed: then they have nothing to tell.
	for _, args := range [][]string{{"npm", "config", "get", "registry"}, {"pip", "config", "get", "global.index-url"}} {
		if out, err := exec.Command(args[0], args[1:]...).Output(); err == nil {
			texts = append(texts, out)
		}
	}
	for _, pattern := range []string{"/etc/apt/sources.list", "/etc/apt/sources.list.d/*"} {
		matches, _ := filepath.Glob(pattern)
		for _, m := range matches {
			if data, err := os.ReadFile(m); err == nil {
				texts = append(texts, data)
			}
		}
	}
	host := regexp.MustCompile(`https?://([\w.-]+\.[a-z]{2,})`)
	var out []string
	for _, text := range texts {
		for _, m := range host.FindAllSubmatch(text, -1) {
			out = append(out, string(m[1]))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// eachText calls check for every line of the hand-written text files.
func eachText(t *testing.T, check func(name, line string, n int)) {
	t.Helper()
	for _, name := range files(t) {
		if recorded(name) || path.Base(name) == "go.sum" || path.Base(name) == "package-lock.json" {
			continue
		}
		data := []byte(read(t, name))
		if bytes.IndexByte(data[:min(len(data), 8000)], 0) >= 0 {
			continue
		}
		n := 0
		for line := range strings.Lines(string(data)) {
			n++
			check(name, line, n)
		}
	}
}

// quoted finds `code` in Markdown.
var quoted = regexp.MustCompile("`([^`\n]+)`")

// TestContributingPaths: every path in CONTRIBUTING.md exists. Paths with a
// placeholder (<name>, *) are checked up to it.
func TestContributingPaths(t *testing.T) {
	checkPaths(t, "CONTRIBUTING.md")
}

// TestDocumentPaths does the same for the overview.
func TestDocumentPaths(t *testing.T) {
	checkPaths(t, "docs/architecture.md")
	checkPaths(t, "README.md")
}

func checkPaths(t *testing.T, doc string) {
	t.Helper()
	top := map[string]bool{}
	entries, err := os.ReadDir(root())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		top[e.Name()] = true
	}
	for _, m := range quoted.FindAllStringSubmatch(read(t, doc), -1) {
		for word := range strings.FieldsSeq(m[1]) {
			word = strings.TrimPrefix(word, "./")
			first, _, nested := strings.Cut(word, "/")
			// Only what begins with a folder of the repository is a path; what
			// is built or cached is not there in a fresh clone.
			if !nested || !top[first] || first == "bin" || strings.HasPrefix(first, ".cache") {
				continue
			}
			if i := strings.IndexAny(word, "<*{…"); i >= 0 {
				word = word[:strings.LastIndexByte(word[:i], '/')+1]
			}
			if !exists(strings.TrimRight(word, "/.,:")) {
				t.Errorf("%s: %s does not exist", doc, word)
			}
		}
	}
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	for _, m := range link.FindAllStringSubmatch(read(t, doc), -1) {
		if target := path.Join(path.Dir(doc), m[1]); !exists(target) {
			t.Errorf("%s links to %s, which does not exist", doc, m[1])
		}
	}
}

// TestReadmeMap: the table under "Map of folders" lists the folders that there
// are: those at the top and the services.
func TestReadmeMap(t *testing.T) {
	_, section, ok := strings.Cut(read(t, "README.md"), "\n## Map of folders\n")
	if !ok {
		t.Fatal(`README.md has no section "## Map of folders"`)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	listed := map[string]bool{}
	row := regexp.MustCompile("(?m)^\\| *`([^`]+?)/?` *\\|")
	for _, m := range row.FindAllStringSubmatch(section, -1) {
		listed[m[1]] = true
		if !exists(m[1]) {
			t.Errorf("README.md maps %s, which does not exist", m[1])
		}
	}
	want := map[string]bool{}
	for _, name := range files(t) {
		parts := strings.Split(name, "/")
		switch {
		case len(parts) < 2 || strings.HasPrefix(parts[0], "."):
		case parts[0] == "services" && len(parts) > 2:
			want["services/"+parts[1]] = true
		default:
			want[parts[0]] = true
		}
	}
	for name := range want {
		if !listed[name] && name != "services" {
			t.Errorf("README.md: the map of folders lacks %s", name)
		}
	}
}

// TestDecisionNumbers: two records of one number cannot be told apart when
// somebody names it.
func TestDecisionNumbers(t *testing.T) {
	taken := map[string]string{}
	for _, name := range files(t) {
		if path.Dir(name) != "docs/adr" {
			continue
		}
		number, _, _ := strings.Cut(path.Base(name), "-")
		if other := taken[number]; other != "" {
			t.Errorf("%s and %s have one number", other, name)
		}
		taken[number] = name
		if want := "# " + strings.TrimLeft(number, "0") + ". "; !strings.HasPrefix(read(t, name), want) {
			t.Errorf("%s does not begin with %q", name, want)
		}
	}
	if len(taken) == 0 {
		t.Error("there are no records of decisions")
	}
}
