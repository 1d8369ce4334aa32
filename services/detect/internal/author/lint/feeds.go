package lint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// feeds says that nothing feeds a rule, or not what it reads.
func (c *checker) feeds(r *rule.Rule, prefix string) {
	if len(c.opts.Feeds) == 0 {
		return
	}
	var names []string
	for _, f := range c.opts.Feeds {
		if !slices.Contains(names, f.Source) {
			names = append(names, f.Source)
		}
	}
	s := r.Source
	for _, p := range s.Products {
		if !slices.Contains(names, p) {
			c.warn(prefix+"source.product", "unfed", "no mapping is for the source %s%s", p, lang.DidYouMean(p, names))
			return
		}
	}
	var fits []Feed
	for _, f := range c.opts.Feeds {
		if s.Families.Has(f.Family) && (len(s.Classes) == 0 || slices.Contains(s.Classes, f.Class)) && (len(s.Products) == 0 || slices.Contains(s.Products, f.Source)) {
			fits = append(fits, f)
		}
	}
	if len(fits) == 0 {
		c.warn(prefix+"source", "unfed", "no mapping makes events of this class, family and product together: %s", c.made(s.Products))
		return
	}
	for _, id := range r.When.Columns {
		if everywhere(id) || !needed(r.When.Root, id) || slices.ContainsFunc(fits, func(f Feed) bool { return slices.Contains(f.Columns, id) }) {
			continue
		}
		line, column := c.places.field(prefix+"when", event.Columns[id].Path)
		c.add(line, column, true, "unfed-field", "no mapping of the rule's source fills %s%s", event.Columns[id].Path, c.fillers(id))
	}
}

// made says what classes the products have.
func (c *checker) made(products []string) string {
	var out []string
	for _, f := range c.opts.Feeds {
		if len(products) > 0 && !slices.Contains(products, f.Source) {
			continue
		}
		class, _ := event.ClassByUID(f.Class)
		if class == nil {
			continue
		}
		if s := fmt.Sprintf("%s of family %s", class.Name, f.Family); !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	if len(products) == 0 || len(out) == 0 {
		return "see `vagus sources list`"
	}
	return strings.Join(products, ", ") + " has " + strings.Join(out, ", ")
}

// fillers names sources that do fill a column.
func (c *checker) fillers(id event.ColumnID) string {
	var out []string
	for _, f := range c.opts.Feeds {
		if slices.Contains(f.Columns, id) && !slices.Contains(out, f.Source) {
			out = append(out, f.Source)
		}
	}
	if len(out) == 0 {
		return ": no mapping does"
	}
	if len(out) > 4 {
		return fmt.Sprintf(" (%s and %d more do)", strings.Join(out[:4], ", "), len(out)-4)
	}
	return " (" + strings.Join(out, ", ") + " do)"
}

// everywhere reports whether a column is filled for every source: by the
// runner of mappings, by an envelope, or by enrichment.
func everywhere(id event.ColumnID) bool {
	switch id {
	case event.EventUID, event.Time, event.TimeQuality, event.ReceivedAt, event.Source, event.ClassUID, event.ActivityID, event.ActivityName,
		event.SeverityID, event.Unmapped, event.Enrichments, event.DeviceHostname, event.ServiceName:
		return true
	}
	p := event.Columns[id].Path
	for _, part := range []string{"threat.", "asset.", "src_endpoint.asn", "src_endpoint.country", "src_endpoint.zone", "dst_endpoint.zone"} {
		if strings.HasPrefix(p, part) {
			return true
		}
	}
	return false
}

// needed reports whether the condition cannot hold without a column: every
// way to its truth asks for a value.
func needed(n *lang.Node, id event.ColumnID) bool {
	switch n.Op {
	case lang.And:
		return slices.ContainsFunc(n.Kids, func(k *lang.Node) bool { return needed(k, id) })
	case lang.Or:
		return !slices.ContainsFunc(n.Kids, func(k *lang.Node) bool { return !needed(k, id) })
	}
	return isAtom(n) && n.View == lang.Plain && n.Col == id && !n.Neg && !whenAbsent(n)
}

// field is where a field first stands in a condition.
func (p *places) field(path, field string) (line, column int) {
	n := &lang.Node{Op: lang.Exists}
	if c, ok := event.ByPath(field); ok {
		n.Col = c.ID
	}
	return p.atom(path, n, "")
}
