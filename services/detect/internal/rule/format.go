package rule

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
)

// Marshal writes a rule as a file that Load reads back: the same rule but for
// its version and tests (see MarshalTests).
func Marshal(r *Rule) []byte {
	w := &writer{}
	w.text("id", r.ID)
	w.text("title", r.Title)
	w.text("description", r.Description)
	w.line("level: " + string(r.Level))
	w.line("status: " + r.Status)
	w.line("lane: " + string(r.Lane))
	if r.Disabled {
		w.line("enabled: false")
	}
	w.list("tags", r.Tags)
	w.list("references", r.References)
	w.list("false_positives", r.FalsePositives)
	if r.Correlate == nil || len(r.Correlate.Steps) == 0 {
		w.line("source:")
		w.source(r.Source, "  ")
	}
	if r.When != nil {
		w.text("when", r.When.Source)
	}
	w.correlate(r.Correlate)
	w.alert(r)
	if len(r.Exceptions) > 0 {
		w.line("exceptions:")
		for _, e := range r.Exceptions {
			s := "  - {when: " + quoted(e.When.Source) + ", reason: " + quoted(e.Reason) + ", owner: " + quoted(e.Owner)
			if !e.Expires.IsZero() {
				s += ", expires: " + e.Expires.Format(time.DateOnly)
			}
			w.line(s + "}")
		}
	}
	return []byte(w.b.String())
}

type writer struct{ b strings.Builder }

func (w *writer) line(s string) { w.b.WriteString(s + "\n") }

