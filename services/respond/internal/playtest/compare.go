package playtest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/vagus-hub/vagus/schemas/run"
	"github.com/vagus-hub/vagus/services/respond/internal/playbook"
)

// compare lists what differs from what is expected now.
func (b *bench) compare(ctx context.Context, e playbook.Expect) ([]string, error) {
	var diff []string
	bad := func(format string, args ...any) { diff = append(diff, fmt.Sprintf(format, args...)) }
	var v run.Run
	if b.uid != "" {
		var err error
		if v, err = b.engine.View(ctx, b.uid); err != nil {
			return nil, err
		}
	}
	state := string(v.State)
	if b.uid == "" {
		state = "none"
	}
	if e.Run != "" && e.Run != state {
		bad("run is %s (%s), want %s", state, v.Reason, e.Run)
	}
	steps := map[string]run.Step{}
	for _, s := range v.Steps {
		steps[s.ID] = s
	}
	for _, id := range slices.Sorted(maps.Keys(e.Steps)) {
		got := steps[id]
		if got.State == "" {
			got.State = "none"
		}
		if string(got.State) != e.Steps[id] {
			bad("step %s is %s (%s), want %s", id, got.State, got.Reason, e.Steps[id])
		}
	}
	for _, id := range slices.Sorted(maps.Keys(e.Reasons)) {
		if !strings.Contains(steps[id].Reason, e.Reasons[id]) {
			bad("step %s: reason %q does not contain %q", id, steps[id].Reason, e.Reasons[id])
		}
	}
	if e.Requests != nil {
		diff = append(diff, requests(b.target.Requests(), e.Requests)...)
	}
	if e.Decisions != nil {
		entries, err := b.decisions.List(ctx)
		if err != nil {
			return nil, err
		}
		got := []string{}
		for _, en := range entries {
			if d := en.Value; d.Active(b.now) {
				got = append(got, fmt.Sprintf("%s %s:%s", d.Kind, d.Scope, d.Value))
			}
		}
		want := slices.Sorted(slices.Values(e.Decisions))
		if slices.Sort(got); !slices.Equal(got, want) {
			bad("decisions in force are %q, want %q", got, want)
		}
	}
	return diff, nil
}

func requests(got []Seen, want []playbook.ExpectRequest) []string {
	var diff []string
	if len(got) != len(want) {
		var list []string
		for _, s := range got {
			list = append(list, s.Method+" "+s.Path)
		}
		return []string{fmt.Sprintf("%d requests, want %d: %s", len(got), len(want), strings.Join(list, ", "))}
	}
	for i, w := range want {
		g := got[i]
		if w.Method != "" && w.Method != g.Method {
			diff = append(diff, fmt.Sprintf("request %d: method %s, want %s", i+1, g.Method, w.Method))
		}
		if w.Path != "" && w.Path != g.Path && !(strings.HasSuffix(w.Path, "*") && strings.HasPrefix(g.Path, strings.TrimSuffix(w.Path, "*"))) {
			diff = append(diff, fmt.Sprintf("request %d: path %s, want %s", i+1, g.Path, w.Path))
		}
		for _, k := range slices.Sorted(maps.Keys(w.Headers)) {
			if v := g.Header.Get(k); v == "" || w.Headers[k] != "*" && v != w.Headers[k] {
				diff = append(diff, fmt.Sprintf("request %d: header %s is %q, want %q", i+1, k, v, w.Headers[k]))
			}
		}
		if w.Body != nil {
			var body any
			if err := json.Unmarshal(g.Body, &body); err != nil {
				diff = append(diff, fmt.Sprintf("request %d: body is not JSON: %v", i+1, err))
				continue
			}
			if at := within(normal(w.Body), body, "body"); at != "" {
				diff = append(diff, fmt.Sprintf("request %d: %s", i+1, at))
			}
		}
	}
	return diff
}

// normal gives a YAML value the types that JSON has.
func normal(v any) any {
	b, err := json.Marshal(v)
	if err != nil {
		return v
	}
	var out any
	_ = json.Unmarshal(b, &out)
	return out
}

// within says where want is not part of got: maps may have more keys.
func within(want, got any, at string) string {
	w, ok := want.(map[string]any)
	if !ok {
		if !reflect.DeepEqual(want, got) {
			return fmt.Sprintf("%s is %v, want %v", at, got, want)
		}
		return ""
	}
	g, ok := got.(map[string]any)
	if !ok {
		return fmt.Sprintf("%s is %v, want a map", at, got)
	}
	for _, k := range slices.Sorted(maps.Keys(w)) {
		v, there := g[k]
		if !there {
			return fmt.Sprintf("%s.%s is missing", at, k)
		}
		if diff := within(w[k], v, at+"."+k); diff != "" {
			return diff
		}
	}
	return ""
}
