package rule

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

// maxFile bounds a rule file in bytes.
const maxFile = 2 << 20

// reader walks a YAML tree and collects problems with their positions. It is
// strict: an unknown key, a repeated key or a value of the wrong type is an
// error, and anchors, aliases and tags are refused.
type reader struct {
	file     string
	lines    []string
	problems []Problem
	meant    map[string]bool // "mapping.key" of keys that are written wrong
}

func (r *reader) errorAt(line, column int, format string, args ...any) {
	r.problems = append(r.problems, Problem{File: r.file, Line: line, Column: column, Message: fmt.Sprintf(format, args...)})
}

func (r *reader) error(n ast.Node, format string, args ...any) {
	line, column := position(n)
	r.errorAt(line, column, format, args...)
}

func (r *reader) warn(n ast.Node, format string, args ...any) {
	line, column := position(n)
	r.problems = append(r.problems, Problem{File: r.file, Line: line, Column: column, Warning: true, Message: fmt.Sprintf(format, args...)})
}

func position(n ast.Node) (line, column int) {
	if n == nil {
		return 1, 1
	}
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 {
		n = m.Values[0].Key
	}
	if m, ok := n.(*ast.MappingValueNode); ok {
		n = m.Key
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line, t.Position.Column
	}
	return 1, 1
}

// parse returns the document's root, or nil with a problem reported.
func (r *reader) parse(data []byte) (root ast.Node) {
	if len(data) > maxFile {
		r.errorAt(1, 1, "file has %d bytes, at most %d are allowed", len(data), maxFile)
		return nil
	}
	if line, column, why := NotText(data); why != "" {
		r.errorAt(line, column, "%s", why)
		return nil
	}
	// A file is input: whatever the library does with it, the service stays up.
	defer func() {
		if p := recover(); p != nil {
			r.errorAt(1, 1, "YAML cannot be read: %v", p)
			root = nil
		}
	}()
	data = bytes.TrimPrefix(data, byteOrderMark)
	r.lines = strings.Split(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n")
	f, err := parser.ParseBytes(data, 0)
	if err != nil {
		line, column := 1, 1
		var ye yaml.Error
		if errors.As(err, &ye) {
			if t := ye.GetToken(); t != nil && t.Position != nil {
				line, column = t.Position.Line, t.Position.Column
			}
			r.errorAt(line, column, "%s%s", ye.GetMessage(), r.indentHint(line))
			return nil
		}
		r.errorAt(line, column, "%v", err)
		return nil
	}
	if len(f.Docs) > 1 {
		line := 1
		if start := f.Docs[1].Start; start != nil && start.Position != nil {
			line = start.Position.Line
		}
		r.errorAt(line, 1, "a rule file holds exactly one document: put the others into files of their own")
		return nil
	}
	if len(f.Docs) == 0 || f.Docs[0].Body == nil {
		r.errorAt(1, 1, "the file is empty: `vagus rules new` writes one to begin with")
		return nil
	}
	return f.Docs[0].Body
}

// indentHint says what is wrong with a line that begins with a tab.
func (r *reader) indentHint(line int) string {
	if line > len(r.lines) || !strings.HasPrefix(strings.TrimLeft(r.lines[line-1], " "), "\t") {
		return ""
	}
	return ": the line is indented by a tab, and YAML takes blanks alone"
}

// field is a key of a mapping.
type field struct {
	key   ast.Node
	value ast.Node
}

// pairs reads a mapping in order.
func (r *reader) pairs(n ast.Node, what string) ([]string, map[string]field) {
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		r.error(n, "%s must be a mapping", what)
		return nil, nil
	}
	var order []string
	out := make(map[string]field, len(values))
	for _, v := range values {
		key, ok := v.Key.(ast.Node).(*ast.StringNode)
		if !ok {
			r.error(v.Key, "key of %s must be a plain text", what)
			continue
		}
		if _, twice := out[key.Value]; twice {
			r.error(key, "key %s is repeated", key.Value)
			continue
		}
		order = append(order, key.Value)
		out[key.Value] = field{key, v.Value}
	}
	return order, out
}

// mapping reads a mapping with known keys; those that end in "!" are required.
func (r *reader) mapping(n ast.Node, what string, keys ...string) map[string]field {
	order, got := r.pairs(n, what)
	if got == nil {
		return nil
	}
	known := map[string]bool{}
	var names []string
	for _, k := range keys {
		name := strings.TrimSuffix(k, "!")
		known[name] = true
		names = append(names, name)
	}
	sort.Strings(names)
	meant := map[string]bool{}
	for _, k := range order {
		if known[k] {
			continue
		}
		name, hint := nearestKey(k, names)
		if r.meant == nil {
			r.meant = map[string]bool{}
		}
		meant[name], r.meant[what+"."+name] = true, true
		r.error(got[k].key, "unknown key %s in %s%s", k, what, hint)
	}
	for _, k := range keys {
		name := strings.TrimSuffix(k, "!")
		// What is written wrong is not missing, too.
		if _, ok := got[name]; !ok && name != k && !meant[name] {
			r.error(n, "%s lacks %s", what, name)
		}
	}
	return got
}

// elsewhere has keys of other systems and what they are called here.
var elsewhere = map[string]string{
	"name": "title", "severity": "level", "logsource": "source", "detection": "when", "query": "when", "filter": "when",
	"timeframe": "timespan", "window_size": "timespan", "threshold": "condition", "group-by": "group_by", "by": "group_by",
	"falsepositives": "false_positives", "dedup_period_minutes": "suppress", "dedupperiodminutes": "suppress", "ignore": "suppress",
}

