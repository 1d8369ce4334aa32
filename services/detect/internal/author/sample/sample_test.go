package sample_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/author/sample"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/ruletest"
	"github.com/vagus-hub/vagus/services/internal/block"
)

func fields(e rule.TestEvent) map[string]any {
	out := map[string]any{}
	for _, f := range e.Fields {
		out[f.Column.Path] = f.Value
	}
	return out
}

func TestFromJSON(t *testing.T) {
	for name, tc := range map[string]struct {
		json   string
		family event.Family
		want   map[string]any
	}{
		"paths":      {`{"class": "http_activity", "src_endpoint.ip": "192.0.2.1", "http_response.code": 401}`, event.FamilyNetwork, map[string]any{"class_uid": int64(4002), "src_endpoint.ip": "192.0.2.1", "http_response.code": int64(401)}},
		"nested":     {`{"src_endpoint": {"ip": "::ffff:192.0.2.1"}, "ai_model": {"name": "m"}}`, event.FamilyAI, map[string]any{"src_endpoint.ip": "192.0.2.1", "ai_model.name": "m"}},
		"ClickHouse": {`{"event_uid": "1b4e28ba-2fa1-11d2-883f-0016d3cca427", "time": "2026-11-23 00:00:00.000", "src_endpoint_ip": "::", "process_pid": "7", "class_uid": 1007, "metadata_labels": [], "unmapped": ""}`, event.FamilyHost, map[string]any{"time": int64(1795392000000), "process.pid": int64(7), "class_uid": int64(1007)}},
		"unmapped":   {`{"unmapped": {"a": 1}, "family": "data"}`, event.FamilyData, map[string]any{"unmapped": `{"a":1}`}},
		"lists":      {`[{"metadata.labels": ["a", "b"]}]`, event.FamilyAI, map[string]any{"metadata.labels": []string{"a", "b"}}},
	} {
		t.Run(name, func(t *testing.T) {
			events, err := sample.FromJSON([]byte(tc.json))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, fields(events[0])); diff != "" || events[0].Family != tc.family {
				t.Errorf("family %s\n%s", events[0].Family, diff)
			}
			if err := ruletest.Blocks(events, func(b *block.Block) {
				if diff := cmp.Diff(tc.want["src_endpoint.ip"], fields(sample.FromBlock(b, 0))["src_endpoint.ip"]); diff != "" {
					t.Error(diff)
				}
			}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFromJSONProblems(t *testing.T) {
	for name, tc := range map[string]struct{ json, want string }{
		"unknown": {`{"src_endpoint": {"ipp": "192.0.2.1"}}`, "unknown field src_endpoint.ipp: did you mean src_endpoint.ip?"},
		"type":    {`{"http_response.code": "many"}`, "http_response.code takes a u16"},
		"address": {`{"src_endpoint.ip": "here"}`, "src_endpoint.ip"},
		"none":    {``, "there are none"},
		"no JSON": {`{`, "unexpected EOF"},
		"scalar":  {`3`, "an event is a JSON object"},
		"deep":    {strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40), "nested too deeply"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := sample.FromJSON([]byte(tc.json)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want …%s…", err, tc.want)
			}
		})
	}
}

func FuzzFromJSON(f *testing.F) {
	f.Add([]byte(`{"class": "http_activity", "src_endpoint.ip": "192.0.2.1", "scores": {"a": 1}}`))
	f.Add([]byte(`[{"time": "2026-11-23T00:00:00Z"}, {"unmapped": {"a": [1]}}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		events, err := sample.FromJSON(data)
		if err != nil {
			return
		}
		if err := ruletest.Blocks(events, func(*block.Block) {}); err != nil {
			t.Error(err)
		}
	})
}
