package mute

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

// The bounds of what a person may write.
const (
	maxMatchers = 32
	maxText     = 1024 // bytes of a value
)

// Matcher compares one label of an alert with a value. A label that an alert
// lacks is the empty text. A label with several values, such as tag, matches =
// and =~ if one value does, and != and !~ if none does.
type Matcher struct {
	Name  string
	Op    string // = != =~ !~
	Value string
	re    *regexp.Regexp
}

// labelNames are the labels besides the paths of events.
var labelNames = []string{"rule", "level", "lane", "status", "title", "entity", "entity.type", "entity.value", "entities", "tag", "source"}

// ParseMatchers reads matchers in Alertmanager's notation: name="value", with
// the operators =, !=, =~ and !~, several of them separated by commas, the whole
// in braces or not. Quotes may be left out where the value holds no comma,
// quote, brace or blank. A name alone is a rule.
func ParseMatchers(s string) ([]Matcher, error) {
	if !utf8.ValidString(s) {
		return nil, fmt.Errorf("matcher %q is not UTF-8", s)
	}
	rest := strings.TrimSpace(s)
	if inner, ok := strings.CutPrefix(rest, "{"); ok {
		if rest, ok = strings.CutSuffix(inner, "}"); !ok {
			return nil, fmt.Errorf("matchers %s: the brace is not closed", s)
		}
	}
	var out []Matcher
	for rest = strings.TrimSpace(rest); rest != ""; {
		m, after, err := parseOne(rest)
		if err != nil {
			return nil, err
		}
		if out = append(out, m); len(out) > maxMatchers {
			return nil, fmt.Errorf("more than %d matchers", maxMatchers)
		}
		rest = strings.TrimSpace(after)
		if rest == "" {
			break
		}
		if !strings.HasPrefix(rest, ",") {
			return nil, fmt.Errorf("matchers %s: a comma is missing before %s", s, rest)
		}
		rest = strings.TrimSpace(rest[1:])
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("matcher is empty: write for example rule=\"ai-gateway.key-abuse\"")
	}
	return out, nil
}

func parseOne(s string) (Matcher, string, error) {
	i := strings.IndexAny(s, "=!~,\"{} \t")
	if i < 0 || s[i] == ',' {
		name, rest, _ := strings.Cut(s, ",")
		m, err := NewMatcher("rule", "=", strings.TrimSpace(name))
		if rest != "" {
			rest = "," + rest
		}
		return m, rest, err
	}
	name := s[:i]
	op, rest := "", strings.TrimLeft(s[i:], " \t")
	for _, o := range []string{"!=", "!~", "=~", "="} {
		if strings.HasPrefix(rest, o) {
			op, rest = o, strings.TrimLeft(rest[len(o):], " \t")
			break
		}
	}
	if op == "" || name == "" {
		return Matcher{}, "", fmt.Errorf("matcher %s: want name=\"value\" with =, !=, =~ or !~", s)
	}
	if strings.HasPrefix(rest, `"`) {
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return Matcher{}, "", fmt.Errorf("matcher %s: the value's quotes are not closed", s)
		}
		value, err := strconv.Unquote(quoted)
		if err != nil {
			return Matcher{}, "", fmt.Errorf("matcher %s: the value has a bad escape", s)
		}
		m, err := NewMatcher(name, op, value)
		return m, rest[len(quoted):], err
	}
	end := strings.IndexAny(rest, ",\"{} \t")
	if end < 0 {
		end = len(rest)
	}
	if end < len(rest) && rest[end] != ',' && rest[end] != ' ' && rest[end] != '\t' {
		return Matcher{}, "", fmt.Errorf("matcher %s: put the value in double quotes", s)
	}
	m, err := NewMatcher(name, op, rest[:end])
	return m, rest[end:], err
}

// NewMatcher checks the parts: the name is a label or the path of an event's
// field, a value of =~ and !~ an RE2 expression, which must match the whole.
func NewMatcher(name, op, value string) (Matcher, error) {
	m := Matcher{Name: name, Op: op, Value: value}
	if len(value) > maxText {
		return m, fmt.Errorf("matcher %s: the value has %d bytes, at most %d are allowed", name, len(value), maxText)
	}
	if !known(name) {
		return m, fmt.Errorf("matcher: unknown label %s%s", name, lang.DidYouMean(name, allNames()))
	}
	switch op {
	case "=", "!=":
		if known := valuesOf[name]; known != nil && value != "" && !slices.Contains(known, value) {
			return m, fmt.Errorf("matcher %s: no alert has the %s %s%s (one of %s)", name, name, value, lang.DidYouMean(value, known), strings.Join(known, ", "))
		}
	case "=~", "!~":
		if _, err := regexp.Compile(value); err != nil { // without what is put around it, so that the message has what was written
			return m, fmt.Errorf("matcher %s: %w", name, err)
		}
		re, err := regexp.Compile("^(?s:" + value + ")$")
		if err != nil {
			return m, fmt.Errorf("matcher %s: %w", name, err)
		}
		m.re = re
	default:
		return m, fmt.Errorf("matcher %s: unknown operator %s (=, !=, =~ or !~)", name, op)
	}
	return m, nil
}

