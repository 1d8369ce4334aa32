package cli

import (
	"io"
	"strings"
	"testing"
)

// A word that no command has is an error wherever it stands, so that a script
// with a typo does not go on.
func TestUnknownCommand(t *testing.T) {
	for line, want := range map[string]string{
		"rulse":              "",
		"rules chek":         "did you mean check?",
		"rules import sigmo": "did you mean sigma?",
		"content xyz":        `unknown command "xyz" for "vagus content"`,
		"sources gues":       "did you mean guess?",
		"rules tune":         "write vagus rules tune ID|FILE (--help has more)",
		"rules diff a":       "write vagus rules diff OLD NEW (",
		"hunt":               "write vagus hunt EXPR (",
		"content rollback":   "write vagus content rollback REVISION (",
		"rules import atr":   "write vagus rules import atr PATH… (",
	} {
		root := New("test")
		root.SetArgs(strings.Fields(line))
		root.SetOut(io.Discard)
		if err := root.Execute(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", line, err, want)
		}
	}
	root := New("test")
	root.SetArgs([]string{"rules"})
	root.SetOut(io.Discard)
	if err := root.Execute(); err != nil {
		t.Errorf("a group alone prints its help: %v", err)
	}
}
