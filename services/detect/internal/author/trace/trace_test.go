package trace

import (
	"bytes"
	"strings"
	"testing"

	"github.com/vagus-hub/vagus/services/detect/internal/author/sample"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/ruletest"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

const text = `id: web.traced
title: Traced
description: A rule to trace.
level: high
status: test
source: {class: http_activity, product: nginx.access}
when: |
  http_request.path startsWith "/v1/"
  and (http_response.code in [401, 403] or not exists(http_request.user_agent))
  and not icontains(http_request.user_agent, "monitor") and unmapped.tenant == "t1"
  and len(http_request.path) > 3
alert: {title: "{src_endpoint.ip}", entity: {type: ip, path: src_endpoint.ip}}
exceptions:
  - {when: 'src_endpoint.ip == "192.0.2.1"', reason: scanner, owner: sec@example.com, expires: 2027-01-31}
  - {when: 'actor.user.credential_uid == "k"', reason: key, owner: sec@example.com, expires: 2020-01-31}
`

func TestTrace(t *testing.T) {
	r, problems := rule.Load("web/traced.yml", []byte(text))
	if r == nil {
		t.Fatal(problems)
	}
	for name, event := range map[string]string{
		"match":     `{"class": "http_activity", "source": "nginx.access", "http_request.path": "/v1/x", "http_response.code": 401, "unmapped": {"tenant": "t1"}, "http_request.user_agent": "curl"}`,
		"near":      `{"class": "http_activity", "source": "nginx.access", "http_request.path": "/v1/x", "http_response.code": 200, "unmapped": {"tenant": "t1"}, "http_request.user_agent": "\u001b[2Jcurl"}`,
		"exception": `{"class": "http_activity", "source": "nginx.access", "http_request.path": "/v1/x", "http_response.code": 401, "unmapped": {"tenant": "t1"}, "src_endpoint.ip": "192.0.2.1", "actor.user.credential_uid": "k"}`,
		"unrouted":  `{"class": "dns_activity", "source": "nginx.access", "http_request.path": "/v1/x"}`,
	} {
		t.Run(name, func(t *testing.T) {
			events, err := sample.FromJSON([]byte(event))
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if err := ruletest.Blocks(events, func(b *block.Block) {
				tr, err := Rule(r, b, 0)
				if err != nil {
					t.Fatal(err)
				}
				if tr.Matches != (tr.Misses() == 0) {
					t.Errorf("the matcher says %v, the parts say %d misses", tr.Matches, tr.Misses())
				}
				tr.Write(&out)
			}); err != nil {
				t.Fatal(err)
			}
			if strings.ContainsRune(out.String(), 0x1b) {
				t.Error("a control character of the event is shown")
			}
			testkit.Golden(t, name+".txt", out.Bytes())
		})
	}
}
