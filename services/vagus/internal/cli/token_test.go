package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vagus-hub/vagus/services/ingest"
)

// vagus runs a command line.
func vagus(t *testing.T, args ...string) (string, error) {
	t.Helper()
	c := New("test")
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetErr(&out)
	c.SetArgs(args)
	err := c.ExecuteContext(t.Context())
	return out.String(), err
}

func TestToken(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "tokens.yaml")
	secret, err := vagus(t, "token", "new", "--data", dir, "--name", "edge", "--source", "nginx.access", "--source", "kong.*", "--expires", "24h")
	if err != nil {
		t.Fatal(err)
	}
	secret = strings.TrimSpace(secret)
	text, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(text), secret) {
		t.Fatalf("%v, or the file holds the token itself:\n%s", err, text)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	list, err := ingest.LoadTokens(path)
	if err != nil || len(list) != 1 || list[0].SHA256 != ingest.HashToken(secret) || list[0].NotAfter.IsZero() {
		t.Fatalf("%+v %v", list, err)
	}
	for name, args := range map[string][]string{
		"twice":     {"new", "--name", "edge", "--source", "x.y"},
		"no source": {"new", "--name", "other"},
		"bad":       {"new", "--name", "other", "--source", "x*"},
		"not there": {"revoke", "other"},
	} {
		if out, err := vagus(t, append([]string{"token", "--data", dir}, args...)...); err == nil {
			t.Errorf("%s: %s", name, out)
		}
	}
	if out, err := vagus(t, "token", "list", "--data", dir, "--json"); err != nil || !strings.Contains(out, `"kong.*"`) || strings.Contains(out, "sha256") {
		t.Errorf("%s %v", out, err)
	}
	if _, err := vagus(t, "token", "revoke", "edge", "--data", dir); err != nil {
		t.Fatal(err)
	}
	if list, err := ingest.LoadTokens(path); err != nil || len(list) != 0 {
		t.Errorf("%+v %v", list, err)
	}
}
