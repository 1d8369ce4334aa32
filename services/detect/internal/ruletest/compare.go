package ruletest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// compare says what differs from what a test expects, "" if nothing does.
func compare(t *rule.Test, got Outcome) string {
	var titles, entities, counts []string
	for _, a := range got.Alerts {
		titles, entities = append(titles, a.Title), append(entities, a.Entity.Value)
		counts = append(counts, strconv.FormatInt(a.Count, 10))
	}
	if len(got.Alerts) != t.Alerts {
		s := fmt.Sprintf("expected %s, got %d", plural(t.Alerts, "alert"), len(got.Alerts))
		if len(titles) > 0 {
			s += ": " + strings.Join(titles, "; ")
		}
		return s
	}
	if s := sets("entity", t.Entities, entities); s != "" {
		return s
	}
	x := t.Expect
	if s := sets("title", x.Titles, titles); s != "" {
		return s
	}
	if x.Count != nil {
		var want []string
		for _, n := range x.Count {
			want = append(want, strconv.Itoa(n))
		}
		if !slices.Equal(want, counts) {
			return fmt.Sprintf("expected count %s, got %s", strings.Join(want, ", "), strings.Join(counts, ", "))
		}
	}
	for _, a := range got.Alerts {
		if x.Level != "" && x.Level != string(a.Level) {
			return fmt.Sprintf("expected level %s, got %s", x.Level, a.Level)
		}
		for _, path := range slices.Sorted(maps.Keys(x.Fields)) {
			if v := shown(&a, path); v != x.Fields[path] {
				return fmt.Sprintf("expected %s to be %q, got %q", path, x.Fields[path], v)
			}
		}
	}
	if x.Amended != nil && *x.Amended != got.Amended {
		return fmt.Sprintf("expected %s to be amended, got %d", plural(*x.Amended, "alert"), got.Amended)
	}
	if x.Retracted != nil && *x.Retracted != got.Retracted {
		return fmt.Sprintf("expected %s to be retracted, got %d", plural(*x.Retracted, "alert"), got.Retracted)
	}
	return ""
}

// sets compares without order.
func sets(what string, want, got []string) string {
	if want == nil {
		return ""
	}
	want, got = slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(got))
	if slices.Equal(want, got) {
		return ""
	}
	return fmt.Sprintf("expected %s %s, got %s", what, strings.Join(want, ", "), strings.Join(got, ", "))
}

// shown is what an alert has under a path: among its facts or its group.
func shown(a *finding.Alert, path string) string {
	if v, ok := a.Fields[path]; ok {
		return v
	}
	for _, p := range a.Group {
		if p.Path == path {
			return p.Value
		}
	}
	return ""
}
