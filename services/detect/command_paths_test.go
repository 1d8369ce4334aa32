//go:build linux || darwin

package detect

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/vagus-hub/vagus/services/detect/internal/ruletest"
)

// Whatever the paths hold, check and test say what they did.
func TestPaths(t *testing.T) {
	stricter := strings.Replace(goodRule, "gte: 3", "gte: 2", 1)
	for name, tc := range map[string]struct {
		files map[string]string
		paths []string // below the folder
		want  string   // part of what is printed, or of the error
		fails bool
	}{
		"sound":          {map[string]string{"a/web/refused-keys.yml": goodRule}, []string{"a"}, "1 rule is good, 0 problems", false},
		"byte order":     {map[string]string{"a/web/refused-keys.yml": "\ufeff" + goodRule}, []string{"a"}, "1 rule is good, 0 problems", false},
		"CRLF":           {map[string]string{"a/web/refused-keys.yml": strings.ReplaceAll(goodRule, "\n", "\r\n")}, []string{"a"}, "1 rule is good, 0 problems", false},
		"marked Sigma":   {map[string]string{"a/x.yml": "\ufefftitle: x\nlogsource: {product: windows, category: process_creation}\ndetection: {a: {CommandLine|contains: mimikatz}, condition: a}\nlevel: low\n"}, []string{"a"}, "1 rule is good", false},
		"no rules":       {map[string]string{"a/readme.txt": "x"}, []string{"a"}, "there are no rules in DIR/a: a rule is a file <domain>/<slug>.yml", true},
		"overlapping":    {map[string]string{"a/web/refused-keys.yml": goodRule}, []string{"a", "a/web", "a/./web/refused-keys.yml"}, "1 rule is good, 0 problems", false},
		"one id twice":   {map[string]string{"a/web/refused-keys.yml": goodRule, "b/web/refused-keys.yml": stricter}, []string{"a", "b"}, "DIR/b/web/refused-keys.yml:1:1: error: id web.refused-keys is taken by DIR/a/web/refused-keys.yml", true},
		"a broken one":   {map[string]string{"a/web/refused-keys.yml": goodRule, "a/web/broken.yml": badRule}, []string{"a"}, "1 rule is good, 2 problems", true},
		"no such rule":   {map[string]string{"a/web/all.yml": overNothing}, []string{"a"}, "0 rules are good, 2 problems", true},
		"nothing there":  {nil, []string{"a"}, "a: no such file or directory", true},
		"an empty file":  {map[string]string{"a/web/x.yml": ""}, []string{"a/web/x.yml"}, "x.yml:1:1: error: the file is empty", true},
		"far too large":  {map[string]string{"a/web/x.yml": goodRule + strings.Repeat("#", 2<<20)}, []string{"a"}, "x.yml:1:1: error: file has 2098", true},
		"large, by name": {map[string]string{"a/web/x.yml": goodRule + strings.Repeat("#", 2<<20)}, []string{"a/web/x.yml"}, "x.yml: file has more than 2097152 bytes", true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := write(t, tc.files)
			args := []string{"check"}
			for _, p := range tc.paths {
				args = append(args, dir+"/"+p)
			}
			out, err := command(t, CommandOptions{}, dir, args...)
			if err != nil {
				out += strings.ReplaceAll(err.Error(), dir, "DIR")
			}
			if !strings.Contains(out, tc.want) || (err != nil) != tc.fails {
				t.Errorf("%v\n%s\nwant …%s…", err, out, tc.want)
			}
		})
	}
}

const overNothing = `id: web.all
title: All
description: All.
level: low
status: test
correlate: {type: chain, rules: [web.first], group_by: src_endpoint.ip, timespan: 1h}
alert: {title: x, entity: {type: ip, path: src_endpoint.ip}}
`

