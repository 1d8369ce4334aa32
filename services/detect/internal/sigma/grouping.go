package sigma

import (
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// families are those that a document's events are stored in.
func (s *set) families(d *document, depth int) event.Families {
	if d.correlation == nil {
		if o := originOf(d); o != nil {
			return o.families
		}
		return 0
	}
	var out event.Families
	for i := range d.correlation.rules {
		if ref := s.find(d.correlation.rules[i].text); ref != nil && depth < maxChain {
			out |= s.families(ref, depth+1)
		}
	}
	return out
}

func originOf(d *document) *origin {
	t, err := builtin()
	if err != nil {
		return nil
	}
	return t.find(d.source)
}

// column is where a document's events have a field that correlations use: the
// first column that it may be in, or what it is under unmapped.
func (s *set) column(p *problems, at *node, d *document, field string) (lang.Field, bool) {
	leaf := s.leaf(d)
	if leaf == nil {
		p.error(at, "unsupported: correlations of correlations more than %d deep", maxChain)
		return lang.Field{}, false
	}
	o := originOf(leaf)
	if o == nil {
		p.error(at, "unsupported: no events are known for the logsource %s (category/product/service)", leaf.source)
		return lang.Field{}, false
	}
	var key lang.Field
	for _, pl := range o.places(field) {
		path := pl.Path
		if len(pl.Account) == 2 {
			path = pl.Account[1]
		}
		if col, ok := event.ByPath(path); ok && col.Kind != event.KindScores && col.Families&o.families != 0 {
			return lang.Field{Col: col.ID}, true
		}
		if f, ok, err := lang.ParseKey(path); ok && key.View == lang.Plain {
			key = f
		} else if err != nil {
			p.error(at, "unsupported: correlation by %s: %v", field, err)
			return lang.Field{}, false
		}
	}
	if key.View == lang.Key {
		return key, true
	}
	p.error(at, "unsupported: correlation by %s, which is nowhere in the events of %s", field, leaf.source)
	return lang.Field{}, false
}

// alias finds what an alias means in each of the rules.
func (c *correlation) alias(name string) *node {
	for i := range c.aliases {
		if c.aliases[i].key.text == name {
			return &c.aliases[i].value
		}
	}
	return nil
}

// columns finds a field, or an alias, in every step.
func (s *set) columns(p *problems, d *document, steps []*document, n *node) []lang.Field {
	c := d.correlation
	alias := c.alias(n.text)
	var out []lang.Field
	for i, st := range steps {
		field, at := n.text, n
		if alias != nil {
			v := aliasOf(alias, st, c.rules[i].text)
			if v == nil {
				p.error(alias, "alias %s lacks the field of rule %s", n.text, c.rules[i].text)
				return nil
			}
			field, at = v.text, v
		}
		id, ok := s.column(p, at, st, field)
		if !ok {
			return nil
		}
		out = append(out, id)
	}
	return out
}

// aliasOf finds the field of a rule, which is named as in rules, by its id or by
// its name.
func aliasOf(alias *node, d *document, ref string) *node {
	for _, name := range []string{ref, d.id, d.name} {
		if name == "" {
			continue
		}
		if v := alias.get(name); v != nil {
			return v
		}
	}
	return nil
}

func (s *set) grouping(p *problems, d *document, steps []*document, k *rule.Correlate) {
	for i := range d.correlation.groupBy {
		n := &d.correlation.groupBy[i]
		cols := s.columns(p, d, steps, n)
		if cols == nil {
			continue
		}
		k.GroupBy = append(k.GroupBy, groupKey(n.text, cols))
	}
}

// groupKey is a column, or an alias where the steps have it in several.
func groupKey(name string, cols []lang.Field) rule.GroupKey {
	for _, c := range cols[1:] {
		if c == cols[0] {
			continue
		}
		alias := strings.Trim(slugless.ReplaceAllString(strings.ToLower(name), "_"), "_")
		if _, taken := event.ByPath(alias); taken || alias == "" || alias == "count" || alias == "value" || alias == "threshold" {
			alias = "sigma_" + alias
		}
		return rule.GroupKey{Name: alias, Fields: cols}
	}
	return rule.GroupKey{Name: cols[0].Path(), Fields: cols[:1]}
}

// measured finds the fields whose values are counted or calculated with. They
// must be in the same column in every rule.
func (s *set) measured(p *problems, d *document, steps []*document, k *rule.Correlate) {
	for i := range d.correlation.fields {
		n := &d.correlation.fields[i]
		cols := s.columns(p, d, steps, n)
		if cols == nil {
			continue
		}
		for _, c := range cols[1:] {
			if c != cols[0] {
				p.error(n, "unsupported: %s is in different columns of the rules", n.text)
				return
			}
		}
		if kind := cols[0].Kind(); k.Numeric() && cols[0].View == lang.Plain && !kind.Number() && kind != event.KindF32 && kind != event.KindF64 {
			p.error(n, "unsupported: %s calculates with numbers, and %s is a text", k.Type, n.text)
			return
		}
		k.Field = append(k.Field, cols[0])
	}
}

// entities are the columns that name who or what an alert is about.
var entities = map[event.ColumnID]string{
	event.DeviceHostname: "host", event.SrcEndpointIP: "ip", event.DstEndpointIP: "ip", event.DeviceIP: "ip", event.ActorUserName: "user", event.UserName: "user",
	event.SrcEndpointHostname: "host", event.DstEndpointHostname: "host", event.K8sPod: "pod", event.ActorSessionUID: "session",
}

// alertOf gives a correlation its alert. The entity is the first of what it
// groups by that is one, else that of its first rule.
func (s *set) alertOf(p *problems, d *document, steps []*document, r *rule.Rule) {
	leaf := s.leaf(steps[0])
	if leaf == nil {
		p.error(d.correlation.at, "unsupported: correlations of correlations more than %d deep", maxChain)
		return
	}
	o := originOf(leaf)
	if o == nil {
		p.error(d.correlation.at, "unsupported: no events are known for the logsource %s (category/product/service)", leaf.source)
		return
	}
	r.Alert = alert(d, o, nil)
	r.Alert.Fields = nil
	r.Alert.Suppress = max(rule.DefaultSuppress, r.Correlate.Timespan)
	for _, g := range r.Correlate.GroupBy {
		f := g.Fields[0]
		if kind := entities[f.Col]; kind != "" && f.View == lang.Plain {
			r.Alert.EntityType, r.Alert.EntityPath = kind, f.Col
			if len(g.Fields) > 1 {
				r.Alert.EntityPath, r.Alert.EntityAlias = 0, g.Name
			}
			return
		}
	}
}
