package sigma

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	tags "github.com/vagus-hub/vagus/services/detect/internal/taxonomy"
)

// uuid is the form of Sigma's ids.
var uuid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

var slugless = regexp.MustCompile(`[^a-z0-9]+`)

// ruleID is the id of a rule: sigma.<uuid>, or made of the title where the rule
// has no UUID. It does not depend on the file's name or place.
func (d *document) ruleID() string {
	if uuid.MatchString(d.id) {
		return "sigma." + d.id
	}
	sum := sha256.Sum256([]byte(d.id + "\x00" + d.name + "\x00" + d.title + "\x00" + d.source.String()))
	slug := strings.Trim(slugless.ReplaceAllString(strings.ToLower(d.title), "-"), "-")
	slug = strings.Trim(slug[:min(len(slug), 60)], "-")
	if slug == "" {
		slug = "rule"
	}
	return "sigma." + slug + "-" + hex.EncodeToString(sum[:4])
}

// maxNote bounds the texts that come from a Sigma file into a rule.
const maxNote = 8 << 10

// convert makes a rule of a detection. The filters are those that belong to it.
func (p *problems) convert(d *document, filters []*document, values Placeholders) *rule.Rule {
	t, err := builtin()
	if err != nil {
		p.error(d.at, "%v", err)
		return nil
	}
	o := t.find(d.source)
	if o == nil {
		p.error(d.source.at, "unsupported: no events are known for the logsource %s (category/product/service)", d.source)
		return nil
	}
	d.used = map[string]bool{}
	g := &generator{p: p, o: o, vars: values, used: d.used}
	parts := []string{}
	if o.When != "" {
		parts = append(parts, guard(o.When))
	}
	main := g.tree(d.detection, opAnd)
	parts = append(parts, main)
	shown := g.shown
	for _, f := range filters {
		own := &generator{p: &problems{file: f.file}, o: o, vars: values, used: d.used}
		if parts = append(parts, own.filter(f)); own.failed {
			p.error(d.at, "filter %s: %s", f.title, own.p.firstError(0).Message)
			return nil
		}
	}
	if g.failed {
		return nil
	}
	text := strings.Join(parts, " and ")
	when, err := lang.Compile(text, o.families)
	if err != nil {
		p.error(d.at, "unsupported: the condition cannot be compiled: %v", err)
		return nil
	}
	r := p.head(d)
	r.When = when
	r.Source = rule.Source{Classes: o.classes, Families: o.families, Products: o.Sources}
	r.Alert = alert(d, o, shown)
	if len(d.fields) > 0 {
		for _, f := range d.fields {
			for _, pl := range o.places(f) {
				addColumn(&r.Alert.Fields, pl.Path, o.families)
			}
		}
	}
	return r
}

// filter writes what a filter document adds. In the specification a filter
// describes what is to be suppressed; in practice its condition is often
// written as "not selection", which is what must hold for the rule. A condition
// that only negates is read the second way.
func (g *generator) filter(f *document) string {
	if negates(f.detection) {
		return g.tree(f.detection, opAnd)
	}
	return "not (" + g.tree(f.detection, opAtom) + ")"
}

func negates(t *tree) bool {
	if t.op == opAnd {
		return !slices.ContainsFunc(t.kids, func(k *tree) bool { return !negates(k) })
	}
	return t.op == opNot
}

// head makes a rule of what a document says beside its detection.
func (p *problems) head(d *document) *rule.Rule {
	r := &rule.Rule{
		ID: d.ruleID(), Title: d.title, Description: d.note(), Level: finding.Level(d.level), Status: d.status,
		References: d.references, FalsePositives: d.falsePositives, File: d.file,
	}
	r.Tags, _ = p.knownTags(d)
	if r.Level == "" {
		r.Level = "medium"
	}
	switch d.status {
	case "deprecated", "unsupported":
		r.Disabled, r.Status = true, "experimental"
	case "":
		r.Status = "experimental"
	}
	r.Lane = lane(r.Level, r.Status)
	return r
}

// lane: what is informational or low, and what is experimental and below high,
// is stored for hunting; the rest alerts. Nothing enforces by itself.
func lane(level finding.Level, status string) finding.Lane {
	switch {
	case level == "informational" || level == "low":
		return finding.Hunt
	case status == "experimental" && level == "medium":
		return finding.Hunt
	}
	return finding.Alerts
}

// note is the description with who wrote the rule and under which licence: the
// Detection Rule License asks for the author to be named.
func (d *document) note() string {
	var b strings.Builder
	b.WriteString(d.description)
	line := func(what, s string) {
		if s != "" {
			if b.Len() > 0 {
				b.WriteByte('\n')
			}
			b.WriteString(what + ": " + s)
		}
	}
	line("Author", d.author)
	line("License", d.license)
	if d.license == "" && d.author != "" {
		line("License", "as of the rule's source; SigmaHQ's rules are under the Detection Rule License 1.1")
	}
	if b.Len() == 0 {
		return d.title
	}
	s := b.String()
	return strings.ToValidUTF8(s[:min(len(s), maxNote)], "")
}

// namespaces lists the schemes of tags that Sigma knows and that say nothing
// which a rule of the hub could use.
var namespaces = []string{"detection", "car", "stp", "tlp", "d3fend", "cve", "mitre", "threat-group", "threat_group", "emerging-threats"}

// knownTags keeps what the taxonomy knows, with where it stands; what it does
// not know is a warning.
func (p *problems) knownTags(d *document) (out []string, places []*node) {
	for i, tag := range d.tags {
		tag = strings.ReplaceAll(strings.ToLower(tag), "_", "-")
		scheme, _, _ := strings.Cut(tag, ".")
		if slices.Contains(namespaces, scheme) {
			continue
		}
		at := d.at
		if i < len(d.tagNodes) {
			at = &d.tagNodes[i]
		}
		if err := tags.Check(tag, lang.DidYouMean); err != nil {
			p.warn(at, "%v", err)
			continue
		}
		out, places = append(out, tag), append(places, at)
	}
	return out, places
}

func alert(d *document, o *origin, shown []string) rule.Alert {
	a := rule.Alert{Suppress: rule.DefaultSuppress, EntityType: o.Entity.Type}
	a.Title, _ = rule.ParseTemplate(strings.ReplaceAll(d.title, "{", "{{"))
	if col, ok := event.ByPath(o.Entity.Path); ok {
		a.EntityPath = col.ID
	}
	for _, path := range o.Show {
		addColumn(&a.Fields, path, o.families)
	}
	for _, path := range shown {
		addColumn(&a.Fields, path, o.families)
	}
	return a
}

func addColumn(list *[]event.ColumnID, path string, families event.Families) {
	col, ok := event.ByPath(path)
	if !ok || col.Kind == event.KindScores || col.Families&families == 0 || len(*list) >= maxShown || slices.Contains(*list, col.ID) {
		return
	}
	*list = append(*list, col.ID)
}

// maxTimespan bounds the windows of correlations.
const maxTimespan = 7 * 24 * time.Hour
