package connector

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/vagus-hub/vagus/services/respond/internal/spec"
)

// Check fills in defaults and refuses what does not fit. It keeps types, and
// turns numbers and booleans into text where text is wanted.
func (op *Operation) Check(params map[string]any) (map[string]any, error) {
	out := make(map[string]any, len(op.Params))
	for k := range params {
		if op.Params[k] == nil {
			return nil, fmt.Errorf("parameter %s: unknown%s", k, spec.Suggest(k, slices.Collect(maps.Keys(op.Params))))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(op.Params)) {
		p, v := op.Params[k], params[k]
		if v == nil || v == "" {
			v = p.Default
		}
		if v == nil {
			if p.Required {
				return nil, fmt.Errorf("parameter %s: empty", k)
			}
			if p.Type == "string" {
				v = ""
			}
			out[k] = v
			continue
		}
		v, err := p.check(v)
		if err != nil {
			return nil, fmt.Errorf("parameter %s: %w", k, err)
		}
		out[k] = v
	}
	return out, nil
}

func (p *Param) check(v any) (any, error) {
	switch p.Type {
	case "string":
		s, ok := v.(string)
		if !ok {
			switch v.(type) {
			case map[string]any, []any:
				return nil, fmt.Errorf("want text")
			}
			s = fmt.Sprint(v)
		}
		if len(s) > p.MaxLength {
			return nil, fmt.Errorf("%d bytes, at most %d", len(s), p.MaxLength)
		}
		if p.pattern != nil && !p.pattern.MatchString(s) {
			return nil, fmt.Errorf("%q does not match %s", cut(s, 80), p.Pattern)
		}
		if len(p.Enum) > 0 && !slices.Contains(p.Enum, s) {
			return nil, fmt.Errorf("%q%s", cut(s, 80), spec.Suggest(s, p.Enum))
		}
		return s, nil
	case "number":
		switch v.(type) {
		case int, int64, uint64, float64:
			return v, nil
		}
		return nil, fmt.Errorf("want a number")
	case "boolean":
		if _, ok := v.(bool); !ok {
			return nil, fmt.Errorf("want true or false")
		}
	case "object":
		if _, ok := v.(map[string]any); !ok {
			return nil, fmt.Errorf("want a map")
		}
	}
	return v, nil
}

// CheckNames finds parameters that a playbook must not or must give.
func (op *Operation) CheckNames(given []string) error {
	for _, k := range given {
		if op.Params[k] == nil {
			return fmt.Errorf("unknown parameter %q%s", k, spec.Suggest(k, slices.Collect(maps.Keys(op.Params))))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(op.Params)) {
		if p := op.Params[k]; p.Required && p.Default == nil && !slices.Contains(given, k) {
			return fmt.Errorf("parameter %q is missing", k)
		}
	}
	return nil
}

// Target is something an action works on.
type Target struct{ Type, Value string }

// TargetsOf lists what a call works on. A parameter "scope" gives the type of
// a target declared as "*".
func (op *Operation) TargetsOf(params map[string]any) []Target {
	var out []Target
	for _, typ := range slices.Sorted(maps.Keys(op.Targets)) {
		v := fmt.Sprint(params[op.Targets[typ]])
		if typ == "*" {
			typ = fmt.Sprint(params["scope"])
		}
		out = append(out, Target{Type: typ, Value: v})
	}
	return out
}

// Brief is a call as one line of text for dry runs and approvals.
func Brief(action string, params map[string]any) string {
	b, err := json.Marshal(params)
	if err != nil {
		return action
	}
	return action + " " + cut(string(b), 512)
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
