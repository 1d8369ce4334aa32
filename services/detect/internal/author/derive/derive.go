package derive

import (
	"fmt"
	"slices"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/match"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/ruletest"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// Tests makes tests for a rule, each of which has been run: one that fires, and
// one that nearly does. Known are the rules that a correlation may name. What is
// missing is said in why, which is empty if there are both.
func Tests(r *rule.Rule, known []*rule.Rule) (tests []rule.Test, why string) {
	d := deriver{rule: r, opts: ruletest.Options{Rules: known}}
	if r.Correlate != nil {
		tests, why = d.correlation(known)
	} else {
		tests, why = d.condition()
	}
	return tests, why
}

type deriver struct {
	rule *rule.Rule
	opts ruletest.Options
}

// passes runs a test.
func (d *deriver) passes(t rule.Test) bool {
	got, err := ruletest.Play(d.rule, t.Events, d.opts)
	return err == nil && len(got.Alerts) == t.Alerts
}

const (
	firesName   = "what the condition describes"
	nearlyName  = "all but one part of the condition"
	filterName  = "what the condition takes out"
	another     = "something else"
	noPositive  = "no event was found that the condition fits"
	noNegative  = "no event was found that the condition nearly fits"
	onlyMachine = " (a part of it is known to the virtual machine alone)"
)

func (d *deriver) condition() ([]rule.Test, string) {
	yes, ok := positive(d.rule)
	if !ok {
		return nil, noPositive + d.machine()
	}
	fires := rule.Test{Name: firesName, Events: []rule.TestEvent{yes}, Alerts: 1}
	if !d.passes(fires) {
		return nil, noPositive + ": one matches, and raises no alert"
	}
	no, name, ok := negative(d.rule)
	if !ok {
		return []rule.Test{fires}, noNegative + d.machine()
	}
	return []rule.Test{fires, {Name: name, Events: []rule.TestEvent{no}}}, ""
}

func (d *deriver) machine() string {
	if d.rule.When != nil && !d.rule.When.Lowered {
		return onlyMachine
	}
	return ""
}

// positive is an event that the rule matches. It names whom the alert is about,
// where the condition leaves that open.
func positive(r *rule.Rule) (rule.TestEvent, bool) {
	m := match.New([]*rule.Rule{r})
	var found rule.TestEvent
	ok := search(r.When.Root, func(v solution) bool {
		e, ok := build(r, v)
		if !ok || !matches(m, e) {
			return false
		}
		found = e
		return true
	})
	if !ok {
		return found, false
	}
	f := lang.Field{Col: r.Alert.EntityPath}
	if _, have := has(found, f); !have && r.Alert.EntityAlias == "" && r.Alert.EntityPath != event.EventUID {
		if e, ok := with(found, f, common(f)); ok && matches(m, e) {
			found = e
		}
	}
	return found, true
}

func matches(m *match.Matcher, e rule.TestEvent) bool {
	n := 0
	err := ruletest.Blocks([]rule.TestEvent{e}, func(b *block.Block) { m.Match(b, func(*rule.Rule, int) { n++ }) })
	return err == nil && n > 0
}

// negative is an event that the rule nearly matches: one that a filter takes out,
// or one that lacks a part.
func negative(r *rule.Rule) (rule.TestEvent, string, bool) {
	parts := []*lang.Node{r.When.Root}
	if r.When.Root.Op == lang.And {
		parts = r.When.Root.Kids
	}
	m := match.New([]*rule.Rule{r})
	var found rule.TestEvent
	try := func(i int, more ...*lang.Node) bool {
		kids := append(slices.Clone(parts[:i]), parts[i+1:]...)
		root := &lang.Node{Op: lang.And, Kids: append(append(kids, lang.Opposite(parts[i])), more...)}
		return search(root, func(v solution) bool {
			e, ok := build(r, v)
			if !ok || len(v) == 0 || matches(m, e) {
				return false
			}
			found = e
			return true
		})
	}
	for i, p := range parts {
		if negates(p) && len(parts) > 1 && try(i) {
			return found, filterName, true
		}
	}
	name := nearlyName
	if len(parts) == 1 {
		name = another
	}
	for i := len(parts) - 1; i >= 0; i-- {
		if parts[i].Op == lang.Opaque {
			continue // what is left might match as well
		}
		if try(i, present(parts[i])...) || len(parts) > 1 && try(i) {
			return found, name, true
		}
	}
	if len(parts) > 1 {
		// No part can be taken away alone: the whole is turned round.
		parts = []*lang.Node{r.When.Root}
		if try(0, present(parts[0])...) || try(0) {
			return found, another, true
		}
	}
	return found, "", false
}

// present demands values for the fields that a part looks at, so that the event
// differs in them rather than lacks them.
func present(n *lang.Node) (out []*lang.Node) {
	seen := map[lang.Field]bool{}
	n.Walk(func(k *lang.Node) {
		if k.Op == lang.And || k.Op == lang.Or || k.Op == lang.Const || k.Op == lang.Opaque || seen[k.Field] || len(out) > 2 {
			return
		}
		if k.Op == lang.Exists && !k.Neg || k.Kind() == event.KindBool {
			return
		}
		seen[k.Field] = true
		out = append(out, &lang.Node{Op: lang.Exists, Field: k.Field})
	})
	return out
}

// describe says in a word what a number of events is.
func describe(n int, what string) string {
	if n == 1 {
		return "one " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
