package sigma

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// TestEmpty: a value that fits everything or nothing is remarked on where it
// stands; what Sigma means by an empty value without modifiers is not.
func TestEmpty(t *testing.T) {
	for name, tc := range map[string]struct {
		detection string
		want      []string
	}{
		"contains":    {"CommandLine|contains: ''", []string{`8:32: warning: CommandLine|contains: "" fits every event that has CommandLine: write the text that is meant, or CommandLine|exists: true`}},
		"startswith":  {"CommandLine|startswith: ''", []string{`8:34: warning: CommandLine|startswith: "" fits every event that has CommandLine: write the text that is meant, or CommandLine|exists: true`}},
		"one of many": {"CommandLine|endswith: ['', abc]", []string{`8:33: warning: CommandLine|endswith: "" fits every event that has CommandLine, so that the others say nothing; remove it`}},
		"all":         {"CommandLine|contains|all: [abc, '']", []string{`8:42: warning: CommandLine|contains|all: "" fits every event that has CommandLine, so that it says nothing beside the others; remove it`}},
		"a wildcard":  {"CommandLine|contains: ['*', abc]", []string{`8:33: warning: CommandLine|contains: "*" fits every event that has CommandLine, so that the others say nothing; remove it`}},
		"expression":  {"CommandLine|re: ''", []string{`8:26: warning: CommandLine|re: an empty expression matches every event, also one without CommandLine: write what is meant, or CommandLine|exists: true`}},
		"null":        {"CommandLine|contains: null", []string{`8:32: warning: CommandLine|contains: null holds for events without CommandLine, whatever the modifiers say: write the text that is meant, or CommandLine: null`}},
		"keyword":     {"'|all': ['', abc]", []string{`8:19: warning: |all: "" fits every event, so that it says nothing beside the others; remove it`}},
		"encoded":     {"CommandLine|base64offset|contains: ''", []string{`8:45: error: CommandLine|base64offset|contains: there is nothing to encode in an empty text`}},
		"fieldref":    {"CommandLine|fieldref: ''", []string{`8:32: error: CommandLine|fieldref needs the name of a field`}},
		"empty list":  {"CommandLine|contains: []", []string{`8:32: error: CommandLine|contains has no values`}},
		"absent":      {"CommandLine: ['', null]", nil},
		"not absent":  {"CommandLine|neq: ''", nil},
		"any value":   {"CommandLine|contains: '*'", nil},
	} {
		t.Run(name, func(t *testing.T) {
			text := "title: E\nid: 5f0c1c9e-0000-4000-8000-000000000001\nstatus: test\nlevel: high\nlogsource: {category: process_creation, product: windows}\ndetection:\n  s:\n" +
				"         " + tc.detection + "\n  condition: s\n"
			var got []string
			for _, p := range Load([]rule.File{{Name: "e.yml", Data: []byte(text)}}).Problems {
				got = append(got, strings.TrimPrefix(p.String(), "e.yml:"))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
