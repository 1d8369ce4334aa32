package respond

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/schemas/finding"
)

func TestPreviews(t *testing.T) {
	preview, err := Previews(os.DirFS("../../playbooks"))
	if err != nil {
		t.Fatal(err)
	}
	alert := finding.Alert{UID: "a", Status: finding.Raised, Rule: "ai-gateway.prompt-injection-burst", Level: finding.High, Lane: finding.Enforce,
		Tags: []string{"atlas.aml.t0051"}, Entity: finding.Entity{Type: "ip", Value: "203.0.113.9"}}
	got, err := preview(alert)
	if err != nil {
		t.Fatal(err)
	}
	acting := false
	for _, p := range got {
		acting = acting || len(p.Actions) > 0
	}
	if !acting {
		t.Errorf("no playbook would act on a prompt-injection burst: %+v", got)
	}
	for name, change := range map[string]func(*finding.Alert){
		"lane hunt": func(a *finding.Alert) { a.Lane = finding.Hunt },
		"amended":   func(a *finding.Alert) { a.Status = finding.Amended },
	} {
		other := alert
		change(&other)
		if got, err := preview(other); err != nil || !cmp.Equal(got, []Preview(nil)) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}
