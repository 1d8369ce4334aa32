package rule

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/schemas/finding"
)

func TestRisk(t *testing.T) {
	for name, tc := range map[string]struct {
		rule   Rule
		fields map[string]string
		want   int
	}{
		"plain":            {Rule{Level: finding.Medium, Status: "test", Lane: finding.Alerts}, nil, 45},
		"hunt":             {Rule{Level: finding.Informational, Status: "experimental", Lane: finding.Hunt}, nil, 0},
		"stable, enforced": {Rule{Level: finding.High, Status: "stable", Lane: finding.Enforce}, nil, 75},
		"critical asset":   {Rule{Level: finding.High, Lane: finding.Alerts}, map[string]string{"asset.criticality": "High"}, 75},
		"number":           {Rule{Level: finding.Low, Lane: finding.Alerts}, map[string]string{"asset.criticality": "5"}, 40},
		"all":              {Rule{Level: finding.Critical, Status: "stable", Lane: finding.Enforce}, map[string]string{"asset.criticality": "critical", "threat.lists": "x"}, 100},
		"own":              {Rule{Level: finding.Low, Alert: Alert{Risk: 7}}, map[string]string{"asset.criticality": "critical"}, 7},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tc.rule.Risk(tc.fields); got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
		})
	}
}

func TestAlertManagement(t *testing.T) {
	simple := strings.Replace(good, "correlate: {type: value_count, group_by: [src_endpoint.ip], field: ai_model.name, timespan: 5m, condition: {gt: 4}}\n", "", 1)
	with := func(text, keys string) string {
		return strings.Replace(text, "  fields: [http_request.path]\n", "  fields: [http_request.path]\n"+keys, 1)
	}
	r, problems := Load("x.yml", []byte(with(simple, `  risk: 90
  dedup: [actor.user.name, http_request.path]
  entities:
    - {role: actor, type: user, path: actor.user.name}
    - {role: target, type: pod, path: k8s.pod, scope: k8s.namespace}
    - {role: source, type: host, path: device.hostname}
`)))
	if r == nil {
		t.Fatal(problems)
	}
	var by []string
	for _, k := range r.GroupBy() {
		by = append(by, k.Name)
	}
	if diff := cmp.Diff(by, []string{"actor.user.name", "http_request.path"}); diff != "" || r.Alert.Risk != 90 {
		t.Errorf("risk %d, group by: %s", r.Alert.Risk, diff)
	}
	values := map[string]string{"actor.user.name": "eve", "k8s.pod": "web-1", "k8s.namespace": "prod"}
	got := r.Involved(func(path string) string { return values[path] })
	want := []finding.Involved{{Role: finding.Actor, Entity: finding.Entity{Type: "user", Value: "eve"}}, {Role: finding.Target, Entity: finding.Entity{Type: "pod", Value: "prod/web-1"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for name, tc := range map[string]struct{ text, want string }{
		"risk":                   {with(simple, "  risk: 101\n"), "risk must be between 1 and 100"},
		"dedup of a correlation": {with(good, "  dedup: [http_request.path]\n"), "told apart by its group_by"},
		"role":                   {with(simple, "  entities: [{role: victim, type: ip, path: src_endpoint.ip}]\n"), "role victim is unknown"},
		"entity path":            {with(simple, "  entities: [{role: actor, type: ip, path: src_endpoint.ipp}]\n"), "did you mean src_endpoint.ip?"},
		"too many":               {with(simple, "  entities: ["+strings.Repeat("{role: actor, type: ip, path: src_endpoint.ip},", 9)+"]\n"), "at most 8"},
	} {
		t.Run(name, func(t *testing.T) {
			r, problems := Load("x.yml", []byte(tc.text))
			if r != nil || len(problems) == 0 || !strings.Contains(problems[0].Message, tc.want) {
				t.Errorf("got %v, want …%s…", problems, tc.want)
			}
		})
	}
}
