package atr

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/re2"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/taxonomy"
)

// maxConditions bounds the conditions of a rule.
const maxConditions = 500

// Recognize reports whether a file is ATR's: it has the keys that only rules of
// ATR have both of.
func Recognize(data []byte) bool {
	line := func(key string) bool {
		return bytes.HasPrefix(data, []byte(key)) || bytes.Contains(data, []byte("\n"+key))
	}
	return line("agent_source:") && line("detection:")
}

// Converted is what became of a file.
type Converted struct {
	File     string
	ID       string     // ATR's
	Title    string     //
	Rule     *rule.Rule // nil: it does not load
	Problems []rule.Problem
	Cases    []Case // its own test cases
}

// Reason is why the file does not load.
func (c *Converted) Reason() string {
	for _, p := range c.Problems {
		if !p.Warning {
			return p.Message
		}
	}
	return ""
}

var atrID = regexp.MustCompile(`^ATR-(\d{4}-\d{3,8})$`)

// Convert reads one file. A rule that is not wholly supported does not load.
func Convert(name string, data []byte) Converted {
	r := &reader{file: name}
	out := Converted{File: name}
	root := r.parse(data)
	if root != nil {
		out.ID, out.Title = root.get("id").str(), root.get("title").str()
		c := newConverter(r, root)
		rl := c.rule()
		if out.Cases = c.cases(); rl != nil && !rule.Failed(r.problems) {
			sum := sha256.Sum256(data)
			rl.Version, rl.File = hex.EncodeToString(sum[:6]), name
			out.Rule = rl
		}
	}
	out.Problems = r.problems
	return out
}

// converter is a rule on its way.
type converter struct {
	*reader
	root   *node
	source string // agent_source.type
	used   []event.ColumnID
	places []rule.Place // of tags and comparisons
}

func newConverter(r *reader, root *node) *converter {
	return &converter{reader: r, root: root, source: root.get("agent_source").get("type").str()}
}

func (c *converter) need(key string) *node {
	n := c.root.get(key)
	if n == nil {
		c.error(c.root, "rule lacks %s", key)
	}
	return n
}

func (c *converter) rule() *rule.Rule {
	if !c.root.mapping {
		c.error(c.root, "a rule of ATR is a mapping")
		return nil
	}
	id := atrID.FindStringSubmatch(c.root.get("id").str())
	if id == nil {
		c.error(c.need("id"), "id must be of the form ATR-2026-00001")
		return nil
	}
	out := &rule.Rule{
		ID: "atr." + id[1], Title: plain(c.need("title").str()), Description: strings.TrimSpace(c.root.get("description").str()),
		Level: finding.Level(c.root.get("severity").str()), Lane: finding.Alerts, Tags: c.tags(), References: c.references(),
	}
	if out.Level.SeverityID() == 0 {
		c.error(c.need("severity"), "severity %s is unknown (informational, low, medium, high, critical)", out.Level)
	}
	if out.Description == "" {
		out.Description = out.Title
	}
	switch c.root.get("status").str() {
	case "stable":
		out.Status = "stable"
	case "deprecated":
		out.Status, out.Disabled = "experimental", true
	default:
		out.Status = "experimental"
		if c.root.get("maturity").str() == "test" {
			out.Status = "test"
		}
	}
	detection := c.need("detection")
	for _, n := range items(detection.get("false_positives")) {
		out.FalsePositives = append(out.FalsePositives, plain(n.str()))
	}
	text := c.when(detection)
	if rule.Failed(c.problems) {
		return nil
	}
	out.Source.Families = families(c.used)
	when, err := lang.Compile(text, out.Source.Families)
	if err != nil {
		c.error(detection.get("conditions"), "conditions: %v", err)
		return nil
	}
	out.When = when
	out.Alert = c.alert(out)
	return out
}

// families are those that carry every column that is read.
func families(ids []event.ColumnID) event.Families {
	all := event.Families(1 << event.FamilyAI)
	if !slices.ContainsFunc(ids, func(id event.ColumnID) bool { return id != event.MessageContextPromptText }) {
		all |= event.Columns[event.MessageContextPromptText].Families
	}
	return all
}

