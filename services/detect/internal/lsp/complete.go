package lsp

import (
	"regexp"
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/taxonomy"
)

// maxItems bounds an answer; editors ask again when more is typed.
const maxItems = 400

// completer gathers the items for one place.
type completer struct {
	s      *Server
	d      *document
	at     place
	line   int
	byteAt int // of the cursor
	prefix string
	from   int
	items  []completionItem
}

func (s *Server) complete(d *document, p position) completionList {
	l := d.line(p.Line)
	c := &completer{s: s, d: d, line: p.Line, byteAt: offset(l, p.Character)}
	c.at = locate(d, p.Line, c.byteAt)
	c.prefix, c.from = c.at.prefix, c.at.from
	if d.isSigma() {
		c.sigma()
	} else {
		c.run()
	}
	list := completionList{Items: c.items}
	if list.Items == nil {
		list.Items = []completionItem{}
	}
	if len(list.Items) > maxItems {
		list.Items, list.IsIncomplete = list.Items[:maxItems], true
	}
	return list
}

func (c *completer) run() {
	if isCondition(c.at.path) {
		c.condition()
		return
	}
	if c.at.scalar {
		return
	}
	n, def := find(c.at.path)
	if strings.HasSuffix(c.at.path, "title") && strings.HasPrefix(c.at.path, "alert.") {
		c.template()
		return
	}
	if n == nil {
		c.free()
		return
	}
	keys := n.keys()
	if c.at.key && len(keys) > 0 {
		c.keys(n, keys)
		if isEvent(c.at.path) {
			c.fields(c.families(), ": ")
		}
		return
	}
	if values, name := n.values(def); len(values) > 0 {
		c.values(values, name)
		return
	}
	c.free()
}

// free is what no list of the schema says.
func (c *completer) free() {
	path := c.at.path
	switch {
	case strings.HasPrefix(path, "tags"):
		for _, id := range taxonomy.All() {
			c.add(completionItem{Label: id, Kind: kindEnum, Detail: taxonomy.Name(id), Documentation: markdown(tagDoc(id))})
		}
	case strings.HasPrefix(path, "correlate.group_by"):
		c.fields(c.families(), "")
		entries(c.d, func(e entry) {
			if e.key != "" && e.path == "correlate.aliases."+e.key {
				c.add(completionItem{Label: e.key, Kind: kindValue, Detail: "alias"})
			}
		})
	case strings.Contains(path, "product") || strings.HasSuffix(path, ".source") && isEvent(strings.TrimSuffix(path, ".source")):
		for _, name := range c.s.products() {
			c.add(completionItem{Label: name, Kind: kindValue, Detail: "source"})
		}
	case strings.HasPrefix(path, "correlate.rules") || strings.HasSuffix(path, ".rule"):
		for _, r := range c.s.known() {
			c.add(completionItem{Label: r.ID, Kind: kindValue, Detail: r.Title})
		}
	case strings.HasSuffix(path, "].class"):
		for i := range event.Classes {
			c.add(completionItem{Label: event.Classes[i].Name, Kind: kindEnum, Documentation: markdown(classDoc(&event.Classes[i]))})
		}
	}
}

var eventPath = regexp.MustCompile(`^tests\[\d+\]\.events\[\d+\]$`)

func isEvent(path string) bool { return eventPath.MatchString(path) }

func isCondition(path string) bool { return path == "when" || strings.HasSuffix(path, ".when") }

func (c *completer) keys(n *node, keys []string) {
	present := map[string]bool{}
	entries(c.d, func(e entry) {
		if e.key != "" && e.path == join(c.at.path, e.key) && e.line != c.line {
			present[e.key] = true
		}
	})
	required := map[string]bool{}
	for _, a := range n.alternatives() {
		for _, k := range a.Required {
			required[k] = true
		}
	}
	for _, k := range keys {
		if present[k] {
			continue
		}
		p, _ := n.property(k)
		item := completionItem{Label: k, Kind: kindProperty, Detail: p.Description, SortText: "1" + k}
		if required[k] {
			item.SortText = "0" + k
			item.Detail = strings.TrimSpace("required. " + p.Description)
		}
		c.insert(item, k+": ")
	}
}

func (c *completer) values(values []string, def string) {
	families := c.families()
	for _, v := range values {
		item := completionItem{Label: v, Kind: kindEnum}
		switch def {
		case "paths":
			col, ok := event.ByPath(v)
			if !ok || col.Families&families == 0 {
				continue
			}
			item.Kind, item.Detail, item.Documentation = kindField, fieldType(col), markdown(fieldDoc(col))
		case "classes":
			if cl, ok := event.ClassByName(v); ok {
				item.Detail, item.Documentation = "family "+cl.Family.String(), markdown(classDoc(cl))
			}
		}
		c.add(item)
	}
}

