package rule

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

// The bounds of correlations. Windows keep their events in memory; what is
// remembered of values and baselines is smaller, so that it may be longer.
const (
	maxTimespan  = 7 * 24 * time.Hour
	maxMemory    = 90 * 24 * time.Hour
	maxLateness  = 24 * time.Hour
	maxThreshold = 100_000
	maxFields    = 4
)

// traits says what a type of correlation takes.
type traits struct {
	steps     [2]int // least and most; 0, 0: the rule's own condition alone
	field     int    // most fields; -1: none
	required  bool   // a field is required
	condition bool   // a condition is required
	window    bool   // the window may be chosen
}

var correlations = map[string]traits{
	EventCount:      {steps: [2]int{0, MaxSteps}, field: -1, condition: true, window: true},
	ValueCount:      {steps: [2]int{0, MaxSteps}, field: maxFields, required: true, condition: true, window: true},
	ValueSum:        {steps: [2]int{0, MaxSteps}, field: 1, required: true, condition: true, window: true},
	ValueAvg:        {steps: [2]int{0, MaxSteps}, field: 1, required: true, condition: true, window: true},
	ValuePercentile: {steps: [2]int{0, MaxSteps}, field: 1, required: true, condition: true, window: true},
	Temporal:        {steps: [2]int{2, MaxSteps}, field: -1},
	TemporalOrdered: {steps: [2]int{2, MaxSteps}, field: -1},
	Absence:         {steps: [2]int{2, 2}, field: -1},
	NewValue:        {steps: [2]int{0, MaxSteps}, field: maxFields, required: true},
	RateAnomaly:     {steps: [2]int{0, MaxSteps}, field: 1, condition: true},
	Chain:           {steps: [2]int{1, MaxSteps}, field: -1},
}

// correlation reads `correlate` and what depends on it: a rule has a condition
// of its own, or a correlation that says what else it is about.
func (r *reader) correlation(root ast.Node, m map[string]field, out *Rule) {
	f := m["correlate"]
	if f.value == nil {
		if m["when"].value == nil && !r.meant["the rule.when"] {
			r.error(root, "the rule lacks when")
		}
		if m["source"].value == nil && !r.meant["the rule.source"] {
			r.error(root, "the rule lacks source")
		}
		return
	}
	cm := r.mapping(f.value, "correlate", "type!", "window", "rules", "steps", "group_by!", "aliases", "field", "percentile", "timespan!",
		"baseline", "season", "learning", "lateness", "condition", "min_events", "min_value", "generate")
	c := &Correlate{Type: r.oneOf(cm["type"], "correlation type", Types...)}
	out.Correlate = c
	t, known := correlations[c.Type]
	if cm == nil || !known {
		return
	}
	r.correlated(cm, c, t, out)
	own := m["when"].value != nil
	switch {
	case len(c.Steps) == 0 && (r.meant["correlate.rules"] || r.meant["correlate.steps"] || r.meant["the rule.when"]):
	case len(c.Steps) == 0 && !own && t.steps[0] > 0:
		r.error(f.value, "%s lacks what it correlates: rules (ids) or steps (conditions)", c.Type)
	case len(c.Steps) == 0 && !own:
		r.error(root, "the rule lacks when (or correlate.rules, correlate.steps)")
	case len(c.Steps) == 0 && m["source"].value == nil && !r.meant["the rule.source"]:
		r.error(root, "the rule lacks source")
	case len(c.Steps) > 0 && own:
		r.error(m["when"].key, "a correlation of rules or steps has no condition of its own: make it a step")
	case len(c.Steps) == 0 && t.steps[0] > 0:
		r.error(m["when"].key, "%s correlates rules or steps, not the rule's own condition", c.Type)
	case len(c.Steps) > 0 && m["source"].value != nil:
		r.error(m["source"].key, "the source of a correlation is that of its steps")
	case len(c.Steps) > 0 && (len(c.Steps) < t.steps[0] || len(c.Steps) > t.steps[1]):
		many := fmt.Sprintf("%d to %d", t.steps[0], t.steps[1])
		if t.steps[0] == t.steps[1] {
			many = strconv.Itoa(t.steps[0])
		}
		r.error(f.value, "%s takes %s rules or steps, not %d", c.Type, many, len(c.Steps))
	}
	families := out.Source.Families
	if families == 0 {
		families = allFamilies
	}
	c.GroupBy = r.groupBy(cm, c, families)
	if t.field < 0 && cm["field"].value != nil {
		r.error(cm["field"].key, "%s takes no field (value_count counts different values)", c.Type)
	} else {
		for _, item := range r.items(cm["field"]) {
			if f, ok := r.field(item, "field", families); ok {
				c.Field = append(c.Field, f)
			}
		}
	}
	switch {
	case t.required && cm["field"].value == nil && !r.meant["correlate.field"]:
		r.error(f.value, "%s lacks field: the path of the values", c.Type)
	case len(c.Field) > t.field && t.field > 0:
		r.error(cm["field"].value, "%s takes at most %d field(s)", c.Type, t.field)
	}
	for _, f := range c.Field {
		if k := f.Kind(); c.Numeric() && f.View == lang.Plain && !k.Number() {
			r.error(cm["field"].value, "%s calculates with numbers, and %s is a %s", c.Type, f.Path(), k)
		}
	}
	r.windows(f, cm, c, t)
	r.spans(cm, c)
}