// quoted writes a text on one line, in double quotes.
func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteRune('\\')
			b.WriteRune(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\t':
			b.WriteString(`\t`)
		case c == '\r':
			b.WriteString(`\r`)
		case c < 0x20 || c == 0x7f || c == 0x85 || c == 0xa0 || c == 0x2028 || c == 0x2029 || c == 0xfeff:
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// text writes a key with a text: as a block if it can be read so.
func (w *writer) text(key, s string) {
	if block(s) {
		w.line(key + ": |-")
		for l := range strings.Lines(s) {
			if l = strings.TrimSuffix(l, "\n"); l != "" {
				l = "  " + l
			}
			w.line(l)
		}
		return
	}
	w.line(key + ": " + quoted(s))
}

// block reports whether a text reads back from a literal block unchanged, and
// gains by one.
func block(s string) bool {
	if s == "" || strings.TrimSpace(s) != s || !strings.ContainsAny(s, "\n\\\"`") {
		return false
	}
	for _, c := range s {
		if c < 0x20 && c != '\n' || c == 0x7f || c == 0x85 || c == 0xa0 || c == 0x2028 || c == 0x2029 || c == 0xfeff {
			return false
		}
	}
	for l := range strings.Lines(s) {
		if strings.TrimSpace(l) == "" && l != "\n" || strings.HasSuffix(strings.TrimSuffix(l, "\n"), " ") {
			return false
		}
	}
	return true
}

func (w *writer) list(key string, items []string) {
	if len(items) == 0 {
		return
	}
	w.line(key + ":")
	for _, s := range items {
		w.line("  - " + quoted(s))
	}
}

func (w *writer) source(s Source, indent string) {
	flow := func(key string, names []string) {
		if len(names) > 0 {
			w.line(indent + key + ": [" + strings.Join(names, ", ") + "]")
		}
	}
	var classes, families []string
	for _, uid := range s.Classes {
		if c, ok := event.ClassByUID(uid); ok {
			classes = append(classes, c.Name)
		}
	}
	for f, name := range event.FamilyNames {
		if s.Families.Has(event.Family(f)) {
			families = append(families, name)
		}
	}
	flow("class", classes)
	flow("family", families)
	flow("product", s.Products)
}

func (w *writer) alert(r *Rule) {
	a := r.Alert
	w.line("alert:")
	w.line("  title: " + quoted(a.Title.source()))
	if a.EntityType != "" {
		path := event.Columns[a.EntityPath].Path
		if a.EntityAlias != "" {
			path = plainOrQuoted(a.EntityAlias)
		}
		s := "  entity: {type: " + a.EntityType + ", path: " + path
		if len(a.EntityScope) > 0 {
			s += ", scope: " + event.Columns[a.EntityScope[0]].Path
		}
		w.line(s + "}")
	}
	if len(a.Entities) > 0 {
		w.line("  entities:")
	}
	for _, e := range a.Entities {
		s := "    - {role: " + string(e.Role) + ", type: " + e.Type + ", path: " + event.Columns[e.Path].Path
		if len(e.Scope) > 0 {
			s += ", scope: " + event.Columns[e.Scope[0]].Path
		}
		w.line(s + "}")
	}
	w.columns("fields", a.Fields)
	if a.Risk > 0 {
		w.line("  risk: " + strconv.Itoa(a.Risk))
	}
	w.columns("dedup", a.Dedup)
	w.line("  suppress: " + a.Suppress.String())
}

func (w *writer) columns(key string, ids []event.ColumnID) {
	if len(ids) == 0 {
		return
	}
	paths := make([]string, len(ids))
	for i, id := range ids {
		paths[i] = event.Columns[id].Path
	}
	w.line("  " + key + ": [" + strings.Join(paths, ", ") + "]")
}

// correlate writes a correlation of rules, or over the rule's own condition.
func (w *writer) correlate(c *Correlate) {
	if c == nil {
		return
	}
	w.line("correlate:")
	w.line("  type: " + c.Type)
	if len(c.Steps) > 0 {
		w.line("  steps:")
	}
	for _, s := range c.Steps {
		w.line("    - name: " + quoted(s.Name))
		if s.Rule == nil {
			w.line("      rule: " + quoted(s.ID))
			continue
		}
		w.line("      source:")
		w.source(s.Rule.Source, "        ")
		w.line("      when: " + quoted(s.Rule.When.Source))
	}
	w.groupBy(c)
	paths := make([]string, len(c.Field))
	for i, f := range c.Field {
		paths[i] = plainOrQuoted(f.Path())
	}
	if len(paths) > 0 {
		w.line("  field: [" + strings.Join(paths, ", ") + "]")
	}
	optional := func(key string, v float64) {
		if v != 0 {
			w.line("  " + key + ": " + number(v))
		}
	}
	optional("percentile", c.Percentile)
	w.line("  timespan: " + c.Timespan.String())
	var parts []string
	for _, x := range c.Condition {
		parts = append(parts, x.Op+": "+number(x.Value))
	}
	if len(parts) > 0 {
		w.line("  condition: {" + strings.Join(parts, ", ") + "}")
	}
	if len(c.Steps) > 0 {
		w.line("  generate: " + strconv.FormatBool(c.Generate))
	}
}

func (w *writer) groupBy(c *Correlate) {
	var keys, aliases []string
	for _, k := range c.GroupBy {
		keys = append(keys, plainOrQuoted(k.Name))
		if len(k.Fields) < 2 {
			continue
		}
		var steps []string
		for i, s := range c.Steps {
			steps = append(steps, quoted(s.Name)+": "+plainOrQuoted(k.Field(i).Path()))
		}
		aliases = append(aliases, "    "+k.Name+": {"+strings.Join(steps, ", ")+"}")
	}
	w.line("  group_by: [" + strings.Join(keys, ", ") + "]")
	if len(aliases) > 0 {
		w.line("  aliases:")
	}
	for _, a := range aliases {
		w.line(a)
	}
}

// plainOrQuoted writes a path in a flow list: that of a key of unmapped may have
// characters that YAML would read.
func plainOrQuoted(path string) string {
	if strings.ContainsFunc(path, func(c rune) bool { return strings.ContainsRune("[]{},:#\"'`\\", c) || c <= ' ' || c > '~' }) {
		return quoted(path)
	}
	return path
}

// source is the template's text.
func (t Template) source() string {
	var b strings.Builder
	for _, p := range t.parts {
		if p.field {
			b.WriteString("{" + p.text + "}")
		} else {
			b.WriteString(strings.ReplaceAll(p.text, "{", "{{"))
		}
	}
	return b.String()
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