func (c *converter) alert(r *rule.Rule) rule.Alert {
	title, err := rule.ParseTemplate(strings.ReplaceAll(r.Title, "{", "{{"))
	if err != nil {
		c.error(c.root.get("title"), "title: %v", err)
	}
	a := rule.Alert{Title: title, EntityType: "session", EntityPath: event.MessageContextUID, Suppress: rule.DefaultSuppress}
	if r.Source.Families&^(1<<event.FamilyAI) != 0 {
		a.EntityType, a.EntityPath = "ip", event.SrcEndpointIP
	}
	a.Entities = []rule.Entity{
		{Role: finding.Actor, Type: "user", Path: event.ActorUserName}, {Role: finding.Actor, Type: "agent", Path: event.AIAgentName},
		{Role: finding.Origin, Type: "ip", Path: event.SrcEndpointIP}, {Role: finding.Target, Type: "mcp_server", Path: event.MCPServer},
	}
	a.Entities = slices.DeleteFunc(a.Entities, func(e rule.Entity) bool {
		return e.Path == a.EntityPath || event.Columns[e.Path].Families&r.Source.Families == 0
	})
	for _, id := range append(slices.Clone(c.used), event.ToolName, event.AIModelName, event.ActorUserCredentialUID) {
		if event.Columns[id].Families&r.Source.Families != 0 && !slices.Contains(a.Fields, id) {
			a.Fields = append(a.Fields, id)
		}
	}
	return a
}

var (
	atlasID  = regexp.MustCompile(`^AML\.(?:T|TA)\d{4}(?:\.\d{3})?`)
	attackID = regexp.MustCompile(`^(?:T\d{4}(?:\.\d{3})?|TA\d{4})`)
	owaspID  = regexp.MustCompile(`^(LLM\d{2}):(\d{4})`)
)

// tags takes over the references that the hub knows as well.
func (c *converter) tags() []string {
	var out []string
	add := func(n *node, tag string) {
		if tag = strings.ToLower(tag); taxonomy.Check(tag, func(string, []string) string { return "" }) == nil && !slices.Contains(out, tag) {
			c.place("tags["+strconv.Itoa(len(out))+"]", n, n)
			out = append(out, tag)
		}
	}
	refs := c.root.get("references")
	for _, n := range items(refs.get("mitre_atlas")) {
		if id := atlasID.FindString(n.str()); id != "" {
			add(n, "atlas."+id)
		}
	}
	for _, n := range items(refs.get("mitre_attack")) {
		if id := attackID.FindString(n.str()); id != "" {
			add(n, "attack."+id)
		}
	}
	for _, n := range items(refs.get("owasp_llm")) {
		if m := owaspID.FindStringSubmatch(n.str()); m != nil {
			add(n, "owasp."+m[1]+"-"+m[2])
		}
	}
	return out
}

func (c *converter) references() []string {
	out := []string{"ATR " + c.root.get("id").str()}
	for _, key := range []string{"cve", "external", "research"} {
		for _, n := range items(c.root.get("references").get(key)) {
			if s := plain(n.str()); s != "" && len(out) < 50 {
				out = append(out, s)
			}
		}
	}
	return out
}

// when writes the conditions as an expression.
func (c *converter) when(detection *node) string {
	conditions := detection.get("conditions")
	how := strings.TrimSpace(detection.get("condition").str())
	switch {
	case conditions == nil:
		c.error(detection, "detection lacks conditions")
		return ""
	case len(conditions.items)+len(conditions.keys) > maxConditions:
		c.error(conditions, "more than %d conditions", maxConditions)
		return ""
	case conditions.list:
		var parts []string
		anyOf := slices.Contains([]string{"any", "or", ""}, strings.ToLower(how))
		for i, n := range conditions.items {
			before := len(c.problems)
			part := c.condition(n)
			if anyOf {
				c.leaveOut(before, i)
			}
			parts = append(parts, part)
		}
		switch strings.ToLower(how) {
		case "any", "or", "":
			if join(parts, "or") == "" {
				c.error(conditions, "unsupported: not one of the conditions can be expressed")
			}
			return join(parts, "or")
		case "all", "and":
			return join(parts, "and")
		}
		c.error(detection.get("condition"), "condition %s: a list of conditions is combined by any or all", how)
		return ""
	case conditions.mapping:
		return c.combine(detection, conditions, how)
	}
	c.error(conditions, "conditions must be a list or a mapping")
	return ""
}

// leaveOut makes a condition that cannot be expressed, one of several of which
// any is enough, a warning: the rule finds less, and nothing else.
func (c *converter) leaveOut(before, i int) {
	for j := before; j < len(c.problems); j++ {
		if p := &c.problems[j]; strings.HasPrefix(p.Message, "unsupported: ") {
			p.Warning, p.Message = true, fmt.Sprintf("condition %d is left out: %s", i+1, strings.TrimPrefix(p.Message, "unsupported: "))
		}
	}
}