// correlated reads the steps and gives the rule their families.
func (r *reader) correlated(cm map[string]field, c *Correlate, t traits, out *Rule) {
	if cm["rules"].value != nil && cm["steps"].value != nil {
		r.error(cm["steps"].key, "correlate takes rules or steps, not both (a step may name a rule)")
	}
	for _, item := range r.items(cm["rules"]) {
		s := Step{ID: r.text(item, "rule")}
		s.Name = s.ID
		s.Line, s.Column = position(item.value)
		c.Steps = append(c.Steps, s)
	}
	for _, item := range r.items(cm["steps"]) {
		c.Steps = append(c.Steps, r.step(item, out, len(c.Steps)))
	}
	seen := map[string]bool{}
	var families event.Families
	for _, s := range c.Steps {
		if s.Name != "" && seen[s.Name] {
			r.errorAt(s.Line, s.Column, "step %s is there twice", s.Name)
		}
		seen[s.Name] = true
		if s.Rule == nil {
			families = allFamilies
		} else {
			families |= s.Rule.Source.Families
			if c.Type == Chain {
				r.errorAt(s.Line, s.Column, "chain correlates the alerts of other rules: name them in rules")
			}
		}
	}
	if len(c.Steps) > 0 {
		out.Source.Families = families
	}
	c.Ordered = c.Type == TemporalOrdered || c.Type == Chain || c.Type == Absence
	c.Generate = true
	if f := cm["generate"]; f.value != nil {
		c.Generate = r.boolean(f, "generate")
	}
}

func (r *reader) step(item field, parent *Rule, n int) Step {
	m := r.mapping(item.value, "step", "name!", "source", "when", "rule")
	s := Step{Name: r.text(m["name"], "name"), ID: r.text(m["rule"], "rule")}
	s.Line, s.Column = position(item.value)
	switch {
	case m["rule"].value != nil && (m["when"].value != nil || m["source"].value != nil):
		r.error(item.value, "step %s takes a rule, or source and when", s.Name)
	case m["rule"].value != nil:
	case m["when"].value == nil || m["source"].value == nil:
		r.error(item.value, "step %s lacks source and when, or a rule", s.Name)
	default:
		s.Rule = &Rule{ID: parent.ID + "#" + s.Name, Title: s.Name, Level: parent.Level, Status: parent.Status, Lane: parent.Lane,
			Version: parent.Version, File: parent.File, Parent: parent, Step: n, Disabled: parent.Disabled}
		s.Rule.Source = r.source(m["source"])
		s.Rule.When = r.condition(m["when"], s.Rule.Source.Families)
		r.unselective(s.Rule, m["when"])
	}
	if strings.ContainsFunc(s.Name, func(c rune) bool { return c <= ' ' || c == '#' }) {
		r.error(m["name"].value, "the name of a step has no blanks and no #")
	}
	return s
}

