package sigma

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// correlation is the body of a correlation document.
type correlation struct {
	at         *node
	kind       string
	rules      []node // ids or names
	groupBy    []node
	aliases    []pair // alias → rule → field
	timespan   time.Duration
	condition  []rule.Comparison
	fields     []node
	percentile float64
	generate   bool
}

// kinds lists the types of correlation that Sigma has.
var kinds = []string{rule.EventCount, rule.ValueCount, rule.ValueSum, rule.ValueAvg, rule.ValuePercentile, rule.Temporal, rule.TemporalOrdered}

func (p *problems) correlation(doc, n *node) *correlation {
	if n.kind != mapping {
		p.error(n, "correlation must be a mapping")
		return nil
	}
	c := &correlation{at: n, kind: p.oneOf(n, "type", kinds...), rules: p.references(n, "rules"), groupBy: p.references(n, "group-by")}
	if n.get("type") == nil {
		p.error(n, "correlation lacks type")
	}
	if len(c.rules) == 0 {
		p.error(n, "correlation lacks rules")
	}
	c.timespan = p.span(n)
	if a := n.get("aliases"); a != nil {
		if a.kind != mapping {
			p.error(a, "aliases must be a mapping of aliases")
		}
		c.aliases = a.pairs
	}
	for _, holder := range []*node{n, doc} {
		if g := holder.get("generate"); g != nil {
			if g.kind != boolean {
				p.error(g, "generate must be true or false")
			}
			c.generate = g.text == "true"
		}
	}
	p.comparisons(n, c)
	return c
}

// references reads a list of texts with their places.
func (p *problems) references(n *node, key string) []node {
	v := n.get(key)
	if v == nil || v.kind == null {
		return nil
	}
	if v.kind != list {
		return []node{*v}
	}
	for i := range v.items {
		if v.items[i].kind == list || v.items[i].kind == mapping {
			p.error(&v.items[i], "%s holds something that is no text", key)
		}
	}
	return v.items
}

// span reads a timespan: a number and one of s, m, h, d.
func (p *problems) span(n *node) time.Duration {
	s := p.scalar(n, "timespan")
	if s == "" {
		p.error(n, "correlation lacks timespan")
		return 0
	}
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}
	unit, ok := units[s[len(s)-1]]
	count, err := strconv.Atoi(s[:len(s)-1])
	switch d := time.Duration(count) * unit; {
	case !ok || err != nil || count <= 0 || count > 1<<20:
		p.error(n.get("timespan"), "timespan %s is not a number and one of s, m, h and d", s)
	case d > maxTimespan:
		p.error(n.get("timespan"), "unsupported: timespan %s (at most 7d)", s)
	default:
		return d
	}
	return 0
}

// comparisons reads the condition: comparisons, and the field that is counted.
func (p *problems) comparisons(n *node, c *correlation) {
	cond := n.get("condition")
	temporal := c.kind == rule.Temporal || c.kind == rule.TemporalOrdered
	switch {
	case cond == nil && temporal:
		return
	case cond == nil:
		p.error(n, "%s lacks condition", c.kind)
		return
	case cond.kind == text && temporal:
		p.extended(cond, c)
		return
	case cond.kind != mapping:
		p.error(cond, "condition must be a mapping such as {gte: 10}")
		return
	}
	c.fields = p.references(cond, "field")
	for i := range cond.pairs {
		key, v := &cond.pairs[i].key, &cond.pairs[i].value
		switch key.text {
		case "field":
		case "percentile":
			c.percentile = p.amount(v)
		case "gt", "gte", "lt", "lte", "eq", "neq":
			c.condition = append(c.condition, rule.Comparison{Op: key.text, Value: p.amount(v)})
		default:
			p.error(key, "unknown key %s in condition (known: gt, gte, lt, lte, eq, neq, field, percentile)", key.text)
		}
	}
	if len(c.condition) == 0 || len(c.condition) > 2 {
		p.error(cond, "condition takes one comparison, or two for a range")
	}
	counts := c.kind == rule.EventCount || temporal
	if counts != (len(c.fields) == 0) {
		p.error(cond, "%s: field is for value_count, value_sum, value_avg and value_percentile, which need it", c.kind)
	}
}

func (p *problems) amount(n *node) float64 {
	v, err := strconv.ParseFloat(n.text, 64)
	if err != nil || n.kind != number {
		p.error(n, "%q is not a number", n.text)
	}
	return v
}

