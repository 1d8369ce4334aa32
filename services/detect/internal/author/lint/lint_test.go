package lint

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

const base = `id: web.base
title: Base
description: A base.
level: high
status: test
tags: [attack.t1110]
source: {class: http_activity, product: nginx.access}
when: |
  http_request.path startsWith "/v1/"
  and http_response.code == 401
alert:
  title: "{src_endpoint.ip}"
  entity: {type: ip, path: src_endpoint.ip}
exceptions:
  - {when: 'src_endpoint.ip == "192.0.2.1"', reason: scanner, owner: sec@example.com, expires: 2027-01-31}
tests:
  - name: fires
    events: [{src_endpoint.ip: 203.0.113.9, http_request.path: /v1/x, http_response.code: 401}]
    expect: {alerts: 1}
  - name: silent
    events: [{src_endpoint.ip: 203.0.113.9, http_request.path: /v1/x}]
    expect: {alerts: 0}
`

var feeds = []Feed{
	{"nginx.access", 4002, event.FamilyNetwork, []event.ColumnID{event.HTTPRequestPath, event.HTTPResponseCode, event.SrcEndpointIP}},
	{"litellm.proxy", 6003, event.FamilyAI, []event.ColumnID{event.AIModelName}},
}

// check loads a rule for each list of replacements in base.
func check(t *testing.T, changes ...[]string) []string {
	t.Helper()
	files := map[string][]byte{}
	var rules []*rule.Rule
	for i, ch := range changes {
		name := fmt.Sprintf("web/r%d.yml", i)
		text := strings.NewReplacer(append([]string{"id: web.base", fmt.Sprintf("id: web.r%d", i)}, ch...)...).Replace(base)
		files[name] = []byte(text)
		r, problems := rule.Load(name, files[name])
		if r == nil {
			t.Fatal(problems)
		}
		rules = append(rules, r)
	}
	var out []string
	for _, p := range Check(rules, Options{Feeds: feeds, Now: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), Source: func(f string) []byte { return files[f] }}) {
		out = append(out, p.Code+" "+p.String())
	}
	return out
}

func TestCheck(t *testing.T) {
	noException := []string{base[strings.Index(base, "exceptions:"):strings.Index(base, "tests:")], ""}
	for name, tc := range map[string]struct {
		rules [][]string
		want  []string
	}{
		"sound": {[][]string{{}}, nil},
		"never": {[][]string{{"== 401", "== 401 and http_response.code > 500"}}, []string{
			"never-matches web/r0.yml:10:37: error: condition can never be true: http_response.code > [500] contradicts http_response.code == [401]"}},
		"no positive test": {[][]string{{"alerts: 1", "alerts: 0"}}, []string{
			"missing-test web/r0.yml:16:1: warning: no test expects an alert: add a case that fires"}},
		"no negative test": {[][]string{{"alerts: 0", "alerts: 1"}}, []string{
			"missing-test web/r0.yml:16:1: warning: every test expects an alert: add a case that nearly fires, with alerts: 0"}},
		"expired exception": {[][]string{{"2027-01-31", "2026-10-31"}}, []string{
			"expired-exception web/r0.yml:15:87: warning: exception is over since 2026-10-31: remove it, or ask sec@example.com to renew it"}},
		"idle exception": {[][]string{{`'src_endpoint.ip == "192.0.2.1"'`, `'http_response.code == 200'`}}, []string{
			"exception web/r0.yml:15:6: warning: exception never applies to an event that the rule matches: http_response.code == [401] contradicts http_response.code == [200]"}},
		"swallowing exception": {[][]string{{`'src_endpoint.ip == "192.0.2.1"'`, `'http_response.code >= 400'`}}, []string{
			"exception web/r0.yml:15:6: warning: exception applies to every event that the rule matches: the rule never fires"}},
		"tactic": {[][]string{{"attack.t1110", "attack.t1110, attack.impact"}}, []string{
			"tag web/r0.yml:6:22: warning: tag attack.impact: attack.t1110 belongs to attack.credential-access, not to this tactic"}},
		"unknown product": {[][]string{{"product: nginx.access", "product: nginx.acess"}}, []string{
			"unfed web/r0.yml:7:32: warning: no mapping is for the source nginx.acess: did you mean nginx.access?"}},
		"other class": {[][]string{{"product: nginx.access", "product: litellm.proxy"}}, []string{
			"unfed web/r0.yml:7:1: warning: no mapping makes events of this class, family and product together: litellm.proxy has api_activity of family ai"}},
		"unfed field": {[][]string{{"http_response.code == 401", `http_response.code == 401 and tls.sni == "x"`}}, []string{
			"unfed-field web/r0.yml:10:37: warning: no mapping of the rule's source fills tls.sni: no mapping does"}},
		"duplicate": {[][]string{noException, append([]string{"http_response.code == 401", "(http_response.code in [401])"}, noException...)}, []string{
			"duplicate web/r1.yml:8:1: warning: rule says the same as web.r0 (web/r0.yml)"}},
		"shadowed": {[][]string{append([]string{"/v1/", "/v1/chat"}, noException...), noException}, []string{
			"shadowed web/r0.yml:8:1: warning: rule is covered by the more general web.r1 (web/r1.yml), which alerts on all of its events"}},
		"not shadowed, with exceptions":   {[][]string{{"/v1/", "/v1/chat"}, {}}, nil},
		"not shadowed, another entity":    {[][]string{append([]string{"/v1/", "/v1/chat", "type: ip, path: src_endpoint.ip", "type: url, path: http_request.path"}, noException...), noException}, nil},
		"not shadowed, from other source": {[][]string{append([]string{"/v1/", "/v1/chat", ", product: nginx.access", ""}, noException...), noException}, nil},
		"virtual machine": {[][]string{{"== 401", "== 401 and len(http_request.path) > 4"}}, []string{
			"cost web/r0.yml:8:1: warning: condition is evaluated by the virtual machine, far slower than over columns: `vagus rules explain` shows the part vm{…}"}},
		"lower": {[][]string{{"== 401", "== 401 and lower(http_request.path) in ['/v1/models', '/v1/files']"}}, []string{
			"cost web/r0.yml:8:1: warning: condition is evaluated by the virtual machine, far slower than over columns: `vagus rules explain` shows the part vm{…}" +
				"; write ieq, iin, icontains, istartsWith or iendsWith, which ignore case and are indexed, in place of lower and upper"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, check(t, tc.rules...)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
