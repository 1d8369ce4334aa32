package cli

import (
	"testing"
	"time"

	"github.com/vagus-hub/vagus/schemas/finding"
)

func TestAgo(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90m": 90 * time.Minute, "7d": 7 * 24 * time.Hour, "2w": 14 * 24 * time.Hour, "1.5d": 36 * time.Hour, "1h30m": 90 * time.Minute,
		"": -1, "7": -1, "-1h": -1, "d": -1, "99999999d": -1, "7 days": -1, "99999999w": -1, "w": -1,
	} {
		got := time.Duration(-1)
		if err := (ago{&got}).Set(text); (err == nil) != (want >= 0) || got != want {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	day := 24 * time.Hour
	if got := (ago{&day}).String(); got != "24h" {
		t.Errorf("a day is shown as %s", got)
	}
}

func TestOneAlert(t *testing.T) {
	all := []finding.Alert{{UID: "07ba31"}, {UID: "07ba32"}, {UID: "1c"}}
	for begin, want := range map[string]string{
		"07ba31": "", "1": "", "07": `2 alerts begin with "07"; give more of the uid`,
		"ff":     "no alert on the bus begins with \"ff\" (`vagus alerts --since 30d` lists them)",
		"bening": `"bening" is neither a verdict (true_positive benign false_positive, none) nor the beginning of an alert's uid`,
	} {
		if _, err := oneAlert(all, begin); (err == nil) != (want == "") || err != nil && err.Error() != want {
			t.Errorf("%s: %v, want %q", begin, err, want)
		}
	}
}

// A part of a rule's id that no alert has is told, with the nearest.
func TestOfRule(t *testing.T) {
	all := []finding.Alert{{Rule: "ai-gateway.prompt-injection-burst"}, {Rule: "web.scan"}}
	for part, want := range map[string]string{
		"injection":             "",
		"prompt-injection-burt": "no alert of this time is of a rule whose id contains prompt-injection-burt: did you mean prompt-injection-burst?",
		"zzz":                   "no alert of this time is of a rule whose id contains zzz",
	} {
		if got := ofRule(all, part); got != want {
			t.Errorf("%s: %q, want %q", part, got, want)
		}
	}
}
