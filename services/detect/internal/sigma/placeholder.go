package sigma

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// Bounds of the values of placeholders.
const (
	maxPlaceholders    = 1000
	maxPlaceholderSize = 4 << 10 // bytes of a value
)

// Placeholders are the values that %name% stands for where a field has the
// modifier expand. A value may have wildcards. They come from documents with
// vars, as pipelines of pySigma have them, and from the caller; a name of the
// caller's goes before one of a document.
type Placeholders map[string][]string

// placeholder is %name%, or the escape of a percent sign.
var placeholder = regexp.MustCompile(`\\%|%[^%\s]+%`)

// vars reads what a document says of placeholders: a mapping of names to a value
// or a list of values. What else a pipeline has is not for this loader.
func (p *problems) vars(n *node) Placeholders {
	for i := range n.pairs {
		switch key := &n.pairs[i].key; key.text {
		case "vars", "name", "priority", "allowed_backends":
		default:
			p.warn(key, "%s of a pipeline is not read: only vars, which gives placeholders their values", key.text)
		}
	}
	v := n.get("vars")
	if v.kind != mapping {
		p.error(v, "vars must be a mapping of placeholders to their values, such as {Workstations: [ws-*, desk-*]}")
		return nil
	}
	if len(v.pairs) > maxPlaceholders {
		p.error(v, "vars has %d placeholders, at most %d are allowed", len(v.pairs), maxPlaceholders)
		return nil
	}
	out := Placeholders{}
	for i := range v.pairs {
		key := &v.pairs[i].key
		if placeholder.FindString("%"+key.text+"%") != "%"+key.text+"%" {
			p.error(key, "%q cannot be the name of a placeholder: no blanks and no percent signs", key.text)
			continue
		}
		values := v.pairs[i].value.items
		if v.pairs[i].value.kind != list {
			values = []node{v.pairs[i].value}
		}
		list := make([]string, 0, len(values))
		for j := range values {
			switch it := &values[j]; {
			case it.kind != text && it.kind != number && it.kind != boolean:
				p.error(it, "a value of the placeholder %s must be a text or a number", key.text)
			case len(it.text) > maxPlaceholderSize || len(values) > maxValues:
				p.error(it, "placeholder %s is too large (at most %d values of %d bytes)", key.text, maxValues, maxPlaceholderSize)
				return out
			default:
				list = append(list, it.text)
			}
		}
		out[key.text] = list
	}
	return out
}

// gather collects the values of all documents. A name that two of them give is
// a mistake, because it depended on the order of files which of them counts.
func (s *set) gather(files []parsedFile, given Placeholders) {
	s.values = Placeholders{}
	from := map[string]string{}
	for i := range files {
		f := &files[i]
		for _, d := range f.docs {
			for name, list := range d.vars {
				if other, twice := from[name]; twice {
					f.p.error(d.at, "placeholder %s has values in %s already", name, other)
					continue
				}
				from[name], s.values[name] = d.file, list
			}
		}
	}
	maps.Copy(s.values, given)
}

// expand puts the values of placeholders in. ok is false if one has none.
func (g *generator) expand(a *atom) (out *atom, ok bool) {
	out = &atom{at: a.at, field: a.field, mods: without(a.mods, "expand"), all: a.all}
	for i := range a.values {
		v := &a.values[i]
		texts := []string{""}
		rest := v.text
		for rest != "" {
			at := placeholder.FindStringIndex(rest)
			if at == nil {
				texts = product(texts, []string{rest})
				break
			}
			token := rest[at[0]:at[1]]
			texts = product(texts, []string{rest[:at[0]]})
			rest = rest[at[1]:]
			if token == `\%` {
				texts = product(texts, []string{"%"})
				continue
			}
			name := strings.Trim(token, "%")
			g.used[name] = true
			values := g.vars[name]
			if len(values) == 0 {
				g.unsupported(v, "placeholder %%%s%% has no values: give them as vars in a file of the rules, or to import with --placeholder", name)
				return nil, false
			}
			if a.has("re") {
				values = quoteMeta(values)
			}
			if len(texts)*len(values) > maxValues {
				g.unsupported(v, "%s has more than %d values", a.field, maxValues)
				return nil, false
			}
			texts = product(texts, values)
		}
		for _, t := range texts {
			out.values = append(out.values, node{kind: text, text: t, line: v.line, column: v.column})
		}
		if len(out.values) > maxValues {
			g.unsupported(v, "%s has more than %d values", a.field, maxValues)
			return nil, false
		}
	}
	return out, true
}

// unused warns of values that the caller gives and no rule asks for: most often
// a slip in the name.
func unused(files []parsedFile, given Placeholders) (out []rule.Problem) {
	asked := map[string]bool{}
	for i := range files {
		for _, d := range files[i].docs {
			maps.Copy(asked, d.used)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !asked[name] {
			hint := lang.DidYouMean(name, slices.Sorted(maps.Keys(asked)))
			out = append(out, rule.Problem{File: "--placeholder", Line: 1, Column: 1, Warning: true, Message: "no rule has a placeholder %" + name + "%" + hint})
		}
	}
	return out
}

// product joins each text with each value.
func product(texts, values []string) []string {
	out := make([]string, 0, len(texts)*len(values))
	for _, t := range texts {
		for _, v := range values {
			out = append(out, t+v)
		}
	}
	return out
}

func quoteMeta(values []string) []string {
	out := slices.Clone(values)
	for i, v := range out {
		out[i] = regexp.QuoteMeta(v)
	}
	return out
}