// groupBy reads the keys, which are paths or aliases.
func (r *reader) groupBy(cm map[string]field, c *Correlate, families event.Families) []GroupKey {
	aliases := map[string][]lang.Field{}
	if f := cm["aliases"]; f.value != nil {
		order, m := r.pairs(f.value, "aliases")
		for _, name := range order {
			if _, taken := event.ByPath(name); taken || isSpecial(name) {
				r.error(m[name].key, "alias %s has the name of a field: choose another", name)
			}
			aliases[name] = r.alias(name, m[name], c, families)
		}
	}
	var out []GroupKey
	for _, item := range r.items(cm["group_by"]) {
		name, _ := item.value.(*ast.StringNode)
		if name != nil && aliases[name.Value] != nil {
			out = append(out, GroupKey{name.Value, aliases[name.Value]})
			delete(aliases, name.Value)
			continue
		}
		if f, ok := r.field(item, "group_by", families); ok {
			out = append(out, GroupKey{f.Path(), []lang.Field{f}})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(aliases)) {
		r.error(cm["aliases"].value, "alias %s is not used in group_by", name)
	}
	return out
}

// alias reads the field of each step.
func (r *reader) alias(name string, f field, c *Correlate, families event.Families) []lang.Field {
	out := make([]lang.Field, len(c.Steps))
	order, m := r.pairs(f.value, "alias "+name)
	var names []string
	for _, s := range c.Steps {
		names = append(names, s.Name)
	}
	for _, step := range order {
		i := slices.Index(names, step)
		if i < 0 {
			r.error(m[step].key, "alias %s: there is no step %s%s", name, step, lang.DidYouMean(step, names))
			continue
		}
		own := families
		if s := c.Steps[i].Rule; s != nil {
			own = s.Source.Families
		}
		out[i], _ = r.field(m[step], "alias "+name, own)
	}
	for i, step := range names {
		if _, ok := m[step]; !ok {
			r.error(f.value, "alias %s lacks the field of step %s", name, names[i])
		}
	}
	if len(out) == 0 {
		r.error(f.key, "aliases belong to correlations of several rules or steps")
		return nil
	}
	return out
}

// windows reads window and condition.
func (r *reader) windows(f field, cm map[string]field, c *Correlate, t traits) {
	if x := cm["condition"]; x.value == nil {
		if t.condition && !r.meant["correlate.condition"] {
			r.error(f.value, "%s lacks condition", c.Type)
		}
	} else {
		c.Condition = r.comparisons(x)
	}
	c.Window = Sliding
	if c.AtEnd() {
		c.Window = Tumbling
	}
	if w := cm["window"]; w.value != nil {
		if !t.window {
			r.error(w.key, "%s takes no window: it slides", c.Type)
		}
		if c.Window = r.oneOf(w, "window", Sliding, Tumbling, Session); c.Window == Sliding && c.AtEnd() {
			r.error(w.value, "lte, lt, eq and neq are judged when a window ends: take window: tumbling or session")
		}
	}
	x := cm["condition"]
	if x.value != nil && len(c.Condition) == 0 {
		return // what is wrong with it was said
	}
	switch c.Type {
	case Temporal, TemporalOrdered, Chain:
		if n := c.Count(); x.value != nil && (n < 1 || n > len(c.Steps)) {
			r.error(x.value, "the condition of %s is gte or gt of a number of its %d steps", c.Type, len(c.Steps))
		}
		if x.value != nil && c.Type == TemporalOrdered && c.Count() < len(c.Steps) {
			r.error(x.value, "temporal_ordered wants all of its steps")
		}
	case Absence, NewValue:
		if x.value != nil {
			r.error(x.key, "%s takes no condition", c.Type)
		}
	case EventCount, ValueCount:
		before := len(r.problems)
		for _, y := range c.Condition {
			if y.Value != float64(int(y.Value)) || y.Value < 0 || y.Value > maxThreshold {
				r.error(x.value, "the condition of %s is a whole number of at most %d", c.Type, maxThreshold)
			}
			if y.Op == "gte" && y.Value < 1 {
				r.error(x.value, "gte 0 always holds")
			}
		}
		if len(r.problems) == before && len(c.Condition) > 0 && !c.reachable() {
			r.error(x.value, "no count fits the condition (a group is there from its first event on; what does not happen is an absence)")
		}
	case RateAnomaly:
		if x.value == nil {
			break
		}
		if len(c.Condition) != 1 || c.Condition[0].Op == "eq" || c.Condition[0].Op == "neq" {
			r.error(x.value, "the condition of rate_anomaly is one of gte, gt, lte and lt: deviations from what is usual, such as gte: 6")
		}
	}
}

func (r *reader) comparisons(f field) []Comparison {
	before := len(r.problems)
	m := r.mapping(f.value, "condition", Ops...)
	var out []Comparison
	for _, op := range Ops {
		if x := m[op]; x.value != nil {
			out = append(out, Comparison{op, r.number(x, op)})
		}
	}
	if len(r.problems) > before {
		return nil
	}
	if m != nil && len(out) == 0 {
		r.error(f.value, "condition takes one of %s, or two for a range", strings.Join(Ops, ", "))
	}
	if len(out) > 2 {
		r.error(f.value, "condition takes at most two comparisons")
	}
	return out
}

// spans reads the times and the numbers that belong to some types.
func (r *reader) spans(cm map[string]field, c *Correlate) {
	only := func(key string, types ...string) field {
		f := cm[key]
		if f.value != nil && !slices.Contains(types, c.Type) {
			r.error(f.key, "%s belongs to %s", key, strings.Join(types, ", "))
			return field{}
		}
		return f
	}
	span := func(f field, what string, most time.Duration, def time.Duration) time.Duration {
		if f.value == nil {
			return def
		}
		d := r.duration(f, what)
		if d > most {
			r.error(f.value, "%s is at most %s", what, days(most))
		}
		return d
	}
	longest := maxTimespan
	if c.Type == NewValue {
		longest = maxMemory
	}
	before := len(r.problems)
	if c.Timespan = span(cm["timespan"], "timespan", longest, 0); cm["timespan"].value != nil && c.Timespan < time.Second && len(r.problems) == before {
		r.error(cm["timespan"].value, "timespan must be at least 1s")
	}
	c.Lateness = span(cm["lateness"], "lateness", maxLateness, min(max(c.Timespan, time.Minute), 10*time.Minute))
	learning := time.Duration(0)
	switch c.Type {
	case NewValue:
		learning = min(7*24*time.Hour, c.Timespan)
	case RateAnomaly:
		c.Season = NoSeason
		if s := only("season", RateAnomaly); s.value != nil {
			c.Season = r.oneOf(s, "season", NoSeason, HourOfWeek)
		}
		learning, c.Baseline = 7*24*time.Hour, 14*24*time.Hour
		if c.Season == HourOfWeek {
			learning, c.Baseline = 14*24*time.Hour, 28*24*time.Hour
			if c.Timespan > 0 && (7*24*time.Hour)%c.Timespan != 0 {
				r.error(cm["timespan"].value, "with season hour_of_week the timespan must divide a week: 1h, 30m")
			}
		}
	}
	c.Learning = span(only("learning", NewValue, RateAnomaly), "learning", maxMemory, learning)
	if b := only("baseline", RateAnomaly); b.value != nil {
		c.Baseline = span(b, "baseline", maxMemory, 0)
		if c.Timespan > 0 && (c.Baseline < 8*c.Timespan || c.Baseline > maxBuckets*c.Timespan) {
			r.error(b.value, "baseline is between 8 and %d times the timespan", maxBuckets)
		}
	} else if c.Timespan > 0 {
		c.Baseline = min(c.Baseline, maxBuckets*c.Timespan)
	}
	c.MinEvents = 1
	if f := only("min_events", ValueAvg, ValuePercentile); f.value != nil {
		if c.MinEvents = r.integer(f, "min_events"); c.MinEvents < 1 || c.MinEvents > maxThreshold {
			r.error(f.value, "min_events is between 1 and %d", maxThreshold)
		}
	}
	if f := only("min_value", RateAnomaly); f.value != nil {
		c.MinValue = r.number(f, "min_value")
	}
	p := only("percentile", ValuePercentile)
	if c.Type == ValuePercentile {
		if c.Percentile = 50; p.value != nil {
			c.Percentile = r.number(p, "percentile")
		}
		if c.Percentile <= 0 || c.Percentile > 100 {
			r.error(p.value, "percentile is above 0 and at most 100")
		}
	}
}

// maxBuckets bounds what a group remembers of its baseline.
const maxBuckets = 1024

func days(d time.Duration) string {
	if d%(24*time.Hour) == 0 {
		return strconv.Itoa(int(d/(24*time.Hour))) + "d"
	}
	return d.String()
}

// aliases are the names that group_by has beside paths.
func (c *Correlate) aliases() []string {
	var out []string
	if c == nil {
		return nil
	}
	for _, k := range c.GroupBy {
		if _, ok := event.ByPath(k.Name); !ok {
			out = append(out, k.Name)
		}
	}
	return out
}

// steps gives the inline steps what they have from the whole rule.
func (r *Rule) steps() {
	if r.Correlate == nil {
		return
	}
	for _, s := range r.Correlate.Steps {
		if s.Rule != nil {
			s.Rule.Exceptions, s.Rule.Tags, s.Rule.Alert = r.Exceptions, r.Tags, r.Alert
		}
	}
}