// valuesOf has the labels that take few values.
var valuesOf = map[string][]string{
	"level": {"informational", "low", "medium", "high", "critical"},
	"lane":  {"hunt", "alert", "enforce"},
}

func known(name string) bool {
	for _, n := range labelNames {
		if n == name {
			return true
		}
	}
	if strings.HasPrefix(name, "unmapped.") {
		return true
	}
	_, ok := event.ByPath(name)
	return ok
}

func allNames() []string {
	out := append([]string(nil), labelNames...)
	for i := range event.Columns {
		out = append(out, event.Columns[i].Path)
	}
	return out
}

// String is the notation that ParseMatchers reads.
func (m Matcher) String() string { return m.Name + m.Op + strconv.Quote(m.Value) }

// MarshalText implements encoding.TextMarshaler.
func (m Matcher) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler: one matcher.
func (m *Matcher) UnmarshalText(text []byte) error {
	list, err := ParseMatchers(string(text))
	if err != nil {
		return err
	}
	if len(list) != 1 {
		return fmt.Errorf("matcher %s: write each of several as an item of its own", text)
	}
	*m = list[0]
	return nil
}

// UnmarshalYAML reads a matcher of a configuration file: an error says where it
// stands.
func (m *Matcher) UnmarshalYAML(n ast.Node) error {
	at := n.GetToken()
	text, ok := n.(ast.ScalarNode)
	if !ok {
		return fmt.Errorf("[%d:%d] a matcher is a text such as 'rule=\"host.ransomware\"'", at.Position.Line, at.Position.Column)
	}
	if err := m.UnmarshalText([]byte(fmt.Sprint(text.GetValue()))); err != nil {
		return fmt.Errorf("[%d:%d] %w", at.Position.Line, at.Position.Column, err)
	}
	return nil
}

// Matches says whether the matcher fits the alert.
func (m *Matcher) Matches(a *finding.Alert) bool {
	found := false
	for _, v := range labels(a, m.Name) {
		if m.re != nil && m.re.MatchString(v) || m.re == nil && v == m.Value {
			found = true
			break
		}
	}
	return found == (m.Op == "=" || m.Op == "=~")
}

// empty says whether the matcher fits an alert without the label.
func (m *Matcher) empty() bool {
	is := m.Value == ""
	if m.re != nil {
		is = m.re.MatchString("")
	}
	return is == (m.Op == "=" || m.Op == "=~")
}

func all(list []Matcher, a *finding.Alert) bool {
	for i := range list {
		if !list[i].Matches(a) {
			return false
		}
	}
	return true
}

// labels are the values of a label; one empty text if there are none.
func labels(a *finding.Alert, name string) []string {
	var list []string
	switch name {
	case "rule":
		return []string{a.Rule}
	case "level":
		return []string{string(a.Level)}
	case "lane":
		return []string{string(a.Lane)}
	case "status":
		return []string{string(a.Status)}
	case "title":
		return []string{a.Title}
	case "entity":
		return []string{entity(a.Entity)}
	case "entity.type":
		return []string{a.Entity.Type}
	case "entity.value":
		return []string{a.Entity.Value}
	case "entities":
		list = append(list, entity(a.Entity))
		for _, e := range a.Entities {
			list = append(list, entity(e.Entity))
		}
	case "tag":
		list = a.Tags
	case "source":
		list = a.Sources
	default:
		return []string{path(a, name)}
	}
	if len(list) == 0 {
		return []string{""}
	}
	return list
}

func entity(e finding.Entity) string {
	if e.Type == "" {
		return ""
	}
	return e.Type + ":" + e.Value
}

// path is a value by which the alert was grouped, or else a fact it carries.
func path(a *finding.Alert, name string) string {
	for _, p := range a.Group {
		if p.Path == name {
			return p.Value
		}
	}
	return a.Fields[name]
}
