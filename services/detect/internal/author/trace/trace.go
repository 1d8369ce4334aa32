package trace

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/match"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// Trace is what became of a rule, or of a step of one, for one event.
type Trace struct {
	Rule  string `json:"rule"` // a step has its name behind a #
	Title string `json:"title"`
	// Matches is what the service's matcher says.
	Matches bool `json:"matches"`
	// Unrouted says why the rule never sees such events, "" if it does.
	Unrouted   string      `json:"unrouted,omitempty"`
	When       *Verdict    `json:"when"`
	Exceptions []Exception `json:"exceptions,omitempty"`
	Disabled   bool        `json:"disabled,omitempty"`
}

// Exception is what became of an exception.
type Exception struct {
	Reason  string   `json:"reason"`
	Owner   string   `json:"owner"`
	Expired bool     `json:"expired,omitempty"`
	When    *Verdict `json:"when"`
}

// Misses is how far the rule is from matching: comparisons that would have to
// come out otherwise; what is never routed is farthest.
func (t *Trace) Misses() int {
	n := t.When.Misses
	if t.Unrouted != "" {
		n += 1000
	}
	for _, x := range t.Exceptions {
		if x.When.Holds && !x.Expired {
			n++
		}
	}
	return n
}

// Rule traces a rule for a row. The rule has a condition (see rule.Matched).
func Rule(r *rule.Rule, b *block.Block, row int) (*Trace, error) {
	t := &Trace{Rule: r.ID, Title: r.Title, Unrouted: unrouted(r.Source, b, row), Disabled: r.Disabled}
	var m Machine
	eval := func(e *lang.Expr) (*Verdict, error) {
		p, err := Split(e, r.Source.Families)
		if err != nil {
			return nil, fmt.Errorf("rule %s: %w", r.ID, err)
		}
		return m.Eval(p, b, row), nil
	}
	var err error
	if t.When, err = eval(r.When); err != nil {
		return nil, err
	}
	for _, x := range r.Exceptions {
		v, err := eval(x.When)
		if err != nil {
			return nil, err
		}
		t.Exceptions = append(t.Exceptions, Exception{x.Reason, x.Owner, !x.Expires.IsZero() && match.Time(b, row) >= x.Expires.UnixMilli(), v})
	}
	enabled := *r
	enabled.Disabled = false
	match.New([]*rule.Rule{&enabled}).Match(b, func(_ *rule.Rule, got int) { t.Matches = t.Matches || got == row })
	return t, nil
}

// Routed reports whether a rule with the source reads the row at all.
func Routed(s rule.Source, b *block.Block, row int) bool { return unrouted(s, b, row) == "" }

func unrouted(s rule.Source, b *block.Block, row int) string {
	family := event.Family(b.Header.Family)
	if !s.Families.Has(family) {
		return fmt.Sprintf("the event is of the family %s, the rule reads %s", family, lang.FamilyNames(s.Families))
	}
	if len(s.Classes) > 0 {
		uid := uint32(0)
		if c := b.Column(event.ClassUID); c != nil {
			uid = uint32(c.Int(row))
		}
		if !slices.Contains(s.Classes, uid) {
			return fmt.Sprintf("the event is of the class %s, the rule reads %s", className(uid), classNames(s.Classes))
		}
	}
	source := b.Header.Source
	if c := b.Column(event.Source); c != nil {
		source = c.Text(row)
	}
	if len(s.Products) > 0 && !slices.Contains(s.Products, source) {
		return fmt.Sprintf("the event is from the source %s, the rule reads %s", Cut(source), strings.Join(s.Products, ", "))
	}
	return ""
}

func className(uid uint32) string {
	if c, ok := event.ClassByUID(uid); ok {
		return c.Name
	}
	return fmt.Sprint(uid)
}

func classNames(uids []uint32) string {
	var out []string
	for _, uid := range uids {
		out = append(out, className(uid))
	}
	return strings.Join(out, ", ")
}

// Sort puts matches first, then the nearest misses.
func Sort(traces []*Trace) {
	slices.SortStableFunc(traces, func(a, b *Trace) int {
		if a.Matches != b.Matches {
			if a.Matches {
				return -1
			}
			return 1
		}
		return cmp.Or(a.Misses()-b.Misses(), strings.Compare(a.Rule, b.Rule))
	})
}

// Write writes a trace for people.
func (t *Trace) Write(w io.Writer) {
	state := "does not match"
	switch {
	case t.Matches:
		state = "MATCHES"
	case t.Unrouted == "" && t.Misses() == 1:
		state = "does not match, by one comparison"
	case t.Unrouted == "":
		state = fmt.Sprintf("does not match, by %d comparisons", t.Misses())
	}
	if t.Disabled {
		state += " (the rule is not enabled)"
	}
	fmt.Fprintf(w, "%s  %s\n  %s\n", t.Rule, t.Title, state)
	if t.Unrouted != "" {
		fmt.Fprintf(w, "  ✗ source: %s\n", t.Unrouted)
	} else {
		fmt.Fprintln(w, "  ✓ source")
	}
	t.When.write(w, "  ")
	for _, x := range t.Exceptions {
		note := "does not apply"
		if x.When.Holds {
			note = "APPLIES: the event is left out"
		}
		if x.Expired {
			note = "is over"
		}
		fmt.Fprintf(w, "  exception (%s, %s) %s\n", Cut(x.Reason), Cut(x.Owner), note)
		x.When.write(w, "    ")
	}
	fmt.Fprintln(w)
}

func (v *Verdict) write(w io.Writer, indent string) {
	mark := "✗"
	if v.Holds {
		mark = "✓"
	}
	negated := v.Op == Not && v.Parts[0].Op == Leaf
	if v.Op != Leaf && !negated {
		word := map[string]string{And: "all of", Or: "one of", Not: "not"}[v.Op]
		fmt.Fprintf(w, "%s%s %s\n", indent, mark, word)
		for _, k := range v.Parts {
			k.write(w, indent+"  ")
		}
		return
	}
	text := v.Text
	if negated {
		v = v.Parts[0]
		text = "not " + v.Text
	}
	if rs := []rune(text); len(rs) > 160 {
		text = string(rs[:159]) + "…"
	}
	fmt.Fprintf(w, "%s%s %s\n", indent, mark, text)
	for _, x := range v.Values {
		fmt.Fprintf(w, "%s    %s = %s\n", indent, x.Path, x.Value)
	}
	if v.Error != "" {
		fmt.Fprintf(w, "%s    fails: %s\n", indent, Cut(v.Error))
	}
}
