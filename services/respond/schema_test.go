package respond

import (
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/services/respond/internal/connector"
	"github.com/vagus-hub/vagus/services/respond/internal/playbook"
)

// TestJSONSchemas holds the schemas that editors use against the structs that
// decide: each object must have the same keys.
func TestJSONSchemas(t *testing.T) {
	type object struct {
		Properties map[string]any    `json:"properties"`
		Defs       map[string]object `json:"$defs"`
	}
	for file, types := range map[string]map[string]any{
		"playbook": {
			"": playbook.Playbook{}, "step": playbook.Step{}, "retry": playbook.Retry{}, "undo": playbook.Undo{}, "approve": playbook.Approve{},
			"test": playbook.Test{}, "alert": playbook.TestAlert{}, "entity": playbook.TestEntity{}, "response": playbook.TestResponse{},
			"event": playbook.TestEvent{}, "answer": playbook.TestAnswer{}, "expect": playbook.Expect{}, "request": playbook.ExpectRequest{},
		},
		"connector": {
			"": connector.Spec{}, "config": connector.ConfigKey{}, "auth": connector.Auth{}, "operation": connector.Operation{},
			"param": connector.Param{}, "request": connector.Request{}, "success": connector.Success{},
		},
	} {
		text, err := os.ReadFile("../../schemas/jsonschema/" + file + ".schema.json")
		if err != nil {
			t.Fatal(err)
		}
		var root object
		if err := json.Unmarshal(text, &root); err != nil {
			t.Fatal(err)
		}
		if len(root.Defs) != len(types)-1 {
			t.Errorf("%s: %d definitions, want %d", file, len(root.Defs), len(types)-1)
		}
		for name, v := range types {
			o := root
			if name != "" {
				o = root.Defs[name]
			}
			var want, got []string
			for i := range reflect.TypeOf(v).NumField() {
				key, _, _ := strings.Cut(reflect.TypeOf(v).Field(i).Tag.Get("yaml"), ",")
				if key != "" && key != "-" {
					want = append(want, key)
				}
			}
			for k := range o.Properties {
				got = append(got, k)
			}
			slices.Sort(want)
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s %s (-struct +schema):\n%s", file, name, diff)
			}
		}
	}
}
