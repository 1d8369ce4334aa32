package lsp

import "strings"

// symbols is the outline of a document: its keys, with steps, tests and
// exceptions below theirs.
func symbols(d *document) []documentSymbol {
	out := []documentSymbol{}
	entries(d, func(e entry) {
		if len(out) > 5000 {
			return
		}
		l := d.line(e.line)
		end := e.at + len(e.key)
		if e.key == "" || end > len(l) {
			return
		}
		r := textRange{position{e.line, units(l[:e.at])}, position{e.line, units(l)}}
		sym := documentSymbol{Name: e.key, Kind: symbolKey, Range: r, SelectionRange: textRange{r.Start, position{e.line, units(l[:end])}}}
		value := strings.TrimSpace(strings.TrimPrefix(l[end:], ":"))
		switch {
		case e.path == e.key:
			if len([]rune(value)) <= 80 {
				sym.Detail = value
			}
			out = append(out, sym)
		case e.key == "name" && len(out) > 0 && (strings.HasPrefix(e.path, "tests[") || strings.HasPrefix(e.path, "correlate.steps[")):
			sym.Name, sym.Kind = strings.Trim(strings.SplitN(value, ",", 2)[0], `"'`), symbolObject
			if sym.Name == "" {
				sym.Name = "…"
			}
			top := &out[len(out)-1]
			top.Children = append(top.Children, sym)
		case e.key == "reason" && len(out) > 0 && strings.HasPrefix(e.path, "exceptions["):
			sym.Name, sym.Kind = "exception", symbolObject
			top := &out[len(out)-1]
			top.Children = append(top.Children, sym)
		}
	})
	// A key reaches down to the next one.
	for i := range out {
		last := len(d.lines) - 1
		if i+1 < len(out) {
			last = out[i+1].Range.Start.Line - 1
		}
		if last > out[i].Range.Start.Line {
			out[i].Range.End = position{last, units(d.line(last))}
		}
	}
	return out
}
