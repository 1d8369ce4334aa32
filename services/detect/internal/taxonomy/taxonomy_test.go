package taxonomy

import "testing"

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
