package detect

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWithExceptions(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"none, with tests": {"id: a\ntests:\n  - x\n", "id: a\nexceptions:\n  - new\ntests:\n  - x\n"},
		"none, no tests":   {"id: a\n", "id: a\nexceptions:\n  - new\n"},
		"no line end":      {"id: a", "id: a\nexceptions:\n  - new"},
		"some":             {"exceptions:\n    - old\ntests: []\n", "exceptions:\n    - new\n    - old\ntests: []\n"},
		"not indented":     {"exceptions:\n# why\n- old\n", "exceptions:\n- new\n# why\n- old\n"},
		"empty":            {"exceptions: [] # none yet\n", "exceptions:\n  - new\n"},
		"in one line":      {"exceptions: [{a: b}]\n", "exceptions is a list in one line: put every exception on a line of its own first"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := withExceptions(tc.text, []string{"- new"})
			if err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
