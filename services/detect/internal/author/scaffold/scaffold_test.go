package scaffold

import (
	"strings"
	"testing"

	"github.com/vagus-hub/vagus/services/detect/internal/author/sample"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/ruletest"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

var events = map[string]string{
	"example": "",
	"process": `{"class": "process_activity", "source": "microsoft.sysmon", "activity_id": 1, "process.path": "C:\\Windows\\System32\\cmd.exe", "process.cmd_line": "cmd.exe /c whoami & net user /domain & nltest /domain_trusts & ipconfig /all", "actor.user.name": "CORP\\ann", "device.hostname": "ws-7", "device.ip": "10.1.2.3", "process.pid": 4711, "metadata.labels": ["a", "b"]}`,
	"gateway": `{"class": "api_activity", "source": "litellm.proxy", "ai.operation": "chat", "ai_model.name": "chat-small", "actor.user.credential_uid": "sk-real-secret", "actor.user.email_addr": "ann@corp.test", "src_endpoint.ip": "192.168.7.8", "message_context.total_tokens": 812, "ai.cost": 0.25, "api.response.code": 200, "scores": {"toxicity": 1}}`,
	"bare":    `{"family": "data", "resource.type": "bucket"}`,
}

func TestNew(t *testing.T) {
	for name, text := range events {
		for _, kind := range append([]string{""}, rule.Types...) {
			t.Run(name+" "+kind, func(t *testing.T) {
				o := Options{ID: "web.odd-thing", Correlate: kind}
				if text != "" {
					list, err := sample.FromJSON([]byte(text))
					if err != nil {
						t.Fatal(err)
					}
					o.Event = &list[0]
				}
				got, err := New(o)
				if err != nil {
					t.Fatal(err)
				}
				if kind == "" || kind == rule.EventCount || kind == rule.TemporalOrdered {
					testkit.Golden(t, strings.TrimSuffix(name+"-"+kind, "-")+".yml", got)
				}
				for _, secret := range []string{"sk-real-secret", "ann", "192.168.7.8", "10.1.2.3"} {
					if strings.Contains(string(got), secret) {
						t.Errorf("the rule tells %s", secret)
					}
				}
				r, problems := rule.Load("web/odd-thing.yml", got)
				if r == nil {
					t.Fatalf("%v\n%s", problems, got)
				}
				for _, p := range problems {
					if kind != rule.Chain {
						t.Errorf("%v", p)
					}
				}
				for _, res := range ruletest.Run(r, ruletest.Options{}) {
					if !res.OK {
						t.Errorf("%s: %s\n%s", res.Test, res.Message, got)
					}
				}
			})
		}
	}
}

func TestNewProblems(t *testing.T) {
	if _, err := New(Options{ID: "a.b", Correlate: "event_cout"}); err == nil || !strings.Contains(err.Error(), "did you mean event_count?") {
		t.Errorf("unknown type: %v", err)
	}
	if _, err := New(Options{ID: "a.b", Event: &rule.TestEvent{}}); err == nil {
		t.Error("an empty event makes a rule")
	}
}
