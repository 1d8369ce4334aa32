package lsp

import (
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/taxonomy"
)

// hover says what the word at a position is; nil if that is not known.
func (s *Server) hover(d *document, p position) *hover {
	if d.isSigma() {
		return s.sigmaHover(d, p)
	}
	l := d.line(p.Line)
	at := offset(l, p.Character)
	from, to := word(l, at)
	name := strings.Trim(l[from:to], ".-")
	from += strings.Index(l[from:to], name)
	to = from + len(name)
	if name == "" {
		return nil
	}
	where := locate(d, p.Line, to)
	text := s.describe(name, where, strings.HasPrefix(strings.TrimLeft(l[to:], " "), ":"))
	if text == "" {
		return nil
	}
	return &hover{*markdown(text), textRange{position{p.Line, units(l[:from])}, position{p.Line, units(l[:to])}}}
}

func (s *Server) describe(name string, where place, key bool) string {
	if f, ok := functionByName(name); ok && isCondition(where.path) {
		return "**" + f.signature + "**\n\n" + f.doc
	}
	if c, ok := event.ByPath(name); ok && !(key && where.key && !isEvent(where.path)) {
		return fieldDoc(c)
	}
	if t := tagDoc(name); t != "" && taxonomy.Name(name) != "" {
		return t
	}
	if c, ok := event.ClassByName(name); ok {
		return classDoc(c)
	}
	if strings.HasPrefix(where.path, "correlate.rules") || strings.HasSuffix(where.path, ".rule") {
		for _, r := range s.known() {
			if r.ID == name {
				return "**" + r.ID + "** — " + r.Title + "\n\n" + r.Description
			}
		}
	}
	if !where.key {
		return ""
	}
	if n, _ := find(join(where.path, name)); n != nil && n.Description != "" {
		return "**" + name + "** — " + n.Description
	}
	return ""
}
