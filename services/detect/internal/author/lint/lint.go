package lint

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/taxonomy"
)

// Feed is a class of events that a source's mapping makes.
type Feed struct {
	Source  string
	Class   uint32
	Family  event.Family
	Columns []event.ColumnID // beyond those that every event has
}

// Options configures Check.
type Options struct {
	// Feeds lists what the mappings make; none: nothing is said about sources.
	Feeds []Feed
	// Now decides whether exceptions are over.
	Now time.Time
	// Source returns a rule's file, to find places in it; nil: the first line.
	Source func(file string) []byte
	// Formats find the places in files that are not native.
	Formats []rule.Format
}

// Check looks at a set of rules. Problems come in order of file and line; those
// that are errors make a rule useless, the others are warnings.
func Check(rules []*rule.Rule, opts Options) []rule.Problem {
	var out []rule.Problem
	found := map[string]*places{}
	at := func(r *rule.Rule) *places {
		if found[r.ID] == nil {
			found[r.ID] = newPlaces(r, opts)
		}
		return found[r.ID]
	}
	for _, r := range rules {
		c := &checker{rule: r, places: at(r), opts: opts}
		c.check()
		out = append(out, c.problems...)
	}
	for _, p := range pairs(rules) {
		c := &checker{rule: p.rule, places: at(p.rule)}
		c.warn("when", p.code, "%s", p.message)
		out = append(out, c.problems...)
	}
	slices.SortStableFunc(out, func(a, b rule.Problem) int {
		return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line, a.Column-b.Column)
	})
	// A comparison of another format may become several here.
	said := make(map[rule.Problem]bool, len(out))
	return slices.DeleteFunc(out, func(p rule.Problem) bool {
		again := said[p]
		said[p] = true
		return again
	})
}

// checker looks at one rule.
type checker struct {
	rule     *rule.Rule
	places   *places
	opts     Options
	problems []rule.Problem
}

func (c *checker) add(line, column int, warning bool, code, format string, args ...any) {
	c.problems = append(c.problems, rule.Problem{File: c.rule.File, Line: line, Column: column, Warning: warning, Code: code, Message: fmt.Sprintf(format, args...)})
}

func (c *checker) warn(path, code, format string, args ...any) {
	line, column := c.places.key(path)
	c.add(line, column, true, code, format, args...)
}

func (c *checker) check() {
	c.look(c.rule, "")
	if k := c.rule.Correlate; k != nil {
		for i, step := range k.Steps {
			if step.Rule != nil {
				c.look(step.Rule, fmt.Sprintf("correlate.steps[%d].", i))
			}
		}
	}
	c.tests()
	c.exceptions()
	doubts := taxonomy.Doubts(c.rule.Tags)
	for i := range c.rule.Tags {
		if doubts[i] != "" {
			line, column := c.places.tag(i)
			c.add(line, column, true, "tag", "%s", doubts[i])
		}
	}
}

// look looks at a condition with its source: the rule's own or a step's, whose
// keys in the file begin with prefix.
func (c *checker) look(r *rule.Rule, prefix string) {
	if r.When == nil {
		return
	}
	given := routing(r.Source)
	if c.condition(r.When, given, prefix+"when") {
		return
	}
	c.feeds(r, prefix)
	c.cost(r, prefix)
	for i, x := range r.Exceptions {
		if x.When == nil || prefix != "" { // steps share those of the rule
			continue
		}
		path := fmt.Sprintf("exceptions[%d].when", i)
		c.condition(x.When, given, path)
		both := &lang.Node{Op: lang.And, Kids: []*lang.Node{r.When.Root, x.When.Root}}
		if why, _ := (&logic{}).never(both, given, false); why != "" {
			c.warn(path, "exception", "exception never applies to an event that the rule matches: %s", why)
		} else if (&logic{}).covers(r.When.Root, x.When.Root) {
			c.warn(path, "exception", "exception applies to every event that the rule matches: the rule never fires")
		}
	}
}

// condition reports whether it makes no sense at all.
func (c *checker) condition(e *lang.Expr, given []*lang.Node, path string) bool {
	failed := false
	for _, r := range condition(e.Root, given) {
		line, column := c.places.atom(path, r.at, r.text)
		void := r.code == codeNever || r.code == codeAlways
		c.add(line, column, !void, r.code, "%s", r.message)
		failed = failed || void
	}
	return failed
}

// routing is what a rule's source says of its events, as atoms.
func routing(s rule.Source) []*lang.Node {
	var out []*lang.Node
	if len(s.Classes) > 0 {
		n := &lang.Node{Op: lang.Num, Cmp: lang.EQ}
		n.Col = event.ClassUID
		for _, uid := range s.Classes {
			n.Nums = append(n.Nums, float64(uid))
		}
		out = append(out, n)
	}
	if len(s.Products) > 0 {
		n := &lang.Node{Op: lang.Eq, Lits: s.Products}
		n.Col = event.Source
		out = append(out, n)
	}
	return out
}

// tests asks for a case that fires and one that nearly does. A rule without any
// is reported when it is loaded.
func (c *checker) tests() {
	fires, silent := false, false
	for _, t := range c.rule.Tests {
		fires, silent = fires || t.Alerts > 0, silent || t.Alerts == 0
	}
	switch {
	case len(c.rule.Tests) == 0:
	case !fires:
		c.warn("tests", "missing-test", "no test expects an alert: add a case that fires")
	case !silent:
		c.warn("tests", "missing-test", "every test expects an alert: add a case that nearly fires, with alerts: 0")
	}
}

func (c *checker) exceptions() {
	for i, x := range c.rule.Exceptions {
		if !x.Expires.IsZero() && !c.opts.Now.Before(x.Expires) {
			c.warn(fmt.Sprintf("exceptions[%d].expires", i), "expired-exception", "exception is over since %s: remove it, or ask %s to renew it",
				x.Expires.Format(time.DateOnly), x.Owner)
		}
	}
}

// dear is the share of events for which a pattern may run without a word.
const dear = 0.3

// caseCall finds the functions that people know for ignoring case.
var caseCall = regexp.MustCompile(`\b(lower|upper)\(`)

// cost says what makes a rule slow; that it is evaluated for every event is
// said when it is loaded.
func (c *checker) cost(r *rule.Rule, prefix string) {
	if !r.When.Lowered {
		hint := ""
		r.When.Root.Walk(func(n *lang.Node) {
			if n.Op == lang.Opaque && caseCall.MatchString(n.Text) {
				hint = "; write ieq, iin, icontains, istartsWith or iendsWith, which ignore case and are indexed, in place of lower and upper"
			}
		})
		c.warn(prefix+"when", "cost", "condition is evaluated by the virtual machine, far slower than over columns: `vagus rules explain` shows the part vm{…}%s", hint)
	}
	w, ok := r.When.Witness()
	if !ok || w.Cost <= dear {
		return
	}
	r.When.Root.Walk(func(n *lang.Node) {
		if n.Op == lang.Match && len(n.Guard()) == 0 {
			line, column := c.places.atom(prefix+"when", n, "")
			c.add(line, column, true, "cost", "pattern runs for %s of the source: it holds no literal that is long enough to look for, so add one beside it", oftenRun(w.Cost))
		}
	})
}

// oftenRun says in words of how many events a share is.
func oftenRun(share float64) string {
	if n := math.Round(1 / share); n > 1 {
		return fmt.Sprintf("about 1 in %.0f events", n)
	}
	return "nearly every event"
}
