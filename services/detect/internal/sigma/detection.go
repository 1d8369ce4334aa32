package sigma

import (
	"strings"

	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

type treeOp uint8

const (
	opAtom treeOp = iota
	opAnd
	opOr
	opNot
)

// tree is a detection: atoms joined by and, or and not.
type tree struct {
	op   treeOp
	kids []*tree
	atom *atom
}

// atom compares one field, or the whole event if it has no name, with values.
type atom struct {
	at     *node
	field  string
	mods   []string
	all    bool // all values must fit, else one
	values []node
}

func (a *atom) has(mod string) bool {
	for _, m := range a.mods {
		if m == mod {
			return true
		}
	}
	return false
}

// modifiers lists what may stand behind a field.
var modifiers = []string{"contains", "startswith", "endswith", "all", "re", "i", "m", "s", "cidr", "base64", "base64offset", "wide", "utf16", "utf16le", "utf16be",
	"windash", "exists", "fieldref", "gt", "gte", "lt", "lte", "neq", "cased", "expand", "minute", "hour", "day", "week", "month", "year"}

// detection reads search identifiers and condition into one tree.
func (p *problems) detection(n *node, what string, other ...string) *tree {
	if n.kind != mapping {
		p.error(n, "%s must be a mapping", what)
		return nil
	}
	searches := map[string]*tree{}
	var names []string
	var keys []*node
pairs:
	for i := range n.pairs {
		key, value := &n.pairs[i].key, &n.pairs[i].value
		for _, o := range other {
			if key.text == o {
				continue pairs
			}
		}
		switch key.text {
		case "condition":
			continue
		case "timeframe":
			p.error(key, "unsupported: timeframe is of Sigma 1; write a correlation")
			continue
		}
		names, keys = append(names, key.text), append(keys, key)
		searches[key.text] = p.search(key, value)
	}
	c := n.get("condition")
	if c == nil {
		p.error(n, "%s lacks condition", what)
		return nil
	}
	if len(names) == 0 {
		p.error(n, "%s has nothing to search for", what)
		return nil
	}
	conditions := []node{*c}
	if c.kind == list {
		conditions = c.items
	}
	var out []*tree
	used := map[string]bool{}
	for i := range conditions {
		if conditions[i].kind != text {
			p.error(&conditions[i], "condition must be a text")
			continue
		}
		if t := p.condition(&conditions[i], searches, names, used); t != nil {
			out = append(out, t)
		}
	}
	for i, name := range names {
		if !used[name] && !strings.HasPrefix(name, "_") {
			p.warn(keys[i], "search %s is not used in the condition", name)
		}
	}
	return joined(opOr, out)
}

func joined(op treeOp, kids []*tree) *tree {
	switch len(kids) {
	case 0:
		return nil
	case 1:
		return kids[0]
	}
	return &tree{op: op, kids: kids}
}

// search reads what a search identifier stands for: a map (all of), a list of
// maps (one of), or keywords.
func (p *problems) search(key, n *node) *tree {
	switch n.kind {
	case mapping:
		var kids []*tree
		before := p.errors()
		for i := range n.pairs {
			if t := p.item(&n.pairs[i].key, &n.pairs[i].value); t != nil {
				kids = append(kids, t)
			}
		}
		if len(kids) == 0 && p.errors() == before {
			p.error(n, "search %s is empty", key.text)
		}
		return joined(opAnd, kids)
	case list:
		var kids []*tree
		words := &atom{at: n}
		for i := range n.items {
			switch it := &n.items[i]; it.kind {
			case mapping, list:
				if t := p.search(key, it); t != nil {
					kids = append(kids, t)
				}
			default:
				words.values = append(words.values, *it)
			}
		}
		p.empty(words, key.text)
		if len(words.values) > 0 {
			kids = append(kids, &tree{atom: words})
		}
		if len(kids) == 0 {
			p.error(n, "search %s is empty", key.text)
		}
		return joined(opOr, kids)
	case null:
		p.error(key, "search %s is empty", key.text)
		return nil
	}
	word := &atom{at: n, values: []node{*n}}
	p.empty(word, key.text)
	return &tree{atom: word}
}

// item reads one "field|modifier: values".
func (p *problems) item(key, value *node) *tree {
	parts := strings.Split(key.text, "|")
	a := &atom{at: key, field: strings.TrimSpace(parts[0])}
	for _, m := range parts[1:] {
		m = strings.TrimSpace(m)
		if m == "utf16le" {
			m = "wide"
		}
		if m == "all" {
			a.all = true
			continue
		}
		valid := false
		for _, k := range modifiers {
			valid = valid || k == m
		}
		if !valid {
			p.error(key, "unknown modifier %s%s", m, lang.DidYouMean(m, modifiers))
			return nil
		}
		a.mods = append(a.mods, m)
	}
	switch value.kind {
	case list:
		for i := range value.items {
			if k := value.items[i].kind; k == list || k == mapping {
				p.error(&value.items[i], "a value of %s must be a text, a number, true, false or null", key.text)
				return nil
			}
		}
		a.values = value.items
		if len(a.values) == 0 {
			p.error(value, "%s has no values", key.text)
			return nil
		}
	case mapping:
		p.error(value, "%s must have a value or a list of values", key.text)
		return nil
	default:
		a.values = []node{*value}
	}
	before := p.errors()
	if p.empty(a, key.text); p.errors() > before {
		return nil
	}
	t := &tree{atom: a}
	if a.has("neq") {
		a.mods = without(a.mods, "neq")
		t = &tree{op: opNot, kids: []*tree{t}}
	}
	return t
}

func without(list []string, drop string) []string {
	var out []string
	for _, s := range list {
		if s != drop {
			out = append(out, s)
		}
	}
	return out
}
