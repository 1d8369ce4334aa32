package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMixes(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	var lines strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&lines, `{"Channel": "Security", "EventID": %d}`+"\n", []int{4688, 4624}[i%100/99])
	}
	lines.WriteString("no event\n" + `{"EventID":1,"Channel":"Microsoft-Windows-Sysmon/Operational"}`)
	if err := os.WriteFile(filepath.Join(from, "a.ndjson"), []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeMixes(t.Context(), to, from); err != nil {
		t.Fatal(err)
	}
	for mix, want := range map[string]int{"natural": 201, "balanced": 1500 + 20 + 1, "process": 1980 + 1} {
		text, err := os.ReadFile(filepath.Join(to, mix+".ndjson"))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(string(text), "\n"); got != want {
			t.Errorf("%s has %d events, want %d", mix, got, want)
		}
	}
	if err := writeMixes(t.Context(), to, t.TempDir()); err == nil {
		t.Error("a folder without events is no error")
	}
}
