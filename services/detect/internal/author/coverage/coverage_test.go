package coverage

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/ruletest"
)

const text = `id: web.covered
title: Covered
description: Covered.
level: high
status: test
source: {class: http_activity}
when: http_response.code == 401 and (http_request.path == "/a" or http_request.path == "/b") and not (http_request.method == "HEAD")
alert: {title: t, entity: {type: ip, path: src_endpoint.ip}}
tests:
  - name: fires
    events: [{http_response.code: 401, http_request.path: /a, src_endpoint.ip: 192.0.2.1}]
    expect: {alerts: 1}
  - name: silent
    events:
      - {http_response.code: 200, http_request.path: /a, src_endpoint.ip: 192.0.2.1}
      - {class: dns_activity, http_response.code: 401, http_request.path: /c}
      - {http_response.code: 401, http_request.path: /a, http_request.method: HEAD}
    expect: {alerts: 0}
`

func TestOf(t *testing.T) {
	r, problems := rule.Load("web/covered.yml", []byte(text))
	if r == nil {
		t.Fatal(problems)
	}
	got, err := Of(r, ruletest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const unneeded, alone = "no test needs this part to match: add an event that matches by it", "no test fails to match by this part alone: add an event that fulfils all but it"
	want := Report{Rule: "web.covered", Parts: 8, Covered: 5, Gaps: []Gap{
		{"web.covered", `http_request.path == "/a"`, 0, alone},
		{"web.covered", `http_request.path == "/b"`, 0, unneeded},
		{"web.covered", `http_request.path == "/b"`, 0, alone},
	}}
	for i := range got.Gaps {
		got.Gaps[i].From = 0
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got.Share() != 0.625 {
		t.Errorf("share %v", got.Share())
	}
}
