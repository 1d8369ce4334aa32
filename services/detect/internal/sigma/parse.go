package sigma

import (
	"bytes"
	"strings"

	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

// document is one parsed YAML document: a rule, a correlation, a filter, or
// values of placeholders.
type document struct {
	file  string
	at    *node // the document
	id    string
	name  string
	title string

	description, status, level, author, license, date string

	references, falsePositives, tags, fields []string

	tagNodes    []node
	source      logsource
	detection   *tree        // rules and filters
	correlation *correlation // correlations
	filter      *filter      // filters
	vars        Placeholders // values of placeholders

	used map[string]bool // placeholders that its detection and filters have
}

// logsource is where a rule's events come from.
type logsource struct {
	at                         *node
	category, product, service string
}

// String is category/product/service, with - for what is not given.
func (l logsource) String() string {
	or := func(s string) string {
		if s == "" {
			return "-"
		}
		return s
	}
	return or(l.category) + "/" + or(l.product) + "/" + or(l.service)
}

// covers reports whether a filter for l applies to rules for other.
func (l logsource) covers(other logsource) bool {
	return (l.category == "" || l.category == other.category) && (l.product == "" || l.product == other.product) && (l.service == "" || l.service == other.service)
}

// filter says which rules a filter document belongs to.
type filter struct {
	any   bool
	rules []node // ids or names
}

// Recognize reports whether a file is Sigma's: a line of it begins with one of
// the keys that only Sigma has.
func Recognize(data []byte) bool {
	for _, key := range []string{"detection:", "correlation:", "filter:", "vars:"} {
		if bytes.HasPrefix(data, []byte(key)) || bytes.Contains(data, []byte("\n"+key)) {
			return true
		}
	}
	return false
}

// known lists the keys of documents by the specification, and those that
// SigmaHQ adds.
var known = []string{"title", "id", "related", "name", "taxonomy", "status", "description", "license", "author", "references", "date", "modified",
	"logsource", "detection", "correlation", "filter", "fields", "falsepositives", "level", "tags", "scope", "generate", "custom", "simulation", "regression_tests_path"}

// parse reads the documents of a file; those with errors are left out.
func (p *problems) parse(data []byte) []*document {
	var out []*document
	for _, n := range p.documents(data) {
		before := p.errors()
		if d := p.document(&n); d != nil && p.errors() == before {
			out = append(out, d)
		}
	}
	return out
}

func (p *problems) errors() (n int) {
	for i := range p.list {
		if !p.list[i].Warning {
			n++
		}
	}
	return n
}

func (p *problems) document(n *node) *document {
	if n.kind != mapping {
		p.error(n, "a Sigma document must be a mapping")
		return nil
	}
	if a := n.get("action"); a != nil {
		p.error(a, "unsupported: collections with action: %s are of Sigma 1 and no longer part of the specification", a.text)
		return nil
	}
	d := &document{file: p.file, at: n}
	if n.get("vars") != nil && n.get("detection") == nil {
		d.title, d.vars = p.scalar(n, "name"), p.vars(n)
		return d
	}
	for i := range n.pairs {
		p.misspelt(&n.pairs[i].key)
	}
	d.title, d.id, d.name = p.scalar(n, "title"), strings.ToLower(p.scalar(n, "id")), p.scalar(n, "name")
	d.description, d.author, d.license, d.date = p.scalar(n, "description"), p.scalar(n, "author"), p.scalar(n, "license"), p.scalar(n, "date")
	d.status, d.level = p.oneOf(n, "status", "stable", "test", "experimental", "deprecated", "unsupported"), p.oneOf(n, "level", "informational", "low", "medium", "high", "critical")
	d.references, d.falsePositives, d.fields = p.texts(n, "references"), p.texts(n, "falsepositives"), p.texts(n, "fields")
	if t := n.get("tags"); t != nil {
		d.tags = p.texts(n, "tags")
		for _, it := range append(t.items, *t) {
			if it.kind == text || it.kind == number || it.kind == boolean {
				d.tagNodes = append(d.tagNodes, it)
			}
		}
	}
	if t := p.scalar(n, "taxonomy"); t != "" && t != "sigma" {
		p.error(n.get("taxonomy"), "unsupported: taxonomy %s (only the default, sigma, is known)", t)
	}
	if d.title == "" {
		p.error(n, "the document lacks title")
	}
	if len(d.title) > 1024 || len(d.description) > 65535 {
		p.error(n, "title or description is too long (1,024 and 65,535 bytes at most)")
	}
	p.body(n, d)
	return d
}

// body reads what makes the document a rule, a correlation or a filter.
func (p *problems) body(n *node, d *document) {
	detection, correlation, filter := n.get("detection"), n.get("correlation"), n.get("filter")
	given := 0
	for _, b := range []*node{detection, correlation, filter} {
		if b != nil {
			given++
		}
	}
	if given != 1 {
		p.error(n, "the document must have exactly one of detection, correlation and filter")
		return
	}
	if correlation != nil {
		d.correlation = p.correlation(n, correlation)
		return
	}
	d.source = p.logsource(n)
	if detection != nil {
		d.detection = p.detection(detection, "detection")
		return
	}
	if filter.kind != mapping {
		p.error(filter, "filter must be a mapping")
		return
	}
	d.filter = p.filterRules(filter)
	d.detection = p.detection(filter, "filter", "rules")
}

func (p *problems) filterRules(n *node) *filter {
	r := n.get("rules")
	switch {
	case r == nil:
		p.error(n, "filter lacks rules: the ids or names of the rules that it belongs to, or any")
	case r.kind == text && r.text == "any":
		return &filter{any: true}
	case r.kind == text:
		return &filter{rules: []node{*r}}
	case r.kind == list:
		return &filter{rules: r.items}
	default:
		p.error(r, "rules must be a list of ids or names, or any")
	}
	return &filter{}
}

func (p *problems) logsource(n *node) logsource {
	l := n.get("logsource")
	if l == nil {
		p.error(n, "the rule lacks logsource")
		return logsource{}
	}
	if l.kind != mapping {
		p.error(l, "logsource must be a mapping")
		return logsource{}
	}
	out := logsource{at: l, category: p.scalar(l, "category"), product: p.scalar(l, "product"), service: p.scalar(l, "service")}
	if out.category == "" && out.product == "" && out.service == "" {
		p.error(l, "logsource needs a category, product or service")
	}
	return out
}

// misspelt warns of keys that are nearly ones of the specification. Others are
// the author's own, which the specification allows.
func (p *problems) misspelt(key *node) {
	for _, k := range known {
		if k == key.text {
			return
		}
	}
	if hint := lang.DidYouMean(key.text, known); hint != "" && len(key.text) > 4 {
		p.warn(key, "unknown key %s%s", key.text, hint)
	}
}

// scalar reads a text; numbers and dates count as their text.
func (p *problems) scalar(n *node, key string) string {
	v := n.get(key)
	if v == nil || v.kind == null {
		return ""
	}
	if v.kind == list || v.kind == mapping {
		p.error(v, "%s must be a text", key)
		return ""
	}
	return strings.TrimSpace(v.text)
}

func (p *problems) oneOf(n *node, key string, allowed ...string) string {
	s := strings.ToLower(p.scalar(n, key))
	if s == "" {
		return ""
	}
	for _, a := range allowed {
		if s == a {
			return s
		}
	}
	p.error(n.get(key), "%s %s is unknown%s (one of %s)", key, s, lang.DidYouMean(s, allowed), strings.Join(allowed, ", "))
	return ""
}

// texts reads a list of texts; a single one counts as a list.
func (p *problems) texts(n *node, key string) []string {
	v := n.get(key)
	if v == nil || v.kind == null {
		return nil
	}
	if v.kind != list {
		if s := p.scalar(n, key); s != "" {
			return []string{s}
		}
		return nil
	}
	var out []string
	for i := range v.items {
		switch it := &v.items[i]; it.kind {
		case text, number, boolean:
			out = append(out, strings.TrimSpace(it.text))
		case null:
		default:
			p.warn(it, "%s holds something that is no text; it is left out", key)
		}
	}
	return out
}
