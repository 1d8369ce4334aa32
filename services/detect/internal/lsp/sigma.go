package lsp

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/sigma"
)

// The bounds of what is read of a workspace.
const (
	maxFiles    = 20_000
	maxFileSize = 2 << 20
)

// stamp tells whether a file has changed.
type stamp struct {
	modified time.Time
	size     int64
}

// reloadSigma reads the Sigma files of a folder that have changed: rules,
// filters and placeholders that an open file may name.
func (s *Server) reloadSigma(dir string) {
	seen := map[string]bool{}
	_ = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		ext := filepath.Ext(name)
		if err != nil || d.IsDir() || ext != ".yml" && ext != ".yaml" {
			return nil
		}
		if len(seen) >= maxFiles {
			return fs.SkipAll
		}
		info, err := d.Info()
		if err != nil || !info.Mode().IsRegular() || info.Size() > maxFileSize {
			return nil
		}
		seen[name] = true
		now := stamp{info.ModTime(), info.Size()}
		if s.read[name] == now {
			return nil
		}
		s.read[name] = now
		if data, err := os.ReadFile(name); err == nil && sigma.Recognize(data) {
			s.sigma.Set(rule.File{Name: filepath.ToSlash(name), Data: data})
		} else {
			s.sigma.Drop(filepath.ToSlash(name))
		}
		return nil
	})
	for name := range s.read {
		if !seen[name] {
			delete(s.read, name)
			s.sigma.Drop(filepath.ToSlash(name))
		}
	}
}

// fileName is the name by which reloadSigma knows a document.
func (s *Server) fileName(d *document) string {
	if p := filePath(d.uri); p != "" {
		return filepath.ToSlash(p)
	}
	return d.name
}

// logsource reads the logsource of the YAML document around a line, or of the
// first that has one: correlations have none.
func (d *document) logsource(line int) sigma.Logsource {
	from := min(line, len(d.lines)-1)
	for from > 0 && !strings.HasPrefix(d.line(from), "---") {
		from--
	}
	to := line
	for to < len(d.lines) && (to == from || !strings.HasPrefix(d.line(to), "---")) {
		to++
	}
	if l := logsourceOf(d.lines[from:to]); l != (sigma.Logsource{}) {
		return l
	}
	return logsourceOf(d.lines)
}

func logsourceOf(lines []string) (out sigma.Logsource) {
	entries(&document{lines: lines}, func(e entry) {
		value := strings.Trim(strings.TrimSpace(strings.SplitN(e.value, " #", 2)[0]), `"'`)
		for key, into := range map[string]*string{"logsource.category": &out.Category, "logsource.product": &out.Product, "logsource.service": &out.Service} {
			if e.path == key && e.key == "" && *into == "" {
				*into = value
			}
		}
	})
	return out
}

// modifierDocs says what stands behind a field.
var modifierDocs = map[string]string{
	"contains": "The value stands anywhere in the field.", "startswith": "The field begins with the value.", "endswith": "The field ends with the value.",
	"all": "All of the values, not one of them.", "re": "A regular expression, in RE2's syntax.", "i": "After re: case is ignored.", "m": "After re: ^ and $ are the ends of lines.",
	"s": "After re: a dot is a line break too.", "cidr": "The address lies in the network.", "base64": "The value, encoded with base64.",
	"base64offset": "The value, encoded with base64, wherever it begins.", "wide": "The value as UTF-16, little endian.", "utf16": "The value as UTF-16 with a byte order mark.",
	"utf16le": "The value as UTF-16, little endian.", "utf16be": "The value as UTF-16, big endian.", "windash": "A dash of an option is any of - / – — ―.",
	"exists": "The event has the field (true) or lacks it (false).", "fieldref": "The value is the name of another field of the event.", "gt": "More than.", "gte": "At least.",
	"lt": "Less than.", "lte": "At most.", "neq": "Any other value.", "cased": "Case matters.", "expand": "%name% stands for values that a document with vars gives.",
	"minute": "The minute of a time.", "hour": "The hour of a time.", "day": "The day of the month of a time.", "week": "The week of a time, by ISO 8601.",
	"month": "The month of a time.", "year": "The year of a time.",
}

