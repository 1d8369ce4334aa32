package taxonomy

import (
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	none := func(string, []string) string { return "" }
	for tag, ok := range map[string]bool{
		"atlas.aml.t0051": true, "atlas.aml.t0051.000": true, "attack.t1059.001": true, "attack.execution": true,
		"owasp.llm01-2025": true, "owasp.asi02-2026": true, "nist.nistaml.015": true, "owasp.t2": true,
		"atlas.aml.t9999": false, "attack.t12": false, "owasp.llm99-2025": false, "cve.1": false, "ATLAS.AML.T0051": false,
		"atlas.aml.t0019": false, "plain": false,
	} {
		if err := Check(tag, none); (err == nil) != ok {
			t.Errorf("%s: %v", tag, err)
		}
	}
	if Name("atlas.aml.t0051") == "" {
		t.Error("no name for a known id")
	}
}

func TestDoubts(t *testing.T) {
	for name, tc := range map[string]struct {
		tags []string
		want map[int]string
	}{
		"fits":           {[]string{"attack.t1003.001", "attack.credential-access", "attack.ta0006", "attack.g0016"}, nil},
		"tactic alone":   {[]string{"attack.execution"}, nil},
		"other tactic":   {[]string{"attack.t1003.001", "attack.execution"}, map[int]string{1: "attack.t1003.001 belongs to attack.credential-access"}},
		"old tactic":     {[]string{"attack.t1003.001", "attack.defense-evasion"}, map[int]string{1: "no tactic of ATT&CK 19"}},
		"unknown":        {[]string{"attack.t9999"}, map[int]string{0: "not in ATT&CK 19"}},
		"ATLAS fits":     {[]string{"atlas.aml.t0051.000", "atlas.aml.ta0005"}, nil},
		"ATLAS mismatch": {[]string{"atlas.aml.t0051", "atlas.aml.ta0010"}, map[int]string{1: "not to this tactic"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := Doubts(tc.tags)
			if len(got) != len(tc.want) {
				t.Errorf("got %v", got)
			}
			for i, w := range tc.want {
				if !strings.Contains(got[i], w) {
					t.Errorf("tag %d: %q, want …%s…", i, got[i], w)
				}
			}
		})
	}
}

func TestAll(t *testing.T) {
	none := func(string, []string) string { return "" }
	for _, id := range All() {
		if err := Check(id, none); err != nil {
			t.Error(err)
		}
	}
}
