package mapping

import (
	"encoding/json"
	"io/fs"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/schemas/sources"
)

// jsonSchema is as much of JSON Schema as source.schema.json uses.
type jsonSchema struct {
	Ref         string                 `json:"$ref"`
	Type        any                    `json:"type"`
	Enum        []string               `json:"enum"`
	Pattern     string                 `json:"pattern"`
	Properties  map[string]*jsonSchema `json:"properties"`
	Required    []string               `json:"required"`
	Additional  json.RawMessage        `json:"additionalProperties"`
	Items       *jsonSchema            `json:"items"`
	AnyOf       []*jsonSchema          `json:"anyOf"`
	Defs        map[string]*jsonSchema `json:"$defs"`
	MinProps    int                    `json:"minProperties"`
	Description string                 `json:"description"`
}

func readSchema(t *testing.T) *jsonSchema {
	t.Helper()
	text, err := os.ReadFile("../../../../schemas/jsonschema/source.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var s jsonSchema
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

func (s *jsonSchema) accepts(root *jsonSchema, v any) bool {
	if s.Ref != "" {
		return root.Defs[strings.TrimPrefix(s.Ref, "#/$defs/")].accepts(root, v)
	}
	if len(s.AnyOf) > 0 {
		return slices.ContainsFunc(s.AnyOf, func(o *jsonSchema) bool { return o.accepts(root, v) })
	}
	kind := "number"
	switch v := v.(type) {
	case string:
		kind = "string"
		if s.Enum != nil && !slices.Contains(s.Enum, v) || s.Pattern != "" && !regexp.MustCompile(s.Pattern).MatchString(v) {
			return false
		}
	case bool:
		kind = "boolean"
	case []any:
		kind = "array"
		for _, e := range v {
			if s.Items != nil && !s.Items.accepts(root, e) {
				return false
			}
		}
	case map[string]any:
		kind = "object"
		if len(v) < s.MinProps {
			return false
		}
		for _, r := range s.Required {
			if _, ok := v[r]; !ok {
				return false
			}
		}
		var other *jsonSchema
		open := string(s.Additional) != "false"
		if open && len(s.Additional) > 0 {
			_ = json.Unmarshal(s.Additional, &other)
		}
		for k, e := range v {
			p := s.Properties[k]
			if p == nil {
				p = other
			}
			if p == nil && !open || p != nil && !p.accepts(root, e) {
				return false
			}
		}
	}
	switch want := s.Type.(type) {
	case string:
		return want == kind
	case []any:
		return slices.Contains(want, any(kind))
	}
	return true
}

// TestJSONSchema holds the schema that editors use against the structs that
// decide, and against every mapping.
func TestJSONSchema(t *testing.T) {
	root := readSchema(t)
	for name, v := range map[string]any{"": file{}, "framing": framingRule{}, "time": timeFrom{}, "drop": dropRule{}, "class": classRule{}} {
		s := root
		if name != "" {
			s = root.Defs[name]
		}
		var want, got []string
		for i := range reflect.TypeOf(v).NumField() {
			want = append(want, reflect.TypeOf(v).Field(i).Tag.Get("yaml"))
		}
		for k := range s.Properties {
			got = append(got, k)
		}
		slices.Sort(want)
		slices.Sort(got)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%q (-struct +schema)\n%s", name, d)
		}
	}
	if got := root.Properties["format"].Enum; !slices.Equal(got, formats) {
		t.Errorf("formats %q, want %q", got, formats)
	}
	names, err := fs.Glob(sources.FS, "*/mapping.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		data, _ := sources.FS.ReadFile(name)
		var doc any
		if err := yaml.Unmarshal(data, &doc); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		top, _ := doc.(map[string]any)
		for key, v := range top {
			if p := root.Properties[key]; p == nil || !p.accepts(root, v) {
				t.Errorf("%s: the schema refuses %s", name, key)
			}
		}
		if !root.accepts(root, doc) {
			t.Errorf("%s: the schema refuses it", name)
		}
	}
}
