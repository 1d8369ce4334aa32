package wazuh

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/re2"
)

// clause is a condition with the families of events that can fulfil it.
type clause struct {
	text     string // "": always
	families event.Families
}

const everyFamily = event.Families(1<<len(event.FamilyNames) - 1)

func and(list ...clause) clause { return combine(list, " and ") }

func or(list ...clause) clause { return combine(list, " or ") }

func combine(list []clause, op string) clause {
	out := clause{families: everyFamily}
	if op == " or " {
		out.families = 0
	}
	var texts []string
	for _, c := range list {
		if op == " or " {
			out.families |= c.families
			if c.text == "" {
				return clause{families: everyFamily}
			}
		} else {
			out.families &= c.families
		}
		if c.text != "" && !slices.Contains(texts, c.text) {
			texts = append(texts, c.text)
		}
	}
	switch len(texts) {
	case 0:
	case 1:
		out.text = texts[0]
	default:
		out.text = "(" + strings.Join(texts, op) + ")"
	}
	return out
}

// quote writes a text as JSON does, which YAML and conditions read alike.
func quote(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a text can always be encoded
	return strings.TrimSuffix(b.String(), "\n")
}

// pattern compares the paths with a pattern in one of Wazuh's dialects.
func pattern(paths []string, dialect, text string, negate bool) (clause, error) {
	var any []clause
	for _, p := range paths {
		c, err := compare(p, dialect, text)
		if err != nil {
			return clause{}, err
		}
		any = append(any, c)
	}
	out := or(any...)
	if negate && out.text != "" {
		out = clause{"not (" + out.text + ")", everyFamily}
	}
	return out, nil
}

func compare(path, dialect, text string) (clause, error) {
	fams := everyFamily
	col, ok := event.ByPath(path)
	if ok {
		fams = col.Families
	}
	switch text {
	case `\.+`, `\S+`, `.+`, `^.+$`, `\d+`, `\w+`, `^\d+$`:
		return clause{"exists(" + path + ")", fams}, nil
	case `\.*`, `.*`, `\d*`:
		return clause{families: everyFamily}, nil
	case "null", "^null$":
		return clause{"not exists(" + path + ")", everyFamily}, nil
	}
	if ok {
		switch {
		case col.Kind == event.KindIP:
			return address(path, text, fams)
		case col.Kind.Number():
			return number(path, text, fams)
		case !col.Kind.Text():
			return clause{}, fmt.Errorf("%s cannot be compared with a pattern", path)
		}
	}
	switch dialect {
	case "pcre2":
		re, err := re2.Perl(text)
		if err != nil {
			return clause{}, fmt.Errorf("regular expression: %w", err)
		}
		return clause{path + " matches " + quote(re), fams}, nil
	case "osmatch":
		return words(path, re2.OSMatch(text), fams), nil
	}
	if list, ok := plain(text); ok {
		return words(path, list, fams), nil
	}
	re, err := re2.OSRegex(text)
	if err != nil {
		return clause{}, fmt.Errorf("regular expression: %w", err)
	}
	return clause{path + " matches " + quote(re), fams}, nil
}

// plain reads a pattern of OS_Regex that is but a list of texts, as most are.
func plain(pattern string) ([]re2.Text, bool) {
	var out []re2.Text
	cur := re2.Text{}
	for i := 0; i <= len(pattern); i++ {
		switch {
		case i == len(pattern) || pattern[i] == '|':
			out = append(out, cur)
			cur = re2.Text{}
		case cur.End:
			return nil, false // something follows the end
		case pattern[i] == '^' && cur.Value == "" && !cur.Start:
			cur.Start = true
		case pattern[i] == '$':
			cur.End = true
		case pattern[i] == '\\':
			if i++; i == len(pattern) || !strings.ContainsRune(`$()\|<^`, rune(pattern[i])) {
				return nil, false
			}
			cur.Value += string(pattern[i])
		case strings.IndexByte("()*+^", pattern[i]) >= 0:
			return nil, false
		default:
			cur.Value += pattern[i : i+1]
		}
	}
	return out, true
}

// words says that one of the texts occurs.
func words(path string, list []re2.Text, fams event.Families) clause {
	groups := map[string][]string{}
	var order []string
	for _, t := range list {
		f := "icontains"
		switch {
		case t.Start && t.End:
			f = "ieq"
		case t.Start:
			f = "istartsWith"
		case t.End:
			f = "iendsWith"
		}
		if t.Value == "" {
			if f != "ieq" { // an empty alternative occurs everywhere
				return clause{families: everyFamily}
			}
		}
		if groups[f] == nil {
			order = append(order, f)
		}
		groups[f] = append(groups[f], quote(t.Value))
	}
	var any []clause
	for _, f := range order {
		any = append(any, clause{f + "(" + path + ", " + strings.Join(groups[f], ", ") + ")", fams})
	}
	return or(any...)
}

func address(path, text string, fams event.Families) (clause, error) {
	var nets []string
	for _, alt := range strings.Split(strings.ReplaceAll(text, `\.`, "."), "|") {
		alt = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(alt), "^"), "$")
		if addr, err := netip.ParseAddr(alt); err == nil {
			addr = addr.Unmap().WithZone("")
			alt = netip.PrefixFrom(addr, addr.BitLen()).String()
		} else if _, err := netip.ParsePrefix(alt); err != nil {
			return clause{}, fmt.Errorf("%s is an address, and %q is none", path, text)
		}
		nets = append(nets, quote(alt))
	}
	return clause{"cidr(" + path + ", " + strings.Join(nets, ", ") + ")", fams}, nil
}

var code = regexp.MustCompile(`^\^?(\d{1,9})(\$?)$`)

// bracketed are alternatives that must be the whole.
var bracketed = regexp.MustCompile(`^\^\(([0-9|]+)\)\$$`)

// number reads patterns of whole numbers; ^4 is any HTTP status from 400 on.
func number(path, text string, fams event.Families) (clause, error) {
	if m := bracketed.FindStringSubmatch(text); m != nil {
		text = "^" + strings.ReplaceAll(m[1], "|", "$|^") + "$"
	}
	var any []clause
	for _, alt := range strings.Split(text, "|") {
		m := code.FindStringSubmatch(strings.TrimSpace(alt))
		switch {
		case m == nil:
			return clause{}, fmt.Errorf("%s is a number, and the pattern %q is none", path, text)
		case path == "http_response.code" && len(m[1]) < 3 && m[2] == "":
			low, high := m[1], m[1]
			for len(low) < 3 {
				low, high = low+"0", high+"9"
			}
			any = append(any, clause{fmt.Sprintf("(%s >= %s and %s <= %s)", path, low, path, high), fams})
		default:
			any = append(any, clause{path + " == " + m[1], fams})
		}
	}
	return or(any...), nil
}

var errNothing = errors.New("has no condition that the hub could check")
