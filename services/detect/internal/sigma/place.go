package sigma

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

// place writes that a place holds one of the values, or all of them.
func (g *generator) place(pl *place, pats []pattern, a *atom, within treeOp) string {
	for i := range pats {
		for _, t := range pats[i].texts {
			if !utf8.ValidString(t) {
				return g.unsupported(a.at, "bytes that are no text (encode them with base64)")
			}
		}
	}
	cased := a.has("cased")
	if pl.Const != nil {
		return strconv.FormatBool(g.constant(*pl.Const, pats, a.all))
	}
	if len(pl.Account) == 2 {
		return g.account(pl, pats, a, within)
	}
	pats = mapValues(pats, pl)
	switch k := kindOf(pl.Path); {
	case k == event.KindF32 || k == event.KindF64 || k.Number():
		return g.numbers(pl, pats, a, within)
	case k == event.KindBool:
		return g.truth(pl, pats, a, within)
	case k == event.KindScores:
		return g.unsupported(a.at, "%s is a map of scores", pl.Path)
	}
	return g.texts(pl.Path, pats, cased, a.all, within)
}

func (g *generator) constant(value string, pats []pattern, all bool) bool {
	for _, p := range pats {
		re, err := regexp.Compile(p.regexp(false))
		if fits := err == nil && re.MatchString(value); fits != all {
			return fits
		}
	}
	return all
}

// texts compares a column of texts.
func (g *generator) texts(path string, pats []pattern, cased, all bool, within treeOp) string {
	var byForm [isRegexp + 1][]string
	var parts []string
	address := kindOf(path) == event.KindIP
	for _, p := range pats {
		f, s := p.form()
		if f == isEqual && address {
			if addr, err := netip.ParseAddr(s); err == nil {
				s = addr.Unmap().String()
			}
		}
		switch {
		case f == isAny:
			parts = append(parts, "exists("+path+")")
			continue
		case !cased && p.foreign():
			if re := p.regexp(cased); len(re) <= lang.MaxPattern {
				parts = append(parts, matching(&place{Path: path}, re))
				continue
			}
		case f == isRegexp:
			s = p.written()
		}
		byForm[f] = append(byForm[f], s)
	}
	fold := [...]string{isEqual: "ieq", isPrefix: "istartsWith", isSuffix: "iendsWith", isInside: "icontains", isRegexp: "iwildcard"}
	exact := [...]string{isEqual: "ieq", isPrefix: "startsWith_any", isSuffix: "endsWith_any", isInside: "contains_any", isRegexp: "wildcard"}
	for f, lits := range byForm {
		if len(lits) == 0 {
			continue
		}
		lits = distinct(lits)
		name := fold[f]
		if cased {
			name = exact[f]
		}
		switch {
		case cased && form(f) == isEqual:
			parts = append(parts, equalCased(path, lits, all)...)
		case !all || len(lits) == 1:
			parts = append(parts, name+"("+path+", "+quotes(lits)+")")
		case form(f) == isInside && cased:
			parts = append(parts, "contains_all("+path+", "+quotes(lits)+")")
		case form(f) == isInside:
			parts = append(parts, "icontains_all("+path+", "+quotes(lits)+")")
		default:
			for _, l := range lits {
				parts = append(parts, name+"("+path+", "+quote(l)+")")
			}
		}
	}
	op := opOr
	if all {
		op = opAnd
	}
	return join(op, parts, within)
}

func equalCased(path string, lits []string, all bool) []string {
	list := kindOf(path) == event.KindKeywords
	if !all && !list {
		return []string{path + " in [" + quotes(lits) + "]"}
	}
	var out []string
	for _, l := range lits {
		if list {
			out = append(out, quote(l)+" in "+path)
		} else {
			out = append(out, path+" == "+quote(l))
		}
	}
	if !all && len(out) > 1 {
		return []string{"(" + strings.Join(out, " or ") + ")"}
	}
	return out
}

func distinct(list []string) []string {
	seen := make(map[string]bool, len(list))
	return slices.DeleteFunc(list, func(s string) bool {
		twice := seen[s]
		seen[s] = true
		return twice
	})
}