// A link that leads to itself, and one that leads nowhere, do not keep the rules
// beside them from loading.
func TestLinks(t *testing.T) {
	dir := write(t, map[string]string{"web/refused-keys.yml": goodRule})
	for link, to := range map[string]string{"web/self": "../web", "web/round.yml": "round.yml", "web/gone.yml": "gone"} {
		if err := os.Symlink(to, filepath.Join(dir, filepath.FromSlash(link))); err != nil {
			t.Fatal(err)
		}
	}
	out, err := command(t, CommandOptions{}, dir, "check", dir)
	for _, want := range []string{"1 rule is good, 2 problems", "gone.yml:1:1: error: cannot be read: no such file or directory", "round.yml:1:1: error: cannot be read: too many levels of symbolic links"} {
		if !strings.Contains(out, want) {
			t.Errorf("%v\n%s\nwant …%s…", err, out, want)
		}
	}
}

// An old version of a rule may be called anything where one file is named; in a
// folder of rules the name says the id.
func TestVersion(t *testing.T) {
	steps := strings.Replace(overNothing, "type: chain, rules: [web.first]", "type: temporal, steps: [{name: a, source: {class: http_activity}, when: http_response.code == 401}, {name: b, source: {class: http_activity}, when: http_response.code == 200}]", 1)
	dir := write(t, map[string]string{"tmp/old.yml": goodRule, "tmp/steps.yml": steps, "tmp/bad.yml": badRule})
	for file, want := range map[string]string{
		"tmp/old.yml": "web.refused-keys  Many refused", "tmp/steps.yml": "web.all#b  b", "tmp/bad.yml": "DIR/tmp/bad.yml:8:7: error: unknown field http_response.kode",
	} {
		out, err := command(t, CommandOptions{}, dir, "explain", dir+"/"+file)
		if err != nil {
			out = strings.ReplaceAll(err.Error(), dir, "DIR")
		}
		if !strings.Contains(out, want) {
			t.Errorf("%s:\n%s\nwant …%s…", file, out, want)
		}
	}
	if _, err := command(t, CommandOptions{}, dir, "check", dir+"/tmp/old.yml"); err == nil {
		t.Error("check says nothing of a name that is not the id's")
	}
}

// A pipe that is named is read once, and one that nobody writes into is empty:
// who waits for a writer could not be interrupted.
func TestPipe(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(dir+"/x.yml", 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := command(t, CommandOptions{}, dir, "check", dir+"/x.yml")
	if err == nil || !strings.Contains(out, "DIR/x.yml:1:1: error: the file is empty") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err = command(t, CommandOptions{}, dir, "check", dir); err == nil || !strings.Contains(out, "DIR/x.yml:1:1: error: is no regular file") {
		t.Errorf("%v\n%s", err, out)
	}
}

// A rule that does not load is no test that passed: --json tells it too.
func TestProblemsInJSON(t *testing.T) {
	dir := write(t, map[string]string{"web/refused-keys.yml": goodRule, "web/broken.yml": badRule})
	out, err := command(t, CommandOptions{}, dir, "test", dir, "--json")
	if err == nil {
		t.Error("a broken rule is no error")
	}
	var results []ruletest.Result
	if err := json.Unmarshal([]byte(out), &results); err != nil {
		t.Fatal(err)
	}
	passed, failed := 0, 0
	for _, r := range results {
		if r.OK {
			passed++
		} else if failed++; r.File != "DIR/web/broken.yml" || r.Line == 0 || r.Message == "" {
			t.Errorf("%+v", r)
		}
	}
	if passed != 2 || failed != 2 {
		t.Errorf("%d passed, %d failed\n%s", passed, failed, out)
	}
}

func TestListRefusesWhatNoRuleHas(t *testing.T) {
	dir := write(t, map[string]string{"web/refused-keys.yml": goodRule})
	for flag, want := range map[string]string{
		"--level=hgh":   "list: --level hgh is unknown: did you mean high? (one of informational, low, medium, high, critical)",
		"--level=med+":  "list: --level med is unknown (one of informational, low, medium, high, critical)",
		"--lane=alerts": "list: --lane alerts is unknown: did you mean alert? (one of hunt, alert, enforce)",
		"--status=prod": "list: --status prod is unknown (one of experimental, test, stable)",
	} {
		if out, err := command(t, CommandOptions{}, dir, "list", dir, flag); err == nil || err.Error() != want {
			t.Errorf("%s: %v\n%s\nwant %s", flag, err, out, want)
		}
	}
}
