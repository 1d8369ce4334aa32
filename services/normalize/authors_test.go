package normalize

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func sourcesCommand(t *testing.T, args ...string) (string, error) {
	t.Helper()
	c := Command()
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetErr(&bytes.Buffer{})
	c.SetArgs(args)
	err := c.Execute()
	return out.String(), err
}

// TestAuthorsWay: from a log to a mapping that is sound, explained and tested.
func TestAuthorsWay(t *testing.T) {
	for name, log := range map[string]string{
		"json":   `{"timestamp":"2026-11-22T18:21:42Z","gateway_tenant":"acme","user":{"name":"ana"},"model":"m1","status":200,"x.y":"z"}` + "\n" + `{"timestamp":"2026-11-22T18:21:43Z","gateway_tenant":"acme","user":{"name":"bo"},"model":"m1","status":403}`,
		"kv":     `ts=1795371702 gateway_tenant=acme user=ana clientip=192.0.2.1 msg="a b"`,
		"syslog": `<38>Nov 22 18:21:42 web1 gw[812]: hello`,
		"cef":    `CEF:0|Acme|Gateway|1|100|block|7|src=192.0.2.1 suser=ana`,
		"text":   `just a line`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(t.TempDir(), "in.log")
			if err := os.WriteFile(file, []byte(log), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := sourcesCommand(t, "--dir", dir, "new", "acme.gateway", "--from", file); err != nil {
				t.Fatal(err)
			}
			text, _ := os.ReadFile(filepath.Join(dir, "acme.gateway", "mapping.yaml"))
			if out, err := sourcesCommand(t, "--dir", dir, "check", "--json"); err != nil || strings.TrimSpace(out) != "[]" {
				t.Fatalf("check: %v %s\n%s", err, out, text)
			}
			out, err := sourcesCommand(t, "--dir", dir, "explain", "acme.gateway", file)
			if err != nil || name != "text" && name != "syslog" && !strings.Contains(out, "actor.user.name") {
				t.Errorf("explain: %v\n%s\n%s", err, out, text)
			}
			if name != "text" {
				if out, err := sourcesCommand(t, "--dir", dir, "guess", file); err != nil || !strings.Contains(out, "acme.gateway") {
					t.Errorf("guess: %v\n%s\n%s", err, out, text)
				}
			}
			if _, err := sourcesCommand(t, "--dir", dir, "test", "--update"); err != nil {
				t.Error(err)
			}
			out, err = sourcesCommand(t, "--dir", dir, "list", "--json")
			var list []struct {
				Recognised bool
				Goldens    int
				Families   []string
			}
			if err != nil || json.Unmarshal([]byte(out), &list) != nil || len(list) != 1 || list[0].Recognised != (name != "text") || len(list[0].Families) != 1 {
				t.Errorf("list: %v\n%s\n%s", err, out, text)
			}
			if _, err := sourcesCommand(t, "--dir", dir, "new", "acme.gateway", "--from", file); err == nil {
				t.Error("an existing source was overwritten")
			}
		})
	}
}

func TestCheckTellsThePlace(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a.b"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a.b", "mapping.yaml"), []byte("source: a.b\nclasses:\n  - class: nope\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := sourcesCommand(t, "--dir", dir, "check", "--json")
	if err == nil || !strings.Contains(out, `"line": 3`) || !strings.Contains(out, `"file": "a.b/mapping.yaml"`) {
		t.Errorf("%v\n%s", err, out)
	}
}
