package wazuh

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/taxonomy"
)

// File is a file of rules.
type File struct {
	Name string
	Data []byte
}

// Converted is what became of a rule.
type Converted struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	ID     int    `json:"id"`
	Title  string `json:"title"`
	Level  int    `json:"level"`
	Base   bool   `json:"base,omitempty"` // never alerts: others refine it
	Loaded bool   `json:"loaded"`
	Reason string `json:"reason,omitempty"` // why it does not load
	// Guessed lists fields and decoders that the hub has no column or source
	// for: they are read under the names that the log itself has.
	Guessed []string   `json:"guessed,omitempty"`
	Text    string     `json:"-"` // the hub's rule as a file
	Rule    *rule.Rule `json:"-"`
}

// Convert reads files as one set: rules refer to rules of any of them. Problems
// are files that cannot be read, or not to their end, and rules that are none.
func Convert(files []File) ([]Converted, []error) {
	var list []*definition
	var problems []error
	first := map[int]*definition{}
	for _, f := range files {
		defs, err := parse(f.Name, f.Data)
		if err != nil {
			problems = append(problems, err)
		}
		for _, d := range defs {
			if other := first[d.id]; d.problem != "" {
				problems = append(problems, fmt.Errorf("%s:%d:1: error: rule is left out: %s", d.file, d.line, d.problem))
				continue
			} else if other != nil && !d.overwrite {
				problems = append(problems, fmt.Errorf("%s:%d:1: error: rule %d is at %s:%d already and this one counts: to replace the other on purpose, write overwrite=\"yes\"", d.file, d.line, d.id, other.file, other.line))
			}
			first[d.id] = d
			list = append(list, d)
		}
	}
	s := newRuleset(list)
	var out []Converted
	for _, d := range list {
		if s.byID[d.id] != d {
			continue
		}
		out = append(out, s.convert(d))
	}
	return out, problems
}

func (s *ruleset) convert(d *definition) Converted {
	out := Converted{File: d.file, Line: d.line, ID: d.id, Level: d.level, Title: d.title()}
	if d.level == 0 || d.noAlert {
		out.Base = true
		return out
	}
	text, guessed, err := s.write(d)
	if err == nil {
		var problems []rule.Problem
		out.Rule, problems = rule.Load("wazuh/"+strconv.Itoa(d.id)+".yml", []byte(text))
		for _, p := range problems {
			if !p.Warning {
				err = errors.New(p.Message)
				break
			}
		}
	}
	if err != nil {
		out.Reason, out.Rule = err.Error(), nil
		return out
	}
	slices.Sort(guessed)
	out.Loaded, out.Text, out.Guessed = true, text, slices.Compact(guessed)
	return out
}

var spaces = regexp.MustCompile(`\s+`)

func (d *definition) title() string {
	return spaces.ReplaceAllString(strings.TrimSpace(d.all("description", " ")), " ")
}

// levels are Wazuh's 1 to 16 as the hub has them.
func (d *definition) rank() string {
	switch {
	case d.level <= 3:
		return "informational"
	case d.level <= 6:
		return "low"
	case d.level <= 11:
		return "medium"
	case d.level <= 14:
		return "high"
	}
	return "critical"
}

// write makes the file of a rule.
func (s *ruleset) write(d *definition) (string, []string, error) {
	c, err := s.whole(d)
	if err != nil {
		return "", nil, err
	}
	if c.text == "" {
		return "", nil, errNothing
	}
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	title := d.title()
	if title == "" {
		title = "Wazuh rule " + strconv.Itoa(d.id)
	}
	lane := "alert"
	if d.level <= 3 {
		lane = "hunt"
	}
	line("id: wazuh.%d", d.id)
	line("title: %s", quote(title))
	line("description: %s", quote(fmt.Sprintf("Imported from rule %d of Wazuh (level %d, groups %s).", d.id, d.level, strings.Join(d.groups, ", "))))
	line("level: %s\nstatus: test\nlane: %s", d.rank(), lane)
	if tags := d.mitre(); len(tags) > 0 {
		line("tags: [%s]", strings.Join(tags, ", "))
	}
	line("source:")
	line("  family: [%s]", strings.Join(familyNames(c.families), ", "))
	if len(c.classes) > 0 {
		line("  class: [%s]", strings.Join(c.classes, ", "))
	}
	if len(c.products) > 0 {
		line("  product: [%s]", strings.Join(c.products, ", "))
	}
	line("when: %s", quote(c.text))
	group, err := d.correlation(line)
	if err != nil {
		return "", nil, err
	}
	kind, path := d.subject(c, group)
	line("alert:\n  title: %s\n  entity: {type: %s, path: %s}", quote(template(title, c.families)), kind, path)
	if c.families&^(1<<event.FamilyAI) == c.families {
		line("  fields: [message]")
	}
	if d.ignore > 0 {
		line("  suppress: %ds", d.ignore)
	}
	s.exceptions(d, c, line)
	return b.String(), c.guessed, nil
}

