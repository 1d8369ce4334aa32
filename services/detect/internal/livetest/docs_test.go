package livetest

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// changing is what differs from run to run, or from the tests to the documents.
var changing = regexp.MustCompile(`judged in \w+( \([0-9,]+/s\))?|expires: [0-9-]+|precision .*`)

// What docs/rules.md shows of the commands that read the past is what the tests of
// this package get from them, line by line; "…" stands for lines left out.
func TestOutputInDocs(t *testing.T) {
	doc, err := os.ReadFile("../../../../docs/rules.md")
	if err != nil {
		t.Fatal(err)
	}
	for command, name := range map[string]string{
		"rules backtest test.burst ": "backtest.txt", "rules diff test.burst ": "diff.txt", "rules tune test.burst ": "tune.txt", "hunt ": "hunt_by.txt",
	} {
		_, block, ok := strings.Cut(string(doc), "\n$ vagus "+command)
		if !ok {
			t.Errorf("docs/rules.md shows no output of vagus %s", command)
			continue
		}
		block, _, _ = strings.Cut(block, "\n```")
		data, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		clean := func(s string) []string { return strings.Split(changing.ReplaceAllString(s, "…"), "\n") }
		got := clean(string(data))
		cut := false
		for _, line := range clean(block)[1:] {
			if strings.TrimSpace(line) == "…" {
				cut = true
				continue
			}
			for cut && len(got) > 0 && got[0] != line {
				got = got[1:]
			}
			if cut = false; len(got) == 0 || got[0] != line {
				t.Errorf("vagus %s: docs/rules.md shows %q, which %s has not there", command, line, name)
				break
			}
			got = got[1:]
		}
	}
}