func join(parts []string, op string) string {
	parts = slices.DeleteFunc(parts, func(s string) bool { return s == "" })
	switch len(parts) {
	case 0:
		return ""
	case 1:
		return parts[0]
	}
	return "(" + strings.Join(parts, "\n "+op+" ") + ")"
}

// condition is one comparison of a field with a value.
func (c *converter) condition(n *node) string {
	for _, key := range []string{"metric", "steps", "threshold", "window", "sequence"} {
		if x := n.get(key); x != nil {
			c.error(x, "unsupported: %s (measured over a session)", key)
			return ""
		}
	}
	field, op := n.get("field"), n.get("operator")
	if op == nil {
		op = n.get("match_type")
	}
	if field == nil || op == nil || n.get("value") == nil && n.get("patterns") == nil {
		c.error(n, "condition needs field, operator and value")
		return ""
	}
	ids := columnsOf(c.source, field.str())
	if ids == nil {
		c.error(field, "unsupported: field %s%s", field.str(), lang.DidYouMean(field.str(), fieldNames()))
		return ""
	}
	values := items(n.get("patterns"))
	if v := n.get("value"); v != nil {
		values = items(v)
	}
	sensitive := n.get("case_sensitive").str() == "true"
	var parts []string
	for _, v := range values {
		before := len(c.problems)
		for _, id := range ids {
			if parts = append(parts, c.compare(event.Columns[id].Path, field, op, v, sensitive)); len(c.problems) > before {
				break
			}
		}
	}
	for _, id := range ids {
		if !slices.Contains(c.used, id) {
			c.used = append(c.used, id)
		}
	}
	if len(values) == 0 {
		c.error(n, "condition has no value")
	}
	return join(parts, "or")
}

func (c *converter) compare(path string, field, op, value *node, sensitive bool) string {
	s := value.str()
	if s == "" {
		c.error(value, "value is empty")
		return ""
	}
	c.comparison(path, s, field, value)
	switch op.str() {
	case "regex":
		pattern, err := re2.Perl(s)
		if err != nil {
			c.error(value, "unsupported: regular expression: %v", err)
			return ""
		}
		// ATR's engine never minds case.
		if !sensitive && !strings.HasPrefix(pattern, "(?i)") {
			pattern = "(?i)" + pattern
		}
		c.places[len(c.places)-1].Text = pattern
		return path + " matches " + strconv.Quote(pattern)
	case "contains":
		if sensitive {
			return path + " contains " + strconv.Quote(s)
		}
		return "icontains(" + path + ", " + strconv.Quote(s) + ")"
	case "exact":
		return path + " == " + strconv.Quote(s)
	case "starts_with":
		if sensitive {
			return path + " startsWith " + strconv.Quote(s)
		}
		return "istartsWith(" + path + ", " + strconv.Quote(s) + ")"
	}
	c.error(op, "unsupported: operator %s", op.str())
	return ""
}

// combine replaces the names in a condition such as "a and not (b or c)".
func (c *converter) combine(detection, conditions *node, how string) string {
	parts := map[string]string{}
	var all []string
	for _, name := range conditions.keys {
		parts[name] = c.condition(conditions.pairs[name])
		all = append(all, parts[name])
	}
	switch strings.ToLower(how) {
	case "any", "or":
		return join(all, "or")
	case "all", "and", "":
		return join(all, "and")
	}
	var out []string
	for _, word := range regexp.MustCompile(`[()]|[^\s()]+`).FindAllString(how, 4*maxConditions) {
		switch w := strings.ToLower(word); {
		case w == "and" || w == "or" || w == "not" || w == "(" || w == ")":
			out = append(out, w)
		case parts[word] != "":
			out = append(out, "("+parts[word]+")")
		default:
			if conditions.pairs[word] == nil {
				c.error(detection.get("condition"), "condition names %s, which is not among the conditions", word)
			}
			return ""
		}
	}
	return strings.Join(out, " ")
}

// items is a list's, or the single value.
func items(n *node) []*node {
	switch {
	case n == nil:
		return nil
	case n.list:
		return n.items
	}
	return []*node{n}
}

// plain is a text on one line, of bounded length.
func plain(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "…"
	}
	return s
}