// extended reads a condition over the rules themselves: all of them, or one of
// them. Others have no counterpart.
func (p *problems) extended(n *node, c *correlation) {
	searches, used := map[string]*tree{}, map[string]bool{}
	var names []string
	for _, r := range c.rules {
		searches[r.text] = &tree{}
		names = append(names, r.text)
	}
	t := p.condition(n, searches, names, used)
	if t == nil {
		return
	}
	for _, r := range c.rules {
		if !used[r.text] {
			p.error(n, "unsupported: rule %s is not part of the condition; leave it out of rules", r.text)
			return
		}
	}
	switch {
	case t.has(opNot):
		p.error(n, "unsupported: not in a condition over rules; a native rule of type absence tells that one thing does not follow another")
	case t.has(opAnd) && t.has(opOr):
		p.error(n, "unsupported: a condition over rules that mixes and with or; write a correlation for each part, and one of these")
	case t.has(opOr) && c.kind == rule.TemporalOrdered:
		p.error(n, "unsupported: or in a condition of temporal_ordered, whose rules all have to occur in their order")
	case t.has(opOr):
		c.condition = []rule.Comparison{{Op: "gte", Value: 1}}
	}
}

// has reports whether an operator occurs in a tree.
func (t *tree) has(op treeOp) bool {
	return t.op == op || slices.ContainsFunc(t.kids, func(k *tree) bool { return k.has(op) })
}

// correlate makes a rule of a correlation document.
func (s *set) correlate(p *problems, d *document) *rule.Rule {
	before := p.errors()
	c := d.correlation
	r := p.head(d)
	r.Correlate = &rule.Correlate{
		Type: c.kind, Window: rule.Sliding, Timespan: c.timespan, Condition: c.condition, Ordered: c.kind == rule.TemporalOrdered,
		Generate: c.generate, Lateness: min(max(c.timespan, time.Minute), 10*time.Minute), MinEvents: 1,
	}
	k := r.Correlate
	if k.AtEnd() {
		k.Window = rule.Tumbling
	}
	if c.kind == rule.ValuePercentile {
		if k.Percentile = c.percentile; k.Percentile == 0 {
			k.Percentile = 50
			p.warn(c.at, "condition names no percentile; the median, 50, is taken")
		}
		if k.Percentile < 0 || k.Percentile > 100 {
			p.error(c.at, "percentile is above 0 and at most 100")
		}
	}
	steps := s.steps(p, d)
	for i, st := range steps {
		name := strings.Join(strings.FieldsFunc(st.name, func(c rune) bool { return c <= ' ' || c == '#' }), "-")
		if name == "" {
			name = st.ruleID()
		}
		at := &c.rules[min(i, len(c.rules)-1)]
		k.Steps = append(k.Steps, rule.Step{Name: name, ID: st.ruleID(), Line: at.line, Column: at.column})
		r.Source.Families |= s.families(st, 0)
	}
	if p.errors() > before {
		return nil
	}
	s.grouping(p, d, steps, k)
	s.measured(p, d, steps, k)
	s.alertOf(p, d, steps, r)
	if p.errors() > before {
		return nil
	}
	return r
}

// steps finds the documents that a correlation names.
func (s *set) steps(p *problems, d *document) []*document {
	var out []*document
	c := d.correlation
	for i := range c.rules {
		n := &c.rules[i]
		ref := s.find(n.text)
		switch {
		case ref == nil:
			p.error(n, "correlation: there is no rule %s in this set", n.text)
		case slices.Contains(out, ref):
			p.error(n, "correlation: rule %s is there twice", n.text)
		default:
			out = append(out, ref)
		}
	}
	least := 1
	if c.kind == rule.Temporal || c.kind == rule.TemporalOrdered {
		least = 2
	}
	if n := len(c.rules); n < least || n > rule.MaxSteps {
		p.error(c.at, "unsupported: %s of %d rules (%d to %d)", c.kind, n, least, rule.MaxSteps)
	}
	return out
}

func (s *set) find(ref string) *document {
	if d := s.byRef[ref]; d != nil {
		return d
	}
	return s.byRef[strings.ToLower(ref)]
}

// maxChain bounds correlations of correlations.
const maxChain = 8

// leaf is the rule that a document is, or the first that it correlates.
func (s *set) leaf(d *document) *document {
	for range maxChain {
		if d == nil || d.correlation == nil {
			return d
		}
		if len(d.correlation.rules) == 0 {
			return nil
		}
		d = s.find(d.correlation.rules[0].text)
	}
	return nil
}