// sigmaHover says which column a field of Sigma is, which events a logsource
// means, and what a modifier does.
func (s *Server) sigmaHover(d *document, p position) *hover {
	l := d.line(p.Line)
	from, to := word(l, offset(l, p.Character))
	name := l[from:to]
	if name == "" {
		return nil
	}
	text := ""
	switch where := locate(d, p.Line, from).path; {
	case from > 0 && l[from-1] == '|':
		if doc := modifierDocs[name]; doc != "" {
			text = "**" + name + "** — " + doc
		}
	case strings.HasPrefix(where, "logsource") || name == "logsource":
		if doc := sigma.Describe(d.logsource(p.Line)); doc != "" {
			text = doc
		}
	case isField(where, l[to:]):
		text = fieldText(d.logsource(p.Line), name)
	default:
		text = tagDoc(strings.ReplaceAll(strings.ToLower(name), "_", "-"))
	}
	if text == "" {
		return nil
	}
	return &hover{*markdown(text), textRange{position{p.Line, units(l[:from])}, position{p.Line, units(l[:to])}}}
}

// isField says that a word is the name of a field: a key of a search, or what a
// correlation or an alert names.
func isField(where, behind string) bool {
	if strings.HasPrefix(where, "fields") || strings.HasPrefix(where, "correlation.group-by") || strings.HasPrefix(where, "correlation.condition.field") {
		return true
	}
	behind = strings.TrimLeft(behind, "\"' ")
	in := strings.HasPrefix(where, "detection.") || strings.HasPrefix(where, "filter.")
	return in && (strings.HasPrefix(behind, ":") || strings.HasPrefix(behind, "|"))
}

func fieldText(l sigma.Logsource, name string) string {
	places, ok := sigma.Places(l, name)
	if !ok {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "**%s**", name)
	for _, p := range places {
		b.WriteString("\n\n")
		if p.Path != "" {
			b.WriteString("`" + p.Path + "`")
		}
		if c, ok := event.ByPath(p.Path); ok {
			b.WriteString(" — " + fieldType(c) + ", " + c.Doc)
		}
		if p.Note != "" {
			b.WriteString(" (" + p.Note + ")")
		}
	}
	return b.String()
}

// sigma completes keys, logsources, fields, modifiers and tags.
func (c *completer) sigma() {
	at := c.at
	l := c.d.logsource(c.line)
	switch {
	case at.scalar:
	case at.key && at.path == "":
		for _, k := range sigma.Keys() {
			c.insert(completionItem{Label: k, Kind: kindProperty}, k+": ")
		}
	case strings.HasPrefix(at.path, "logsource"):
		c.logsources(at, l)
	case strings.HasPrefix(at.path, "tags"):
		c.free()
	case strings.HasPrefix(at.path, "detection.") && at.key, strings.HasPrefix(at.path, "filter.") && at.key:
		c.sigmaFields(l)
	case strings.HasPrefix(at.path, "correlation.group-by"), strings.HasPrefix(at.path, "fields"):
		for _, name := range sigma.Fields(l) {
			c.add(completionItem{Label: name, Kind: kindField, Documentation: markdown(fieldText(l, name))})
		}
	}
}

// sigmaFields completes a field, or a modifier behind it.
func (c *completer) sigmaFields(l sigma.Logsource) {
	if i := strings.LastIndexByte(c.prefix, '|'); i >= 0 {
		c.prefix, c.from = c.prefix[i+1:], c.from+i+1
		for _, m := range sigma.Modifiers() {
			c.add(completionItem{Label: m, Kind: kindEnum, Detail: modifierDocs[m]})
		}
		return
	}
	for _, name := range sigma.Fields(l) {
		places, _ := sigma.Places(l, name)
		var paths []string
		for _, p := range places {
			paths = append(paths, p.Path)
		}
		c.add(completionItem{Label: name, Kind: kindField, Detail: strings.Join(paths, ", "), Documentation: markdown(fieldText(l, name))})
	}
}

// logsources completes the parts of a logsource with those that go with what is
// there.
func (c *completer) logsources(at place, l sigma.Logsource) {
	part := path.Ext(strings.ReplaceAll(at.path, "logsource.", "x."))
	if at.key {
		for _, k := range []string{"category", "product", "service"} {
			c.insert(completionItem{Label: k, Kind: kindProperty}, k+": ")
		}
		return
	}
	var out []string
	for _, o := range sigma.Logsources() {
		fits := func(have, want string) bool { return have == "" || have == want }
		v := ""
		switch part {
		case ".category":
			if v = o.Category; !fits(l.Product, o.Product) || !fits(l.Service, o.Service) {
				continue
			}
		case ".product":
			if v = o.Product; !fits(l.Category, o.Category) || !fits(l.Service, o.Service) {
				continue
			}
		case ".service":
			if v = o.Service; !fits(l.Category, o.Category) || !fits(l.Product, o.Product) {
				continue
			}
		}
		if v != "" && !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	slices.Sort(out)
	for _, v := range out {
		c.add(completionItem{Label: v, Kind: kindEnum})
	}
}