// nearestKey finds the key that an unknown one is meant to be, "" if none is near,
// and says so.
func nearestKey(written string, names []string) (key, hint string) {
	if name := elsewhere[strings.ToLower(written)]; slices.Contains(names, name) {
		return name, ": did you mean " + name + "?"
	}
	hint = lang.DidYouMean(written, names)
	if hint == "" {
		return "", " (known: " + strings.Join(names, ", ") + ")"
	}
	return strings.TrimSuffix(strings.TrimPrefix(hint, ": did you mean "), "?"), hint
}

// text reads a text; numbers and booleans are refused so that nothing is
// silently rewritten.
func (r *reader) text(f field, what string) string {
	switch n := f.value.(type) {
	case nil:
		return ""
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return strings.TrimSpace(n.Value.Value)
	default:
		r.error(f.value, "%s must be a text", what)
	}
	return ""
}

// oneOf reads a text out of a fixed set.
func (r *reader) oneOf(f field, what string, allowed ...string) string {
	if f.value == nil {
		return ""
	}
	s := r.text(f, what)
	for _, a := range allowed {
		if s == a {
			return s
		}
	}
	if s != "" {
		r.error(f.value, "%s %s is unknown%s (one of %s)", what, s, lang.DidYouMean(s, allowed), strings.Join(allowed, ", "))
	}
	return ""
}

// items reads a list; a single value counts as a list of one.
func (r *reader) items(f field) []field {
	switch n := f.value.(type) {
	case nil:
		return nil
	case *ast.SequenceNode:
		out := make([]field, len(n.Values))
		for i, v := range n.Values {
			out[i] = field{f.key, v}
		}
		return out
	}
	return []field{f}
}

func (r *reader) texts(f field, what string) []string {
	var out []string
	for _, item := range r.items(f) {
		if s := r.text(item, what); s != "" {
			out = append(out, s)
		}
	}
	return out
}

func (r *reader) duration(f field, what string) time.Duration {
	if f.value == nil {
		return 0
	}
	if n, ok := f.value.(*ast.IntegerNode); ok {
		r.error(f.value, "%s %s lacks a unit: 30s, 5m, 2h or 7d", what, n.Token.Value)
		return 0
	}
	before := len(r.problems)
	s := r.text(f, what)
	d, err := parseDuration(s)
	if len(r.problems) == before && (err != nil || d < 0) {
		r.error(f.value, "%s %s is not a duration such as 30s, 5m, 2h or 7d", what, s)
		return 0
	}
	return d
}

// parseDuration adds days and weeks to what Go reads.
func parseDuration(s string) (time.Duration, error) {
	for unit, hours := range map[string]time.Duration{"d": 24, "w": 7 * 24} {
		if n, ok := strings.CutSuffix(s, unit); ok {
			d, err := time.ParseDuration(n + "h")
			if err == nil && max(d, -d) > math.MaxInt64/hours {
				err = fmt.Errorf("duration %q is too long", s)
			}
			return hours * d, err
		}
	}
	return time.ParseDuration(s)
}

func (r *reader) integer(f field, what string) int {
	switch n := f.value.(type) {
	case nil:
		return 0
	case *ast.IntegerNode:
		switch v := n.Value.(type) {
		case int64:
			return int(v)
		case uint64:
			if v < 1<<62 {
				return int(v)
			}
		}
	}
	r.error(f.value, "%s must be a whole number", what)
	return 0
}

// number reads a whole number or one with a fraction.
func (r *reader) number(f field, what string) float64 {
	switch n := f.value.(type) {
	case nil:
		return 0
	case *ast.FloatNode:
		if math.Abs(n.Value) < 1e15 {
			return n.Value
		}
	case *ast.IntegerNode:
		switch v := n.Value.(type) {
		case int64:
			if v > -1e15 {
				return float64(v)
			}
		case uint64:
			if v < 1e15 {
				return float64(v)
			}
		}
	}
	r.error(f.value, "%s must be a number", what)
	return 0
}

func (r *reader) boolean(f field, what string) bool {
	if b, ok := f.value.(*ast.BoolNode); ok {
		return b.Value
	}
	r.error(f.value, "%s must be true or false", what)
	return true
}

// expression returns an expression's text as it stands in the file, with the
// position of its first character, so that errors point at the right place.
func (r *reader) expression(f field) (text string, line, column int) {
	switch n := f.value.(type) {
	case *ast.StringNode:
		line, column = position(n)
		if n.Token.Type == token.DoubleQuoteType || n.Token.Type == token.SingleQuoteType {
			column++
		}
		return n.Value, line, column
	case *ast.LiteralNode:
		line, _ = position(n)
		indent := -1
		var out []string
		for _, l := range r.lines[min(line, len(r.lines)):] {
			body := strings.TrimLeft(l, " ")
			if body != "" {
				if own := len(l) - len(body); indent < 0 {
					indent = own
				} else if own < indent {
					break
				}
				if indent == 0 {
					break
				}
			}
			if body == "" {
				out = append(out, "")
				continue
			}
			out = append(out, l[indent:])
		}
		return strings.TrimRight(strings.Join(out, "\n"), "\n "), line + 1, max(indent, 0) + 1 // an empty text has no indent
	}
	r.error(f.value, "expression must be a text")
	return "", 1, 1
}
