package config

import (
	"strings"
	"testing"
)

func TestCorrelation(t *testing.T) {
	c := Default()
	if err := Parse("good.yml", []byte("detect:\n  correlation: {max_groups: 5000, max_memory: 1073741824}\n"), &c); err != nil {
		t.Fatal(err)
	}
	if l := c.Detect.Correlation; l.Groups != 5000 || l.Bytes != 1<<30 || l.Events != 16_384 {
		t.Errorf("%+v", l)
	}
	for name, tc := range map[string]struct{ text, want string }{
		"no groups":       {"max_groups: 0", "max_groups is 0"},
		"too little":      {"max_memory: 512", "1 MiB"},
		"too much":        {"max_memory: 8589934592", "4 GiB"},
		"too few events":  {"max_events: 1", "max_events is 1"},
		"an unknown name": {"max_group: 1", "[2:"},
	} {
		t.Run(name, func(t *testing.T) {
			c := Default()
			if err := Parse("bad.yml", []byte("detect:\n  correlation: {"+tc.text+"}\n"), &c); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

// Mistakes below detect have the place of the value.
func TestPlacesOfDetect(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"a matcher":         {"inhibit:\n    - {name: a, source: ['rule=x', 'levl=high'], target: [y]}", "[3:36] matcher: unknown label levl: did you mean level?"},
		"an expression":     {"inhibit:\n    - name: a\n      source: [x]\n      target: ['level=~\"(low\"']", "[5:16] matcher level: error parsing regexp"},
		"no text":           {"inhibit:\n    - {name: a, source: [[x]], target: [y]}", "[3:26] a matcher is a text"},
		"a label":           {"inhibit:\n    - {name: a, source: [x], target: [y]}\n    - {name: b, source: [x], target: [y], equal: [rule, device.hostnam]}", "[4:57] detect.inhibit[1]: equal[1]: unknown label device.hostnam: did you mean device.hostname?"},
		"no target":         {"inhibit:\n    - {name: a, source: [x]}", "detect.inhibit[0]: target is missing"},
		"no name":           {"inhibit:\n    - {name: a, source: [x], target: [y]}\n    - {source: [x], target: [y]}", "[4:7] detect.inhibit[1]: name is missing"},
		"silence":           {"silence:\n    factor: 2\n    learn: 9000h", "[4:12] detect.silence: learn is 9000h0m0s, want at most 672h (28 days)"},
		"silence, a source": {"silence:\n    sources:\n      nginx.access: {expect: -1}", "[4:30] detect.silence: sources.'nginx.access'.expect: -1"},
		"a duration":        {"silence:\n    factor: 2\n    learn: soon", `[4:12] detect.silence.learn: want a duration such as 10m or 24h, not "soon"`},
		"budget":            {"budget:\n    share: 9", "[3:12] detect.budget: share is 9"},
		"correlation":       {"correlation:\n    max_memory: 1073741824\n    max_groups: 0", "[4:17] detect.correlation: max_groups is 0"},
	} {
		t.Run(name, func(t *testing.T) {
			c := Default()
			if err := Parse("bad.yml", []byte("detect:\n  "+tc.text+"\n"), &c); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got  %v\nwant …%s…", err, tc.want)
			}
		})
	}
}
