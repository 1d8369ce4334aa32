package sigma

import (
	"maps"
	"slices"
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/internal/near"
)

// generator writes detections as expressions over the columns of an origin.
type generator struct {
	p      *problems
	o      *origin
	vars   Placeholders
	facts  facts
	used   map[string]bool // placeholders
	shown  []string        // columns compared, in order of appearance
	failed bool
	size   int // of the expression so far
}

// unsupported reports what cannot be expressed; the rule is then left out.
func (g *generator) unsupported(n *node, format string, args ...any) string {
	g.failed = true
	g.p.error(n, "unsupported: "+format, args...)
	return "false"
}

// misspelt warns of a field that the tables lack and that is nearly one that
// they have.
func (g *generator) misspelt(a *atom) {
	if _, known := g.o.Fields[a.field]; known || len(a.field) < 5 || g.o.folded[strings.ToLower(a.field)] != nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(g.o.Fields)) {
		if slip(a.field, name) {
			g.p.warn(a.at, "field %s has no column and is read as %s: did you mean %s?", a.field, unmapped(a.field), name)
			return
		}
	}
}

// slip says that one name is the other with two letters exchanged, or one more,
// less or wrong.
func slip(a, b string) bool {
	if d := near.Distance(a, b); d != 2 || len(a) != len(b) {
		return d == 1
	}
	i := 0
	for a[i] == b[i] {
		i++
	}
	return i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i]
}

// tree writes a detection. within is the operator around it, so that
// parentheses stand only where they are needed.
func (g *generator) tree(t *tree, within treeOp) string {
	switch t.op {
	case opAtom:
		if g.failed {
			return "false"
		}
		s := g.atom(t.atom, within)
		if g.size += len(s); g.size > lang.MaxSource {
			return g.unsupported(t.atom.at, "the expression is longer than %d bytes", lang.MaxSource)
		}
		return s
	case opNot:
		return "not (" + g.tree(t.kids[0], opAtom) + ")"
	}
	if t.op == opAnd {
		around := g.facts
		g.facts = g.with(t)
		defer func() { g.facts = around }()
	}
	parts := make([]string, len(t.kids))
	for i, k := range t.kids {
		parts[i] = g.tree(k, t.op)
	}
	return join(t.op, parts, within)
}

// join writes a conjunction or disjunction.
func join(op treeOp, parts []string, within treeOp) string {
	if len(parts) == 1 {
		return parts[0]
	}
	word := " or "
	if op == opAnd {
		word = " and "
	}
	s := strings.Join(parts, word)
	if within == opAtom || within == op {
		return s
	}
	return "(" + s + ")"
}

// guard is a condition of a table, as it stands before an "and".
func guard(when string) string {
	if strings.Contains(when, " or ") {
		return "(" + when + ")"
	}
	return when
}

// simple names need no quotes in a path.
func simple(s string) bool {
	for _, part := range strings.Split(s, ".") {
		if part == "" || part[0] >= '0' && part[0] <= '9' {
			return false
		}
		for i := range len(part) {
			c := part[i]
			if (c|0x20 < 'a' || c|0x20 > 'z') && c != '_' && (c < '0' || c > '9') {
				return false
			}
		}
	}
	return true
}

// unmapped is the path of a key under unmapped.
func unmapped(key string) string {
	if simple(key) {
		return "unmapped." + key
	}
	return "unmapped[" + quote(key) + "]"
}

// quote writes a text as a literal: with backslashes as they are where it can.
func quote(s string) string {
	raw := strings.ContainsAny(s, `\"`)
	for i := range len(s) {
		if s[i] < 0x20 || s[i] == '`' || s[i] == 0x7f {
			raw = false
			break
		}
	}
	if raw {
		return "`" + s + "`"
	}
	var b strings.Builder
	b.Grow(len(s) + 2)
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\t':
			b.WriteString(`\t`)
		case c == '\r':
			b.WriteString(`\r`)
		case c < 0x20 || c == 0x7f:
			const hex = "0123456789abcdef"
			b.WriteString(`\u00`)
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// quotes writes texts as arguments.
func quotes(list []string) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = quote(s)
	}
	return strings.Join(out, ", ")
}

// kindOf is the kind of values at a path; what is under unmapped is text.
func kindOf(path string) event.Kind {
	if col, ok := event.ByPath(path); ok {
		return col.Kind
	}
	if path == anyText {
		return event.KindKeywords
	}
	return event.KindKeyword
}

// anyText is the field that holds all texts of an event.
const anyText = "event.text"
