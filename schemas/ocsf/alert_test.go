package ocsf

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/schemas/finding"
)

// alertOf is an alert with everything.
func alertOf(change func(*finding.Alert)) *finding.Alert {
	at := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	a := &finding.Alert{
		UID: "0123456789abcdef0123456789abcdef", Status: finding.Raised, Revision: 1, Rule: "ai-gateway.key-shared", RuleTitle: "A key is shared", Version: "abc",
		Level: finding.High, Lane: finding.Alerts, Title: "Key key-1 from 9 addresses", Reason: "9 different values", Risk: 72,
		Entity: finding.Entity{Type: "api_key", Value: "key-1"}, Entities: []finding.Involved{{Role: "attacker", Entity: finding.Entity{Type: "ip", Value: "203.0.113.9"}}},
		Group: []finding.Pair{{Path: "actor.user.credential_uid", Value: "key-1"}}, Fields: map[string]string{"src_endpoint.ip": "203.0.113.9"},
		Tags: []string{"attack.t1078.004", "attack.ta0001", "atlas.aml.t0012", "owasp.llm10-2025"}, Sources: []string{"litellm.proxy"},
		Count: 12, Value: 9, Threshold: 8, Time: at, FirstSeen: at.Add(-time.Minute), LastSeen: at, RaisedAt: at.Add(time.Second),
		EventUIDs: []string{"00000000-0000-0000-0000-000000000001"},
	}
	if change != nil {
		change(a)
	}
	return a
}

// Alerts of every status, level and risk are valid Detection Findings, and say
// the risk.
func TestAppendAlert(t *testing.T) {
	s := loaded(t)
	for name, tc := range map[string]struct {
		change func(*finding.Alert)
		want   []string
	}{
		"whole": {nil, []string{`"risk_score":72`, `"risk_level_id":3`, `"risk_level":"High"`, `"class_uid":2004`, `"type_uid":200401`, `"is_alert":true`, `"status":"New"`,
			`{"sub_technique":{"uid":"T1078.004"},"technique":{"uid":"T1078"}}`, `{"tactic":{"uid":"TA0001"}}`, `{"technique":{"uid":"AML.T0012"}}`,
			`{"name":"entity","type":"api_key","type_id":99,"value":"key-1"}`, `{"name":"attacker","type":"IP Address","type_id":2,"value":"203.0.113.9"}`, `"data_sources":["litellm.proxy"]`}},
		"no risk":     {func(a *finding.Alert) { a.Risk = 0 }, []string{`"risk_score":0`, `"risk_level_id":0`, `"risk_level":"Info"`}},
		"most risk":   {func(a *finding.Alert) { a.Risk = 100 }, []string{`"risk_score":100`, `"risk_level_id":4`, `"risk_level":"Critical"`}},
		"amended":     {func(a *finding.Alert) { a.Status, a.Revision = finding.Amended, 2 }, []string{`"type_uid":200402`, `"uid":"0123456789abcdef0123456789abcdef-2"`}},
		"retracted":   {func(a *finding.Alert) { a.Status = finding.Retracted }, []string{`"type_uid":200403`, `"status":"Resolved"`}},
		"muted":       {func(a *finding.Alert) { a.Muted = &finding.Muted{By: finding.BySilence, ID: "s1", Reason: "known"} }, []string{`"status_id":3`, `"status_detail":"silence s1: known"`}},
		"hunt":        {func(a *finding.Alert) { a.Lane = finding.Hunt }, []string{`"is_alert":false`}},
		"critical":    {func(a *finding.Alert) { a.Level = finding.Critical }, []string{`"severity_id":5`, `"severity":"Critical"`}},
		"hardly any":  {func(a *finding.Alert) { *a = finding.Alert{UID: "u", Rule: "r"} }, []string{`"activity_id":0`, `"severity_id":0`}},
		"odd tags":    {func(a *finding.Alert) { a.Tags = []string{"attack.", "atlas.t1", "x", ""} }, []string{`"uid"`}},
		"odd entity":  {func(a *finding.Alert) { a.Entity.Value = "\x00\u202e" }, []string{`"name":"entity"`}},
		"negative":    {func(a *finding.Alert) { a.Risk = -5 }, []string{`"risk_level_id":0`}},
		"far too big": {func(a *finding.Alert) { a.Risk = 500 }, []string{`"risk_level_id":4`}},
	} {
		t.Run(name, func(t *testing.T) {
			doc, err := s.AppendAlert(nil, alertOf(tc.change))
			if err != nil {
				t.Fatal(err)
			}
			if problems := s.Validate(doc); len(problems) > 0 {
				t.Errorf("%v\n%s", problems, doc)
			}
			for _, want := range tc.want {
				if !strings.Contains(string(doc), want) {
					t.Errorf("lacks %s\n%s", want, doc)
				}
			}
		})
	}
}

func FuzzAppendAlert(f *testing.F) {
	s := loaded(f)
	data, err := json.Marshal(alertOf(nil))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		var a finding.Alert
		if json.Unmarshal(data, &a) != nil {
			return
		}
		doc, err := s.AppendAlert(nil, &a)
		if err != nil {
			return // a number that JSON has not
		}
		if !json.Valid(doc) {
			t.Errorf("%s", doc)
		}
	})
}
