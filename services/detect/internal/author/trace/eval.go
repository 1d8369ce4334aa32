package trace

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/author/report"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/match"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// Verdict is a part with what became of it for one event.
type Verdict struct {
	Op     string     `json:"op,omitempty"` // and, or, not; absent for a comparison
	Text   string     `json:"text,omitempty"`
	Holds  bool       `json:"holds"`
	Error  string     `json:"error,omitempty"`
	Values []Value    `json:"values,omitempty"`
	Parts  []*Verdict `json:"parts,omitempty"`
	// Misses is the least number of comparisons that would have to come out
	// otherwise for the part to hold.
	Misses int `json:"misses"`
	// refuses is the same for the part not to hold.
	refuses int
}

// Value is what an event has in a field that a comparison reads.
type Value struct {
	Path  string `json:"path"`
	Value string `json:"value"` // cut, and without control characters
}

// Machine evaluates parts. One goroutine at a time may use it.
type Machine struct {
	vm  lang.Machine
	env map[string]any
}

// Eval evaluates a part for a row.
func (m *Machine) Eval(p *Part, b *block.Block, row int) *Verdict {
	v := &Verdict{Op: p.Op, Text: p.Text}
	if p.Op == Leaf {
		m.leaf(v, p, b, row)
		return v
	}
	for _, k := range p.Kids {
		v.Parts = append(v.Parts, m.Eval(k, b, row))
	}
	sum, least := func(f func(*Verdict) int) int {
		n := 0
		for _, k := range v.Parts {
			n += f(k)
		}
		return n
	}, func(f func(*Verdict) int) int {
		n := math.MaxInt
		for _, k := range v.Parts {
			n = min(n, f(k))
		}
		return n
	}
	misses, refuses := func(k *Verdict) int { return k.Misses }, func(k *Verdict) int { return k.refuses }
	switch p.Op {
	case Not:
		v.Misses, v.refuses = v.Parts[0].refuses, v.Parts[0].Misses
	case And:
		v.Misses, v.refuses = sum(misses), least(refuses)
	case Or:
		v.Misses, v.refuses = least(misses), sum(refuses)
	}
	v.Holds = v.Misses == 0
	return v
}

func (m *Machine) leaf(v *Verdict, p *Part, b *block.Block, row int) {
	m.env = map[string]any{}
	match.FillEnv(m.env, b, row, p.expr)
	ok, err := m.vm.Eval(p.expr, m.env)
	if err != nil {
		v.Error = err.Error() // no match, as in the service
	}
	if v.Holds = ok; ok {
		v.refuses = 1
	} else {
		v.Misses = 1
	}
	if p.expr.AnyText {
		return // all that the event has
	}
	for _, id := range p.expr.Columns {
		if id == event.Unmapped && len(p.expr.Keys) > 0 {
			continue
		}
		v.Values = append(v.Values, Value{event.Columns[id].Path, show(&event.Columns[id], m.env[event.Columns[id].Name])})
	}
	keys, _ := m.env[lang.EnvKeys].(map[string]string)
	for _, k := range p.expr.Keys {
		v.Values = append(v.Values, Value{lang.UnmappedKey(k).Path(), show(&event.Columns[event.Unmapped], keys[k])})
	}
}

// maxShown is how much of a value is shown, in characters.
const maxShown = 80

// show writes a value for people. What happened is hostile: it is cut, its
// control characters are gone, and secrets are only counted.
func show(c *event.Column, v any) string {
	if c.Privacy == "secret" {
		if n := len(fmt.Sprint(v)); n > 0 {
			return fmt.Sprintf("(secret of %d bytes)", n)
		}
		return "(absent)"
	}
	switch v := v.(type) {
	case string:
		if v == "" {
			return "(absent)"
		}
		return strconv.Quote(Cut(v))
	case []string:
		if len(v) == 0 {
			return "(absent)"
		}
		var out []string
		for _, s := range v[:min(len(v), 8)] {
			out = append(out, strconv.Quote(Cut(s)))
		}
		if len(v) > 8 {
			out = append(out, fmt.Sprintf("… %d more", len(v)-8))
		}
		return "[" + strings.Join(out, ", ") + "]"
	case map[string]float64:
		if len(v) == 0 {
			return "(absent)"
		}
		var out []string
		for k, x := range v {
			out = append(out, fmt.Sprintf("%s: %g", Cut(k), x))
		}
		slices.Sort(out)
		return "{" + strings.Join(out[:min(len(out), 8)], ", ") + "}"
	}
	return fmt.Sprint(v)
}

// Cut shortens a text of an event for people and takes its control characters.
func Cut(s string) string {
	if rs := []rune(s[:min(len(s), 4*maxShown)]); len(rs) > maxShown {
		s = string(rs[:maxShown-1]) + "…"
	}
	return report.Clean(s)
}