// whole is the condition of the events of a rule: of one that counts, of those
// it counts.
func (s *ruleset) whole(d *definition) (chain, error) {
	if !d.counts() {
		c := s.chain(d, 0)
		return c, c.err
	}
	var counted []*definition
	for _, id := range ids(d.all("if_matched_sid", ",")) {
		p := s.byID[id]
		if p == nil {
			return chain{}, fmt.Errorf("counts rule %d, which is not among the files: give Wazuh's own ruleset, too", id)
		}
		counted = append(counted, p)
	}
	for _, g := range split(d.all("if_matched_group", ",")) {
		counted = append(counted, s.group(g, d)...)
	}
	if len(counted) == 0 {
		c := s.chain(d, 0)
		return c, c.err
	}
	if len(counted) > maxParents {
		return chain{}, fmt.Errorf("counts %d rules, at most %d are supported", len(counted), maxParents)
	}
	own := s.own(d)
	if own.err != nil {
		return own, own.err
	}
	c := s.refine(own, counted, 1)
	if c.err == nil && c.families == 0 {
		c.err = errors.New("no event has all the fields that it compares")
	}
	if c.err != nil {
		c.err = errors.New(strings.Replace(c.err.Error(), "refines", "counts", 1))
	}
	return c, c.err
}

// correlation writes the count and returns what it groups by.
func (d *definition) correlation(line func(string, ...any)) ([]string, error) {
	if !d.counts() {
		return nil, nil
	}
	var group, values []string
	for _, t := range d.tags {
		name := same[t.name]
		switch {
		case t.name == "same_field" || t.name == "different_field":
			name = strings.TrimSpace(t.text)
		case t.name == "same_id":
			name = "metadata.event_code"
		case name == "" && (strings.HasPrefix(t.name, "same_") || strings.HasPrefix(t.name, "different_") || strings.HasPrefix(t.name, "not_same_")):
			return nil, fmt.Errorf("unsupported: %s", t.name)
		}
		if name == "" {
			continue
		}
		paths, _ := place(name)
		if _, ok := event.ByPath(paths[0]); !ok {
			return nil, fmt.Errorf("unsupported: %s of %s, which is no column", t.name, name)
		}
		if strings.HasPrefix(t.name, "different_") {
			values = append(values, paths[0])
		} else {
			group = append(group, paths[0])
		}
	}
	if len(values) > 1 {
		return nil, errors.New("unsupported: several different values at once")
	}
	span := d.timeframe
	if span == 0 {
		span = 360 // Wazuh's default, in seconds
	}
	threshold := max(d.frequency, 1)
	if len(group) == 0 {
		group = []string{"source"} // Wazuh counts over all hosts
	}
	kind := "event_count"
	if len(values) > 0 {
		kind = "value_count"
	}
	line("correlate:\n  type: %s\n  group_by: [%s]", kind, strings.Join(group, ", "))
	if len(values) > 0 {
		line("  field: %s", values[0])
	}
	line("  timespan: %s\n  condition: {gte: %d}", time.Duration(span)*time.Second, threshold)
	return group, nil
}

// subject says whom an alert is about.
func (d *definition) subject(c chain, group []string) (kind, path string) {
	switch {
	case slices.Contains(group, "src_endpoint.ip"):
		return "ip", "src_endpoint.ip"
	case slices.Contains(group, "actor.user.name"):
		return "user", "actor.user.name"
	case slices.Contains(group, "user.name"):
		return "user", "user.name"
	case len(group) == 0 && (slices.Contains(c.classes, "http_activity") || slices.Contains(d.groups, "web") || slices.Contains(d.groups, "firewall")):
		return "ip", "src_endpoint.ip"
	}
	return "host", "device.hostname"
}

// exceptions takes out what a rule of level 0 refines: Wazuh raises nothing
// then.
func (s *ruleset) exceptions(d *definition, c chain, line func(string, ...any)) {
	if d.counts() {
		return
	}
	first := true
	for _, q := range s.quiet[d.id] {
		own := s.own(q)
		// A rule of level 0 that others refine is a step on the way to them.
		if own.err != nil || own.text == "" || own.families&c.families == 0 || s.refined(q) {
			continue
		}
		if first {
			line("exceptions:")
			first = false
		}
		line("  - {when: %s, reason: %s, owner: wazuh}", quote(own.text), quote(fmt.Sprintf("rule %d: %s", q.id, q.title())))
	}
}

func (s *ruleset) refined(d *definition) bool {
	want := strconv.Itoa(d.id)
	for _, x := range s.byID {
		if slices.ContainsFunc(x.tags, func(t tag) bool { return t.name == "if_sid" && strings.Contains(t.text, want) }) && slices.Contains(ids(x.all("if_sid", ",")), d.id) {
			return true
		}
	}
	return false
}

var technique = regexp.MustCompile(`T\d{4}(?:\.\d{3})?`)

func (d *definition) mitre() []string {
	var out []string
	for _, id := range technique.FindAllString(d.all("mitre", ","), 50) {
		tag := "attack." + strings.ToLower(id)
		if taxonomy.Check(tag, func(string, []string) string { return "" }) == nil && !slices.Contains(out, tag) {
			out = append(out, tag)
		}
	}
	return out
}

var dynamic = regexp.MustCompile(`\$\(([^)]*)\)`)

// template puts the fields that a description names into a title.
func template(title string, families event.Families) string {
	title = strings.ReplaceAll(title, "{", "{{")
	return dynamic.ReplaceAllStringFunc(title, func(s string) string {
		name := s[2 : len(s)-1]
		paths, _ := place(name)
		if col, ok := event.ByPath(paths[0]); ok && col.Families&families != 0 && col.Kind != event.KindScores {
			return "{" + paths[0] + "}"
		}
		return strings.ReplaceAll(name, "{", "{{")
	})
}

// Cause is the last part of why a rule does not load: of a chain, what is wrong
// with the rule at its end.
func (c *Converted) Cause() string {
	s := c.Reason
	if i := strings.LastIndex(s, ", which "); i >= 0 && !strings.Contains(s, "among the files") && !strings.HasSuffix(s, "counts others") {
		s = "in a chain: " + s[i+len(", which "):]
	}
	return s
}
