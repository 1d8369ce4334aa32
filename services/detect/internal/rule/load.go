package rule

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/taxonomy"
)

var idForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*\.[a-z0-9][a-z0-9-]*$`)

// Load reads one rule. Name is used in problems and, if it has the form
// <domain>/<slug>.yml, must agree with the id. The rule is nil if a problem is
// an error.
func Load(name string, data []byte) (*Rule, []Problem) {
	r := &reader{file: name}
	root := r.parse(data)
	if root == nil {
		return nil, r.problems
	}
	m := r.mapping(root, "the rule", "id!", "title!", "description!", "level!", "status!", "lane", "enabled", "tags",
		"references", "false_positives", "source", "when", "correlate", "alert!", "exceptions", "tests")
	if m == nil {
		return nil, r.problems
	}
	sum := sha256.Sum256(data)
	out := &Rule{
		ID: r.text(m["id"], "id"), Title: r.text(m["title"], "title"), Description: r.text(m["description"], "description"),
		Level:      finding.Level(r.oneOf(m["level"], "level", "informational", "low", "medium", "high", "critical")),
		Status:     r.oneOf(m["status"], "status", "experimental", "test", "stable"),
		Lane:       finding.Lane(r.oneOf(m["lane"], "lane", "hunt", "alert", "enforce")),
		References: r.texts(m["references"], "reference"), FalsePositives: r.texts(m["false_positives"], "false positive"),
		Version: hex.EncodeToString(sum[:6]), File: name,
	}
	if out.Lane == "" {
		out.Lane = finding.Alerts
	}
	r.identity(m["id"], out)
	if f := m["enabled"]; f.value != nil {
		out.Disabled = !r.boolean(f, "enabled")
	}
	for _, item := range r.items(m["tags"]) {
		tag := r.text(item, "tag")
		if tag == "" {
			continue
		}
		if err := taxonomy.Check(tag, lang.DidYouMean); err != nil {
			r.error(item.value, "%v", err)
		}
		out.Tags = append(out.Tags, tag)
	}
	if out.Source = r.source(m["source"]); m["source"].value == nil && m["when"].value != nil {
		out.Source.Families = allFamilies // that it is missing is said; its condition may still be read
	}
	out.When = r.condition(m["when"], out.Source.Families)
	r.correlation(root, m, out)
	families := out.Source.Families
	if families == 0 {
		families = allFamilies // what the rule is about is not known, which was said
	}
	out.Alert = r.alert(m["alert"], out.Correlate, families)
	out.Exceptions = r.exceptions(m["exceptions"], families)
	out.steps()
	out.Tests = r.tests(m["tests"], out)
	if len(out.Tests) == 0 && !Failed(r.problems) {
		r.warn(root, "rule has no tests")
	}
	r.unselective(out, m["when"])
	if Failed(r.problems) {
		return nil, r.problems
	}
	return out, r.problems
}

// unselective warns of a condition that gives the index nothing to look for.
func (r *reader) unselective(rule *Rule, when field) {
	if rule.When == nil {
		return
	}
	if _, ok := rule.When.Witness(); !ok {
		r.warn(when.key, "condition holds no necessary literal, so it is evaluated for every event of its source")
	}
}

func (r *reader) identity(f field, out *Rule) {
	if out.ID == "" {
		return
	}
	if !idForm.MatchString(out.ID) || subjects.Check(out.ID) != nil {
		r.error(f.value, "id %s must be <domain>.<slug> in lower case letters, digits and hyphens", out.ID)
		return
	}
	parts := strings.Split(strings.TrimSuffix(r.file, ".yml"), "/")
	if len(parts) < 2 {
		return
	}
	if want := strings.Join(parts[len(parts)-2:], "."); want != out.ID {
		r.error(f.value, "id %s does not agree with the file name %s (expected %s)", out.ID, r.file, want)
	}
}

// allFamilies is every family.
const allFamilies = event.Families(1<<len(event.FamilyNames) - 1)

// ClassFamilies are the families that events of a class may be in. A mapping may
// put events of any class into the family ai, and what a host saw of the
// network into host. Other combinations name a family.
func ClassFamilies(c *event.Class) event.Families {
	out := event.Families(1<<c.Family | 1<<event.FamilyAI)
	if c.Family == event.FamilyNetwork {
		out |= 1 << event.FamilyHost
	}
	return out
}

func (r *reader) source(f field) Source {
	var s Source
	if f.value == nil {
		return s
	}
	m := r.mapping(f.value, "source", "class", "family", "product")
	var classNames []string
	for _, c := range event.Classes {
		classNames = append(classNames, c.Name)
	}
	var derived event.Families
	for _, item := range r.items(m["class"]) {
		name := r.text(item, "class")
		c, ok := event.ClassByName(name)
		if !ok {
			r.error(item.value, "unknown class %s%s", name, lang.DidYouMean(name, classNames))
			continue
		}
		s.Classes = append(s.Classes, c.UID)
		derived |= ClassFamilies(c)
	}
	for _, item := range r.items(m["family"]) {
		name := r.text(item, "family")
		fam, ok := event.FamilyByName(name)
		if !ok {
			r.error(item.value, "unknown family %s%s", name, lang.DidYouMean(name, event.FamilyNames[:]))
			continue
		}
		s.Families |= 1 << fam
	}
	for _, item := range r.items(m["product"]) {
		name := r.text(item, "product")
		if err := subjects.Check(name); err != nil {
			r.error(item.value, "product: %v", err)
		}
		s.Products = append(s.Products, name)
	}
	if s.Families == 0 {
		s.Families = derived
	}
	if s.Families == 0 {
		s.Families = allFamilies
	}
	return s
}

func (r *reader) condition(f field, families event.Families) *lang.Expr {
	if f.value == nil {
		return nil
	}
	before := len(r.problems)
	text, line, column := r.expression(f)
	if len(r.problems) > before {
		return nil
	}
	e, err := lang.Compile(text, families)
	if err == nil {
		return e
	}
	problems, _ := err.(lang.Problems)
	for _, p := range problems {
		r.errorAt(line+p.Line-1, p.Column+column-1, "%s", p.Message)
	}
	return nil
}

// path reads the path of a column that the families carry.
func (r *reader) path(f field, what string, families event.Families) (event.ColumnID, bool) {
	s := r.text(f, what)
	if s == "" {
		return 0, false
	}
	c, ok := event.ByPath(s)
	if !ok {
		r.error(f.value, "%s: unknown field %s%s", what, s, lang.FieldHint(s))
		return 0, false
	}
	if c.Families&families == 0 {
		r.error(f.value, "%s: field %s does not occur in the families %s", what, s, lang.FamilyNames(families))
		return 0, false
	}
	if c.Kind == event.KindScores {
		r.error(f.value, "%s: field %s is a map", what, s)
		return 0, false
	}
	return c.ID, true
}

// field reads a path, or a key of unmapped.
func (r *reader) field(f field, what string, families event.Families) (lang.Field, bool) {
	if s, isText := f.value.(*ast.StringNode); isText {
		key, ok, err := lang.ParseKey(s.Value)
		if err != nil {
			r.error(f.value, "%s: %v", what, err)
			return lang.Field{}, false
		}
		if ok {
			return key, true
		}
	}
	id, ok := r.path(f, what, families)
	return lang.Field{Col: id}, ok
}

func (r *reader) paths(f field, what string, families event.Families) []event.ColumnID {
	var out []event.ColumnID
	for _, item := range r.items(f) {
		if id, ok := r.path(item, what, families); ok {
			out = append(out, id)
		}
	}
	return out
}

func (r *reader) alert(f field, c *Correlate, families event.Families) Alert {
	var a Alert
	if f.value == nil {
		return a
	}
	m := r.mapping(f.value, "alert", "title!", "entity!", "entities", "fields", "risk", "dedup", "suppress")
	t, err := ParseTemplate(r.text(m["title"], "alert title"), c.aliases()...)
	if err != nil {
		r.error(m["title"].value, "alert title: %v", err)
	}
	a.Title = t
	if e := m["entity"]; e.value != nil {
		em := r.mapping(e.value, "entity", "type!", "path!", "scope")
		a.EntityType = r.oneOf(em["type"], "entity type", EntityTypes...)
		if name, _ := em["path"].value.(*ast.StringNode); name != nil && slices.Contains(c.aliases(), name.Value) {
			a.EntityAlias = name.Value
		} else {
			a.EntityPath, _ = r.path(em["path"], "entity path", families)
		}
		if s := em["scope"]; s.value != nil {
			if id, ok := r.path(s, "entity scope", families); ok {
				a.EntityScope = []event.ColumnID{id}
			}
		}
	}
	a.Fields = r.paths(m["fields"], "alert field", families)
	r.management(&a, m, c, families)
	a.Suppress = DefaultSuppress
	if c != nil && c.Type != NewValue {
		a.Suppress = max(a.Suppress, c.Timespan)
	}
	if s := m["suppress"]; s.value != nil {
		a.Suppress = r.duration(s, "suppress")
	}
	return a
}

// EntityTypes are the subjects that playbooks know.
var EntityTypes = []string{"ip", "api_key", "user", "service_account", "session", "host", "pod", "container", "namespace", "cluster",
	"model", "agent", "tool", "mcp_server", "dataset", "document", "process", "file", "url", "service"}

func (r *reader) exceptions(f field, families event.Families) []Exception {
	var out []Exception
	for _, item := range r.items(f) {
		m := r.mapping(item.value, "exception", "when!", "reason!", "owner!", "expires")
		e := Exception{When: r.condition(m["when"], families), Reason: r.text(m["reason"], "reason"), Owner: r.text(m["owner"], "owner")}
		if x := m["expires"]; x.value != nil {
			day, err := time.Parse(time.DateOnly, fmt.Sprint(x.value.GetToken().Value))
			if err != nil {
				r.error(x.value, "expires must be a day such as 2027-01-31")
			}
			e.Expires = day
		}
		out = append(out, e)
	}
	return out
}