// written is the pattern as Sigma writes it.
func (p pattern) written() string {
	escape := strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`)
	var b strings.Builder
	for i, t := range p.texts {
		if i > 0 {
			b.WriteByte(p.wild[i-1])
		}
		b.WriteString(escape.Replace(t))
	}
	return b.String()
}

// numbers compares a column of numbers.
func (g *generator) numbers(pl *place, pats []pattern, a *atom, within treeOp) string {
	var nums []string
	var rest []pattern
	for _, p := range pats {
		s, plain := p.plain()
		switch n, ok := integer(s); {
		case plain && ok:
			nums = append(nums, strconv.FormatInt(n, 10))
		case !plain:
			rest = append(rest, p)
		default:
			g.p.warn(a.at, "%s is a number and never %q", a.field, s)
		}
	}
	op := opOr
	if a.all {
		op = opAnd
	}
	var parts []string
	nums = distinct(nums)
	switch {
	case len(nums) == 1 || len(nums) > 1 && a.all:
		for _, n := range nums {
			parts = append(parts, pl.Path+" == "+n)
		}
	case len(nums) > 1:
		parts = append(parts, pl.Path+" in ["+strings.Join(nums, ", ")+"]")
	}
	if len(rest) > 0 {
		parts = append(parts, g.texts("text("+pl.Path+")", rest, true, a.all, op))
	}
	if len(parts) == 0 {
		return "false"
	}
	return join(op, parts, within)
}

// integer reads a decimal or hexadecimal number.
func integer(s string) (int64, bool) {
	base := 10
	if h, ok := strings.CutPrefix(strings.ToLower(s), "0x"); ok {
		s, base = h, 16
	}
	n, err := strconv.ParseInt(s, base, 64)
	return n, err == nil && n > -1<<53 && n < 1<<53
}

func (g *generator) truth(pl *place, pats []pattern, a *atom, within treeOp) string {
	var parts []string
	for _, p := range pats {
		switch s, _ := p.plain(); strings.ToLower(s) {
		case "true", "1", "yes":
			parts = append(parts, pl.Path)
		case "false", "0", "no":
			parts = append(parts, "not "+pl.Path)
		default:
			g.p.warn(a.at, "%s is true or false and never %q", a.field, s)
		}
	}
	if len(parts) == 0 {
		return "false"
	}
	return join(opOr, parts, within)
}

// compare writes gt, gte, lt and lte. A text counts if it is a whole number.
func (g *generator) compare(a *atom, pl *place, mod string, within treeOp) string {
	sign := map[string]string{"gt": " > ", "gte": " >= ", "lt": " < ", "lte": " <= "}[mod]
	var parts []string
	for i := range a.values {
		v := &a.values[i]
		n, err := strconv.ParseFloat(v.text, 64)
		if err != nil || len(pl.Account) > 0 || pl.Const != nil {
			return g.unsupported(v, "%s compares numbers, %q is none", mod, v.text)
		}
		num := strconv.FormatFloat(n, 'f', -1, 64)
		switch k := kindOf(pl.Path); {
		case k.Number() || k == event.KindF32 || k == event.KindF64:
			s := pl.Path + sign + num
			if mod == "lt" || mod == "lte" {
				s = "(exists(" + pl.Path + ") and " + s + ")"
			}
			parts = append(parts, s)
		case k.Text():
			parts = append(parts, "("+pl.Path+` matches "^-?[0-9]{1,15}$" and int(`+pl.Path+")"+sign+num+")")
		default:
			return g.unsupported(v, "%s on %s, which is no number", mod, a.field)
		}
	}
	op := opOr
	if a.all {
		op = opAnd
	}
	return join(op, parts, within)
}

// time compares a part of a date: of a text as ISO 8601 writes it, or of the
// event's own time, in UTC. What a text shows at a fixed place is a pattern.
func (g *generator) time(a *atom, pl *place, part string, within treeOp) string {
	before := map[string]string{"year": `^`, "month": `^[0-9]{4}-`, "day": `^[0-9]{4}-[0-9]{2}-`, "hour": `^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]`, "minute": `^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:`}
	var parts []string
	for i := range a.values {
		v := &a.values[i]
		n, ok := integer(v.text)
		if !ok || n < 0 || n > 9999 {
			return g.unsupported(v, "%s takes a whole number", part)
		}
		width := 2
		if part == "year" {
			width = 4
		}
		digits := strconv.FormatInt(n, 10)
		if len(digits) < width {
			digits = strings.Repeat("0", width-len(digits)) + digits
		}
		prefix, known := before[part]
		switch k := kindOf(pl.Path); {
		case pl.Const != nil || len(pl.Account) > 0 || k != event.KindTime && !k.Text():
			return g.unsupported(a.at, "the %s of %s, which is no time", part, a.field)
		case k != event.KindTime && known:
			parts = append(parts, pl.Path+" matches "+quote(prefix+digits+`(?:[^0-9]|$)`))
		default:
			parts = append(parts, "date_part("+pl.Path+", "+quote(part)+") == "+strconv.FormatInt(n, 10))
		}
	}
	return join(opOr, parts, within)
}

// account compares DOMAIN\name, which the schema keeps in two columns.
func (g *generator) account(pl *place, pats []pattern, a *atom, within treeOp) string {
	domain, name := pl.Account[0], pl.Account[1]
	op := opOr
	if a.all {
		op = opAnd
	}
	var parts []string
	single := func(path string, p pattern) string { return g.texts(path, []pattern{p}, a.has("cased"), false, opAnd) }
	for _, p := range pats {
		f, s := p.form()
		left, right, slash := strings.Cut(s, `\`)
		switch {
		case f == isAny:
			parts = append(parts, "exists("+name+")")
		case f == isRegexp || strings.Contains(right, `\`):
			parts = append(parts, matching(pl, p.regexp(a.has("cased"))))
		case slash:
			l, r := literal(left), literal(right)
			if f == isSuffix || f == isInside {
				l = star().then(l)
			}
			if f == isPrefix || f == isInside {
				r = r.then(star())
			}
			var both []string
			for i, q := range []pattern{l, r} {
				if k, _ := q.form(); k != isAny {
					both = append(both, single(pl.Account[i], q))
				} else {
					both = append(both, "exists("+pl.Account[i]+")")
				}
			}
			parts = append(parts, "("+strings.Join(both, " and ")+")")
		case f == isEqual:
			parts = append(parts, "(not exists("+domain+") and "+single(name, p)+")")
		case f == isPrefix:
			parts = append(parts, "("+single(domain, p)+" or not exists("+domain+") and "+single(name, p)+")")
		case f == isSuffix:
			parts = append(parts, single(name, p))
		default:
			parts = append(parts, "("+single(domain, p)+" or "+single(name, p)+")")
		}
	}
	return join(op, parts, within)
}
