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
