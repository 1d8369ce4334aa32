package playbook_test

import (
	"os"
	"strings"
	"testing"

	"github.com/vagus-hub/vagus/services/respond/internal/connector"
	"github.com/vagus-hub/vagus/services/respond/internal/content"
	"github.com/vagus-hub/vagus/services/respond/internal/feed"
	"github.com/vagus-hub/vagus/services/respond/internal/playbook"
)

func operations(t testing.TB) *connector.Set {
	t.Helper()
	specs, err := content.Connectors(os.DirFS("../../../../playbooks"))
	if err != nil {
		t.Fatal(err)
	}
	set, err := connector.New(connector.Options{Specs: specs, Natives: map[string]connector.Native{"vagus": &feed.Connector{}}})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

const good = `id: pb
title: Test
status: active
lanes: [enforce]
on: alert.severity >= 4
vars: {ttl: 15m}
steps:
  - id: block
    action: vagus.block
    params: {scope: ip, value: "{{ entity.value }}"}
    undo: {after: "{{ vars.ttl }}"}
  - id: found
    if: steps.block.result.id != nil
    then:
      - {id: ask, approve: {timeout: 5m}}
      - {id: tell, action: webhook.send, params: {data: {a: "{{ alert.title }}"}}}
`

func TestMistakes(t *testing.T) {
	ops := operations(t)
	if _, err := playbook.Parse("x/pb.yml", []byte(good), ops); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ from, to, want string }{
		"unknown key":        {"title:", "titel:", `x/pb.yml:2:1: unknown key "titel" (did you mean "title"?)`},
		"unknown step key":   {"    undo:", "    undoo:", `x/pb.yml:11:5: unknown key "undoo" (did you mean "undo"?)`},
		"repeated key":       {"title: Test", "title: Test\ntitle: Again", "x/pb.yml:3:1"},
		"not the file":       {"id: pb", "id: bp", `x/pb.yml:1:5: id: "bp" differs from the file's name "pb"`},
		"status":             {"status: active", "status: actve", `x/pb.yml:3:9: status: unknown "actve" (did you mean "active"?)`},
		"lane":               {"[enforce]", "[enforec]", `did you mean "enforce"`},
		"condition":          {"alert.severity >= 4", "alert.severty >= 4", `x/pb.yml:5:5: on: expression "alert.severty >= 4": alert has no severty (did you mean "severity"?)`},
		"not a condition":    {"alert.severity >= 4", "alert.title", "bool"},
		"operation":          {"vagus.block", "vagus.blok", `x/pb.yml:9:13: steps[0].action: unknown operation "vagus.blok" (did you mean "vagus.block"?)`},
		"parameter":          {"value: \"{{", "vlaue: \"{{", `unknown parameter "vlaue" (did you mean "value"?)`},
		"missing parameter":  {"scope: ip, ", "", `parameter "scope" is missing`},
		"variable":           {"{{ vars.ttl }}", "{{ vars.tll }}", `did you mean "ttl"`},
		"later step":         {"entity.value }}", "steps.tell.state }}", "steps.tell is not defined before this"},
		"template place":     {"{{ alert.title }}", "{{ alert.titel }}", `x/pb.yml:16:61: steps[1].then[1].params.data.a: expression "alert.titel": alert has no titel (did you mean "title"?)`},
		"same id":            {"id: tell", "id: block", "is used twice"},
		"two kinds":          {"if: steps", "action: webhook.send\n    if: steps", "exactly one of"},
		"no undo":            {"    undo: {after: \"{{ vars.ttl }}\"}\n", "", "needs undo"},
		"wrong lane":         {"lanes: [enforce]", "lanes: [alert, enforce]", "must have lanes: [enforce]"},
		"both undo":          {"{after: \"{{ vars.ttl }}\"}", "{after: 5m, on: manual}", "after or on"},
		"undo too short":     {"{{ vars.ttl }}", "1ms", "from 1s"},
		"undo not a time":    {"{{ vars.ttl }}", "soon", "want a duration"},
		"timeout":            {"timeout: 5m", "timeout: 5 minutes", "x/pb.yml:15:38"},
		"approvers":          {"{timeout: 5m}", "{approvers: 2, who: [a]}", "not more than who lists"},
		"anchor":             {"title: Test", "title: &a Test", "anchors"},
		"tag":                {"title: Test", "title: !!binary Test", "tags are not allowed"},
		"two documents":      {"steps:", "steps: []\n---\nsteps:", "exactly one document"},
		"nothing":            {good, "", "document"},
		"list":               {good, "- a", "x/pb.yml:1"},
		"flow depth":         {"title: Test", "title: " + strings.Repeat("[", 1000), "deeper"},
		"zero byte":          {"Test", "Te\x00st", "zero byte"},
		"too large":          {"Test", strings.Repeat("x", 70000), "at most"},
		"steps missing":      {good[strings.Index(good, "steps:"):], "", "steps: is empty"},
		"test's step":        {"vars: {ttl: 15m}", "vars: {ttl: 15m}\ntests: [{name: a, expect: {run: none, steps: {blok: failed}}}]", `did you mean "block"`},
		"a file of aliases":  {"title: Test", "title: *a", "anchors"},
		"an id with a slash": {"id: pb", "id: a/pb", "want letters"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(good, tt.from, tt.to, 1)
			if text == good {
				t.Fatal("nothing replaced")
			}
			_, err := playbook.Parse("x/pb.yml", []byte(text), ops)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestVars(t *testing.T) {
	pb, err := playbook.Parse("pb.yml", []byte(good), operations(t))
	if err != nil {
		t.Fatal(err)
	}
	got := pb.VarsWith(map[string]string{"ttl": "5s", "other": "x"})
	if len(got) != 1 || got["ttl"] != "5s" {
		t.Error(got)
	}
}

func FuzzParse(f *testing.F) {
	ops := operations(f)
	f.Add([]byte(good))
	for _, name := range []string{"ai-gateway/contain-compromised-key", "kubernetes/isolate-pod", "common/notify"} {
		text, err := os.ReadFile("../../../../playbooks/" + name + ".yml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("steps: [{if: a, then: [{if: b, then: [null]}]}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		pb, err := playbook.Parse("pb.yml", text, ops)
		if err == nil && (pb.ID != "pb" || pb.Trigger == nil || len(pb.Steps) == 0) {
			t.Fatalf("accepted: %+v", pb)
		}
	})
}