// condition completes fields, functions and words. Within a text there is
// nothing to say.
func (c *completer) condition() {
	l := c.d.line(c.line)[:c.byteAt]
	start := c.at.from
	if !c.at.scalar && strings.HasPrefix(l[start:], "'") {
		start++
	}
	if quoted(l[start:]) {
		return
	}
	from, _ := word(l, c.byteAt)
	c.from, c.prefix = max(from, start), l[max(from, start):]
	c.fields(c.families(), "")
	for _, name := range []string{"event.text", "unmapped."} {
		c.add(completionItem{Label: name, Kind: kindField, Detail: map[string]string{"event.text": "all texts of the event", "unmapped.": "a key that no column has, as text"}[name]})
	}
	for _, f := range functions {
		c.add(completionItem{Label: f.name, Kind: kindFunction, Detail: f.signature, Documentation: markdown(f.doc), InsertTextFormat: 2,
			TextEdit: &textEdit{NewText: f.snippet}})
	}
	for _, w := range operators {
		c.add(completionItem{Label: w, Kind: kindKeyword})
	}
}

// quoted reports whether a text of a condition is open at the end.
func quoted(s string) bool {
	quote := rune(0)
	escaped := false
	for _, r := range s {
		switch {
		case escaped:
			escaped = false
		case quote != 0 && r == '\\' && quote != '`':
			escaped = true
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\'' || r == '`'):
			quote = r
		}
	}
	return quote != 0
}

// template completes the placeholders of a title.
func (c *completer) template() {
	l := c.d.line(c.line)[:c.byteAt]
	open := strings.LastIndexByte(l, '{')
	if open < c.at.from || strings.Contains(l[open:], "}") {
		return
	}
	c.from, c.prefix = open+1, l[open+1:]
	for _, w := range []string{"count", "value", "threshold"} {
		c.insert(completionItem{Label: w, Kind: kindKeyword, Detail: "what the correlation measured"}, w+"}")
	}
	c.fields(c.families(), "}")
}

func (c *completer) fields(families event.Families, behind string) {
	for i := range event.Columns {
		col := &event.Columns[i]
		if col.Families&families == 0 {
			continue
		}
		c.insert(completionItem{Label: col.Path, Kind: kindField, Detail: fieldType(col), Documentation: markdown(fieldDoc(col)), SortText: "2" + col.Path}, col.Path+behind)
	}
}

func (c *completer) add(item completionItem) {
	text := item.Label
	if item.TextEdit != nil {
		text = item.TextEdit.NewText
	}
	c.insert(item, text)
}

// insert adds an item that replaces what is typed, if it begins like that.
func (c *completer) insert(item completionItem, text string) {
	prefix := strings.Trim(c.prefix, `"'`)
	if !strings.HasPrefix(strings.ToLower(item.Label), strings.ToLower(prefix)) && !strings.Contains(strings.ToLower(item.Label), "."+strings.ToLower(prefix)) {
		return
	}
	l := c.d.line(c.line)
	r := textRange{position{c.line, units(l[:min(c.from, len(l))])}, position{c.line, units(l[:c.byteAt])}}
	item.TextEdit = &textEdit{r, text}
	c.items = append(c.items, item)
}

// families are those that the source of the place's condition says.
func (c *completer) families() event.Families {
	prefix := ""
	if i := strings.Index(c.at.path, "].when"); i >= 0 && strings.HasPrefix(c.at.path, "correlate.steps") {
		prefix = c.at.path[:i+1] + "."
	}
	return families(c.d, prefix)
}

const allFamilies = event.Families(1<<len(event.FamilyNames) - 1)

// families derives what a source of a text says, as the loader does; all if it
// says nothing.
func families(d *document, prefix string) event.Families {
	var named, derived event.Families
	steps := false
	entries(d, func(e entry) {
		v := strings.Trim(e.value, `"' `)
		switch {
		case strings.HasPrefix(e.path, "correlate.steps"):
			steps = true
		}
		if e.key != "" {
			return
		}
		switch base, _, _ := strings.Cut(strings.TrimPrefix(e.path, prefix), "["); {
		case !strings.HasPrefix(e.path, prefix):
		case base == "source.class":
			if cl, ok := event.ClassByName(v); ok {
				derived |= rule.ClassFamilies(cl)
			}
		case base == "source.family":
			if f, ok := event.FamilyByName(v); ok {
				named |= 1 << f
			}
		}
	})
	switch {
	case named != 0:
		return named
	case derived != 0 && !(steps && prefix == ""):
		return derived
	}
	return allFamilies
}
