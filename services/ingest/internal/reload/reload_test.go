package reload

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := New(time.Second, "", path)
	step := func(what string, want bool) {
		t.Helper()
		if w.Changed() != want {
			t.Errorf("%s: changed is not %v", what, want)
		}
	}
	step("no file", false)
	write("a")
	step("new", true)
	step("the same", false)
	write("b") // as long, and perhaps at the same moment
	step("other content", true)
	write("b")
	step("written again", false)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	step("gone", false)
	write("b")
	step("back", false)
	old := time.Now().Add(-time.Hour)
	write("c")
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	step("older", true)
}
