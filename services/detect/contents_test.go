package detect

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/snapshot"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

// contents runs the command and returns what it printed.
func contents(t *testing.T, srv *bus.Server, args ...string) (string, error) {
	t.Helper()
	cmd := ContentCommand(CommandOptions{Bus: func(context.Context) (*bus.Bus, error) { return testkit.Connect(t, srv), nil }})
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

const burstTests = `tests:
  - name: five
    events: [{repeat: 5, after: 1s, src_endpoint.ip: 192.0.2.1, http_response.code: 401}]
    expect: {alerts: 1}
`

func find(rules []*rule.Rule, id string) *rule.Rule {
	for _, r := range rules {
		if r.ID == id {
			return r
		}
	}
	return nil
}

// Pushed rules win over the folder, a bad push is refused before it is stored,
// one that is stored and bad leaves the old one running, and a rollback brings
// back what was.
func TestPushedRules(t *testing.T) {
	srv, b := hubBus(t)
	disk := strings.Replace(burst, "title: Burst", "title: Of the folder", 1)
	s, stop := start(t, b, rulesDir(t, map[string]string{"test/burst.yml": disk}))
	defer func() { stop() }()
	title := func() string {
		s.mu.Lock()
		defer s.mu.Unlock()
		return find(s.set.rules, "test.burst").Title
	}
	dir := rulesDir(t, map[string]string{"rules/test/burst.yml": burst + burstTests})
	file := filepath.Join(dir, "rules/test/burst.yml")
	edit := func(old, new string) {
		t.Helper()
		text, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(file, bytes.Replace(text, []byte(old), []byte(new), 1), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if title() != "Of the folder" {
		t.Fatal(title())
	}
	out, err := contents(t, srv, "push", dir, "-m", "first", "--by", "ann")
	if err != nil || !strings.Contains(out, "+ test.burst") || !strings.Contains(out, "revision 1 is in force") || !strings.Contains(out, "runs it") {
		t.Fatal(out, err)
	}
	if title() != "Burst" {
		t.Errorf("%q runs, and not what was pushed", title())
	}
	if out, err = contents(t, srv, "push", dir, "-m", "again"); err != nil || !strings.Contains(out, "nothing changes") {
		t.Error(out, err)
	}

	edit("level: high", "level: medium")
	edit("title: Burst", "title: Second")
	if out, err = contents(t, srv, "diff", dir); err != nil || !strings.Contains(out, "~ test.burst  Second  (level high → medium") {
		t.Error(out, err)
	}
	if out, err = contents(t, srv, "push", dir, "-m", "second"); err != nil || title() != "Second" {
		t.Error(out, err, title())
	}

	edit("http_response.code == 401", "http_response.code == 402")
	if out, err = contents(t, srv, "push", dir, "-m", "fails its test"); !errors.Is(err, errProblems) || !strings.Contains(out, "FAIL test.burst: five") {
		t.Error(out, err)
	}
	edit("http_response.code == 402", "http_response.kode == 401")
	if out, err = contents(t, srv, "push", dir, "-m", "does not load"); !errors.Is(err, errProblems) || !strings.Contains(out, "did you mean http_response.code?") {
		t.Error(out, err)
	}

	// What another version of the program may have thought good.
	store, err := snapshot.Open(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Push(t.Context(), map[string][]byte{"test/burst.yml": []byte("id: [")}, 0, snapshot.Manifest{Message: "bad", At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the bad revision is refused", func() bool {
		list, err := store.Instances(t.Context())
		return err == nil && len(list) == 1 && list[0].Refused == 3 && list[0].Revision == 2
	})
	if title() != "Second" {
		t.Errorf("after a bad revision %q runs", title())
	}
	// A restart with a bad revision takes the newest good one.
	stop()
	s, stop = start(t, b, rulesDir(t, map[string]string{"test/burst.yml": disk}))
	testkit.Eventually(t, "the good revision", func() bool { return title() == "Second" })

	if out, err = contents(t, srv, "rollback", "1", "-m", "too quiet"); err != nil || title() != "Burst" {
		t.Error(out, err, title())
	}
	out, err = contents(t, srv, "log")
	for _, want := range []string{"4 ", "rollback to 1: too quiet", "(in force)", "ann", "first"} {
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("log lacks %q: %s, %v", want, out, err)
		}
	}
	if out, err = contents(t, srv, "list"); err != nil || !strings.Contains(out, "revision 4") || !strings.Contains(out, "runs it since") {
		t.Error(out, err)
	}
	into := filepath.Join(t.TempDir(), "new")
	if out, err = contents(t, srv, "pull", into, "--revision", "2"); err != nil {
		t.Error(out, err)
	}
	if text, err := os.ReadFile(filepath.Join(into, "test/burst.yml")); err != nil || !bytes.Contains(text, []byte("title: Second")) {
		t.Errorf("%s, %v", text, err)
	}
	if _, err = contents(t, srv, "pull", into); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("pulled into a folder with files: %v", err)
	}
	if _, err = contents(t, srv, "rollback", "99"); err == nil || !strings.Contains(err.Error(), "no revision 99") {
		t.Error(err)
	}
}
