package detect

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestImportOfBrokenFiles: each import says which files it cannot read and what
// of them is wrong, takes over the rest, and ends with an error.
func TestImportOfBrokenFiles(t *testing.T) {
	broken := map[string]string{
		"latin.xml": "<group name=\"a\">\n<rule id=\"1\" level=\"3\"><match>caf\xe9</match></rule></group>", "utf16.yaml": "\xff\xfei\x00",
		"big.xml": strings.Repeat(" ", 3<<20), "big.yaml": strings.Repeat("#", 3<<20), "cut.yaml": "agent_source: {type: x}\ndetection: {\n",
		"kinds.xml":   `<group name="a"><rule id="x" level="3"><match>a</match></rule><rule id="2" level="17"><match>a</match></rule><rule id="3"><match>a</match></rule></group>`,
		"twice.xml":   "<group name=\"a\"><rule id=\"101\" level=\"3\"><match>again</match></rule>\n<rule id=\"102\" level=\"3\" overwrite=\"yes\"><match>instead</match></rule></group>",
		"a/doors.xml": doors, "threat.yaml": threat,
	}
	dir := rulesDir(t, broken)
	for from, to := range map[string]string{"loop.xml": "loop.xml", "loop.yaml": "loop.yaml", "again": "."} {
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	convert := ": convert it, for example with iconv -f "
	for format, tc := range map[string]struct {
		lines []string
		err   string
	}{
		"wazuh": {[]string{
			`DIR/kinds.xml:1:1: error: rule is left out: id "x" is no number of a rule`,
			`DIR/kinds.xml:1:1: error: rule is left out: level "17" is no number from 0 to 16`,
			`DIR/kinds.xml:1:1: error: rule is left out: level is missing`,
			"DIR/latin.xml:2:34: error: file is not UTF-8" + convert + "ISO-8859-1 -t UTF-8",
			`DIR/twice.xml:1:1: error: rule 101 is at DIR/a/doors.xml:3 already and this one counts: to replace the other on purpose, write overwrite="yes"`,
			"DIR/big.xml:1:1: error: file has 3145728 bytes, at most 2097152 are allowed",
			"DIR/loop.xml:1:1: error: cannot be read: too many levels of symbolic links",
			"3 of 3 rules that alert are converted (100.0 %); 1 more only group others",
		}, "import wazuh: 7 problems with files"},
		"atr": {[]string{
			"DIR/big.yaml:1:1: error: file has 3145728 bytes, at most 2097152 are allowed",
			"DIR/loop.yaml:1:1: error: cannot be read: too many levels of symbolic links",
			"DIR/utf16.yaml:1:1: error: file is UTF-16 and not UTF-8" + convert + "UTF-16 -t UTF-8",
			"DIR/cut.yaml:2:12: error: could not find flow mapping end token '}'",
			"1 of 2 rules load (50.0 %), 1 of them without a condition that cannot be expressed (--all lists them)",
			"their own test cases: 1 of 2 positives fire (50.0 %), 1 of 1 negatives stay silent (100.0 %)",
		}, "import atr: 3 problems with files, 1 rule left out"},
	} {
		out, err := importRules(t, format, dir, "--check")
		got := strings.Split(strings.TrimSpace(strings.ReplaceAll(out, filepath.ToSlash(dir), "DIR")), "\n")
		if i := len(tc.lines); len(got) > i && strings.HasPrefix(got[i], "Error:") {
			got = got[:i]
		}
		if diff := cmp.Diff(tc.lines, got); diff != "" {
			t.Errorf("%s: %s", format, diff)
		}
		if err == nil || err.Error() != tc.err {
			t.Errorf("%s: %v, want %s", format, err, tc.err)
		}
	}
}

// TestImportOfNothing: a folder without such rules is an error, which says what
// was looked for.
func TestImportOfNothing(t *testing.T) {
	dir := rulesDir(t, map[string]string{"readme.txt": "hello", "other.xml": "<sca/>", "other.yml": "a: b\n"})
	empty := t.TempDir()
	for _, args := range [][]string{{"--check"}, {"--check", "--json"}} {
		for what, want := range map[string]string{
			"wazuh " + empty: "import wazuh: no file ending in .xml below " + empty,
			"atr " + empty:   "import atr: no file ending in .yml or .yaml below " + empty,
			"sigma " + empty: "import sigma: no file ending in .yml or .yaml below " + empty,
			"wazuh " + dir:   "the files hold no rule of Wazuh (<rule> in <group>)",
			"atr " + dir:     "no file is a rule of ATR (with agent_source and detection)",
			"sigma " + dir:   "import sigma: 1 document left out",
		} {
			if out, err := importRules(t, append(strings.Fields(what), args...)...); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s\n%s", what, err, want, out)
			}
		}
	}
}

// TestImportKeepsWhatWasChanged: an import does not replace a file that somebody
// changed, unless it is told to.
func TestImportKeepsWhatWasChanged(t *testing.T) {
	dir, into := rulesDir(t, map[string]string{"a/x.yaml": threat}), t.TempDir()
	file := filepath.Join(into, "atr", "2026-99001.yml")
	run := func(want string, failed bool, more ...string) {
		t.Helper()
		out, err := importRules(t, append([]string{"atr", dir, "--out", into}, more...)...)
		if !strings.Contains(out, want) || (err != nil) != failed {
			t.Errorf("lacks %q: %v\n%s", want, err, out)
		}
	}
	run("1 rule written to", false)
	run("1 rule written to", false) // the same again
	if err := os.WriteFile(file, []byte("mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(file+" is there and differs: it is left as it is\n0 rules written to", true)
	run(`"kept": [`, true, "--json")
	if text, err := os.ReadFile(file); err != nil || string(text) != "mine\n" {
		t.Errorf("%q, %v", text, err)
	}
	run("1 rule written to", false, "--force")
	if text, err := os.ReadFile(file); err != nil || string(text) == "mine\n" {
		t.Errorf("%q, %v", text, err)
	}
	run("", true, "--force", "--check")
}
