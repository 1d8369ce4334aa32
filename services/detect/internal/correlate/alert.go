package correlate

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

func at(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

func cutKey(key string) (first, rest string) {
	first, rest, _ = strings.Cut(key, "\x1f")
	return first, rest
}

// entityPaths are the paths that an entity's value is made of, scope first.
func entityPaths(r *rule.Rule) []string {
	var out []string
	for _, id := range r.Alert.EntityScope {
		out = append(out, event.Columns[id].Path)
	}
	if r.Alert.EntityAlias != "" {
		return append(out, r.Alert.EntityAlias)
	}
	return append(out, event.Columns[r.Alert.EntityPath].Path)
}

// entity joins the values of the paths.
func entity(r *rule.Rule, value func(string) string) string {
	paths := entityPaths(r)
	v := value(paths[len(paths)-1])
	if v == "" {
		return ""
	}
	for _, p := range paths[:len(paths)-1] {
		if scope := value(p); scope != "" {
			v = scope + "/" + v
		}
	}
	return v
}

// entityOf is the entity of a signal whose group does not tell it.
func (s *ruleState) entityOf(sig *finding.Signal) string {
	group := groupOf(s.rule, sig.GroupKey)
	return strings.Clone(entity(s.rule, func(path string) string {
		if v := lookup(sig.Fields, path); v != "" {
			return v
		}
		return lookup(group, path)
	}))
}

func lookup(list []finding.Pair, path string) string {
	for i := range list {
		if list[i].Path == path {
			return list[i].Value
		}
	}
	return ""
}

// show writes what people read: title, entity, fields and the reason. Without
// a signal the fields stay those of the newest event that was shown.
func (s *ruleState) show(k *known, f *fire, sig *finding.Signal, received int64) {
	a, r := &k.alert, s.rule
	if sig != nil {
		a.Fields = nil
		for _, p := range sig.Fields {
			if p.Value != "" {
				if a.Fields == nil {
					a.Fields = map[string]string{}
				}
				a.Fields[strings.Clone(p.Path)] = strings.Clone(p.Value)
			}
		}
		a.Traceback = strings.Clone(sig.Traceback)
		received = sig.Received
	}
	if a.RaisedAt.IsZero() {
		a.RaisedAt = at(received)
	}
	value := func(name string) string {
		switch name {
		case "count":
			return strconv.FormatInt(a.Count, 10)
		case "value":
			return strconv.FormatFloat(a.Value, 'f', -1, 64)
		case "threshold":
			return strconv.FormatFloat(a.Threshold, 'f', -1, 64)
		}
		if v := lookup(a.Group, name); v != "" {
			return v
		}
		return a.Fields[name]
	}
	v := f.entity
	if !s.named {
		v = entity(r, value)
	}
	if a.Entity = (finding.Entity{}); v != "" {
		a.Entity = finding.Entity{Type: r.Alert.EntityType, Value: v}
	}
	a.Entities, a.Risk = r.Involved(value), max(a.Risk, r.Risk(a.Fields))
	a.Title = r.Alert.Title.Fill(value)
	a.Reason = s.reason(a, f)
}

// reason says why in one sentence with the numbers.
func (s *ruleState) reason(a *finding.Alert, f *fire) string {
	var who []string
	for _, p := range a.Group {
		who = append(who, p.Path+" "+p.Value)
	}
	of := strings.Join(who, ", ")
	if of == "" {
		of = "all"
	}
	over := a.LastSeen.Sub(a.FirstSeen).Round(time.Millisecond)
	field := ""
	if s.c != nil && len(s.c.Field) > 0 {
		var paths []string
		for _, f := range s.c.Field {
			paths = append(paths, f.Path())
		}
		field = strings.Join(paths, " and ")
	}
	num := func(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }
	switch {
	case s.c == nil && a.Count == 1:
		return "1 matching event of " + of
	case s.c == nil:
		return fmt.Sprintf("%d matching events of %s within %s", a.Count, of, over)
	case s.kind == counting:
		return fmt.Sprintf("%d matching events of %s within %s (%s)", a.Count, of, over, s.condition())
	case s.kind == distinct:
		about := ""
		if f.values.estimated() {
			about = "about "
		}
		return fmt.Sprintf("%s%s different values of %s for %s within %s (%s)", about, num(a.Value), field, of, over, s.condition())
	case s.kind == summing, s.kind == averaging:
		what := map[kind]string{summing: "sum", averaging: "average"}[s.kind]
		return fmt.Sprintf("%s %s of %s for %s, %d events within %s (%s)", what, num(a.Value), field, of, a.Count, over, s.condition())
	case s.kind == percentile:
		return fmt.Sprintf("percentile %s of %s for %s, %d events within %s (%s)", num(s.c.Percentile), field, of, a.Count, over, s.condition())
	case s.kind == together, s.kind == ordered:
		var steps []string
		for _, x := range s.c.Steps {
			steps = append(steps, x.Name)
		}
		joint := ", "
		if s.kind == ordered {
			joint = ", then "
		}
		text := strings.Join(steps, joint)
		if s.n < s.steps {
			text = fmt.Sprintf("%d of %s", s.n, text)
		}
		return fmt.Sprintf("%s for %s within %s (timespan %s)", text, of, over, s.c.Timespan)
	case s.kind == absent:
		return fmt.Sprintf("no %s within %s after %s of %s at %s", s.c.Steps[1].Name, s.c.Timespan, s.c.Steps[0].Name, of, a.FirstSeen.Format(time.RFC3339))
	case s.kind == novelty:
		return fmt.Sprintf("%s of %s not seen before in %s, for %s", plural(a.Count, "value"), field, s.c.Timespan, of)
	}
	what := "events"
	if field != "" {
		what = field
	}
	return fmt.Sprintf("%s %s of %s in %s where %s is usual: %s deviations of %s (%s)", num(a.Value), what, of, s.c.Timespan, num(f.usual),
		num((a.Value-f.usual)/f.scale), num(f.scale), s.condition())
}

func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.FormatInt(n, 10) + " " + what + "s"
}

// condition is what was to be reached.
func (s *ruleState) condition() string {
	if len(s.c.Condition) == 1 && s.c.Condition[0].Op == "gte" {
		return fmt.Sprintf("threshold %g in %s", s.c.Condition[0].Value, s.c.Timespan)
	}
	var parts []string
	for _, x := range s.c.Condition {
		parts = append(parts, fmt.Sprintf("%s %g", x.Op, x.Value))
	}
	return strings.Join(parts, ", ") + " in " + s.c.Timespan.String()
}
