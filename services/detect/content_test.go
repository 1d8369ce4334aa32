package detect

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/ruletest"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

func shipped(t *testing.T) []*rule.Rule {
	t.Helper()
	rules, problems, err := rule.LoadFS(os.DirFS("../../rules"), ".", "rules/")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
	return rules
}

// Every shipped rule loads without a warning, has a case that fires and one
// that does not, and passes its tests.
func TestShippedRules(t *testing.T) {
	rules := shipped(t)
	if len(rules) < 15 {
		t.Errorf("only %d rules", len(rules))
	}
	for _, r := range rules {
		fires, quiet := false, false
		for _, x := range r.Tests {
			fires, quiet = fires || x.Alerts > 0, quiet || x.Alerts == 0
		}
		if !fires || !quiet {
			t.Errorf("%s: needs a test that fires and one that does not", r.ID)
		}
		if len(r.Tags) == 0 {
			t.Errorf("%s: has no tags", r.ID)
		}
		results := ruletest.Run(r, ruletest.Options{Rules: rules})
		for _, res := range results {
			if !res.OK {
				t.Errorf("%s:%d: %s: %s", res.File, res.Line, res.Test, res.Message)
			}
		}
	}
}

// recorded reads the events that the mappings make of the recorded logs.
func recorded(t *testing.T) map[string][]rule.TestEvent {
	t.Helper()
	files, err := filepath.Glob("../../schemas/sources/*/testdata/golden/*.events")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded events: %v", err)
	}
	out := map[string][]rule.TestEvent{}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(filepath.Dir(filepath.Dir(filepath.Dir(f)))) + "/" + strings.TrimSuffix(filepath.Base(f), ".events")
		s := bufio.NewScanner(bytes.NewReader(data))
		s.Buffer(nil, 1<<20)
		for s.Scan() {
			family, doc, _ := strings.Cut(s.Text(), " ")
			fam, ok := event.FamilyByName(family)
			var fields map[string]any
			if !ok || json.Unmarshal([]byte(doc), &fields) != nil {
				continue
			}
			out[name] = append(out[name], testEvent(fam, fields))
		}
	}
	return out
}

func testEvent(fam event.Family, fields map[string]any) rule.TestEvent {
	e := rule.TestEvent{Repeat: 1, After: time.Second, Family: fam}
	for path, v := range fields {
		col, ok := event.ByPath(path)
		if !ok || path == "event_uid" || col.Kind == event.KindTime {
			continue
		}
		switch x := v.(type) {
		case float64:
			if col.Kind != event.KindF32 && col.Kind != event.KindF64 {
				v = int64(x)
			}
		case []any:
			var list []string
			for _, s := range x {
				list = append(list, s.(string))
			}
			v = list
		case map[string]any:
			continue
		}
		e.Fields = append(e.Fields, rule.TestField{Column: col, Value: v})
	}
	return e
}

// Rules run over what the mappings really make of recorded logs: it shows that
// they read the columns that get filled, and what they find in quiet logs.
func TestShippedRulesOnRecordedEvents(t *testing.T) {
	rules := shipped(t)
	fired := map[string]bool{}
	for name, events := range recorded(t) {
		for _, r := range rules {
			alerts, err := ruletest.Alerts(r, events)
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range alerts {
				fired[r.ID] = true
				t.Logf("%s: %s: %s", name, r.ID, a.Title)
			}
		}
	}
	if !fired["ai-workload.model-server-spawns-shell"] {
		t.Error("the recorded model server does not trigger its rule")
	}
}

const schemaFile = "../../schemas/jsonschema/rule.schema.json"

// The JSON Schema for editors lists what the loader knows. Run with -update
// after the event schema has changed.
func TestRuleSchema(t *testing.T) {
	data, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(data, &schema); err != nil {
		t.Fatal(err)
	}
	var paths, classes []string
	for i := range event.Columns {
		paths = append(paths, event.Columns[i].Path)
	}
	for _, c := range event.Classes {
		classes = append(classes, c.Name)
	}
	slices.Sort(paths)
	known := map[string][]string{"paths": paths, "classes": classes, "families": event.FamilyNames[:], "entities": rule.EntityTypes}
	defs := schema["$defs"].(map[string]any)
	for name, want := range known {
		def := defs[name].(map[string]any)
		var got []string
		for _, v := range def["enum"].([]any) {
			got = append(got, v.(string))
		}
		if testkit.Update() {
			def["enum"] = want
		} else if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%s differ (-schema +loader); run with -update:\n%s", name, diff)
		}
	}
	if testkit.Update() {
		var out bytes.Buffer
		enc := json.NewEncoder(&out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(schema); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(schemaFile, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
