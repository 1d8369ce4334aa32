package history

import (
	"net/netip"
	"regexp/syntax"
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

// cond is a condition in SQL, or a constant if sql is empty.
type cond struct {
	sql    string
	always bool
}

var (
	always = cond{always: true}
	never  = cond{}
)

// Condition returns SQL over the table of a family that holds for every event
// of the family that the expression holds for, and perhaps for more: what SQL
// cannot say exactly as rules mean it is left out. It is "" if it would say
// nothing, and "0" if the expression holds for no event of the family.
func Condition(n *lang.Node, f event.Family) string {
	c := necessary(n, f)
	switch {
	case c.sql != "":
		return c.sql
	case c.always:
		return ""
	}
	return "0"
}

// maxAtom bounds the SQL of one atom and maxSQL that of a whole condition, in
// bytes; what is longer is left out. ClickHouse reads statements up to 256 KiB.
const (
	maxAtom = 32 << 10
	maxSQL  = 160 << 10
)

func necessary(n *lang.Node, f event.Family) cond {
	switch n.Op {
	case lang.And, lang.Or:
		kids := make([]cond, len(n.Kids))
		for i, k := range n.Kids {
			kids[i] = necessary(k, f)
		}
		if n.Op == lang.And {
			return every(kids)
		}
		if c := either(kids); len(c.sql) <= maxSQL {
			return c
		}
		return always
	case lang.Const:
		return constant(!n.Neg)
	}
	c, exact := atom(n, f)
	if len(c.sql) > maxAtom {
		return always
	}
	switch {
	case !n.Neg:
		return c
	case !exact:
		return always
	case c.sql == "":
		return constant(!c.always)
	}
	return cond{sql: "NOT " + c.sql}
}

func constant(v bool) cond { return cond{always: v} }

// every joins conditions with AND. One that is too long for the whole is left
// out: fewer conditions let more events through.
func every(kids []cond) cond {
	var parts []string
	size := 0
	for _, k := range kids {
		switch {
		case k.sql != "":
			if size += len(k.sql) + 5; size > maxSQL {
				size -= len(k.sql) + 5
				continue
			}
			parts = append(parts, k.sql)
		case !k.always:
			return never
		}
	}
	return joined(parts, " AND ", always)
}

// either joins conditions with OR.
func either(kids []cond) cond {
	var parts []string
	for _, k := range kids {
		switch {
		case k.sql != "":
			parts = append(parts, k.sql)
		case k.always:
			return always
		}
	}
	return joined(parts, " OR ", never)
}

func joined(parts []string, with string, none cond) cond {
	switch len(parts) {
	case 0:
		return none
	case 1:
		return cond{sql: parts[0]}
	}
	return cond{sql: "(" + strings.Join(parts, with) + ")"}
}

// atom says what SQL can of an atom without its negation, and whether that is
// exactly what the atom says.
func atom(n *lang.Node, f event.Family) (c cond, exact bool) {
	if n.Op == lang.Opaque {
		return always, false
	}
	if n.View != lang.Plain || n.Op == lang.FieldEq && n.Other.View != lang.Plain {
		return viewed(n, f), false
	}
	col := &event.Columns[n.Col]
	if !col.Families.Has(f) {
		// The table lacks the column, and rules see its zero value.
		return absent(n, f)
	}
	switch n.Op {
	case lang.AllOf, lang.Score:
		return always, false
	case lang.AtLeast:
		c, _ := atom(n.Elem, f)
		return c, false
	case lang.Exists:
		return present(col), true
	case lang.FieldEq:
		return relation(n, f)
	case lang.Num:
		return numeric(n, col), true
	case lang.In:
		return inNetworks(n, col)
	}
	switch col.Kind {
	case event.KindIP, event.KindUUID:
		return formatted(n, col)
	case event.KindKeywords:
		c, exact = text(n, "x")
		if c.sql == "" && c.always {
			return present(col), false // some element it needs
		}
		if c.sql == "" {
			return never, exact
		}
		return cond{sql: "arrayExists(x -> " + c.sql + ", " + name(n.Col) + ")"}, exact
	}
	return text(n, name(n.Col))
}

// absent decides an atom on a column that no event of the family has.
func absent(n *lang.Node, f event.Family) (cond, bool) {
	list := event.Columns[n.Col].Kind == event.KindKeywords
	switch n.Op {
	case lang.FieldEq: // "" stands in any of the relations to "" alone
		other := &event.Columns[n.Other.Col]
		if !other.Families.Has(f) {
			return always, true
		}
		return empty(other), true
	case lang.Wildcard:
		for _, s := range n.Lits {
			if !list && lang.ParsePattern(s).Match("") {
				return always, true
			}
		}
	case lang.Eq:
		for _, s := range n.Lits {
			if s == "" && !list {
				return always, true
			}
		}
	case lang.Match:
		return constant(!list && n.Re.MatchString("")), true
	case lang.AllOf:
		return always, true
	case lang.Num, lang.Score:
		for _, x := range n.Nums {
			if n.Cmp.Holds(0, x) {
				return always, true
			}
		}
	}
	return never, true
}

// present holds if the column has a value.
func present(col *event.Column) cond {
	id := name(col.ID)
	switch col.Kind {
	case event.KindIP:
		return cond{sql: "(" + id + " != toIPv6('::'))"}
	case event.KindUUID:
		return cond{sql: "(" + id + " != toUUID('00000000-0000-0000-0000-000000000000'))"}
	case event.KindTime:
		return cond{sql: "(toUnixTimestamp64Milli(" + id + ") != 0)"}
	case event.KindString, event.KindKeyword, event.KindKeywords, event.KindScores:
		return cond{sql: "notEmpty(" + id + ")"}
	}
	return cond{sql: "(" + id + " != 0)"}
}

// empty holds if rules see the text "" in a column.
func empty(col *event.Column) cond {
	if col.Kind == event.KindUUID {
		return never // also of zeros there is a text
	}
	return cond{sql: "NOT " + present(col).sql}
}

// relation compares the texts of two columns, of which the table has the first.
func relation(n *lang.Node, f event.Family) (cond, bool) {
	a, b := &event.Columns[n.Col], &event.Columns[n.Other.Col]
	if !b.Families.Has(f) {
		if n.Rel == lang.Eq {
			return empty(a), true
		}
		return always, true // every text contains ""
	}
	plain := func(k event.Kind) bool { return k == event.KindString || k == event.KindKeyword }
	x, y := name(a.ID), name(b.ID)
	switch {
	case plain(a.Kind) && plain(b.Kind):
		if n.Fold {
			x, y = "lower("+x+")", "lower("+y+")"
		}
	case a.Kind == b.Kind && n.Rel == lang.Eq:
	default:
		return always, false // ClickHouse writes addresses otherwise
	}
	switch n.Rel {
	case lang.Contains:
		return cond{sql: "(empty(" + y + ") OR position(" + x + ", " + y + ") > 0)"}, true
	case lang.Prefix:
		return cond{sql: "startsWith(" + x + ", " + y + ")"}, true
	case lang.Suffix:
		return cond{sql: "endsWith(" + x + ", " + y + ")"}, true
	}
	return cond{sql: "(" + x + " = " + y + ")"}, true
}

func numeric(n *lang.Node, col *event.Column) cond {
	id := name(col.ID)
	switch col.Kind {
	case event.KindTime:
		id = "toUnixTimestamp64Milli(" + id + ")"
	case event.KindU64:
		id = "toInt64(" + id + ")" // as rules see it, beyond 2^63 too
	}
	op := map[lang.Cmp]string{lang.EQ: " = ", lang.LT: " < ", lang.LE: " <= ", lang.GT: " > ", lang.GE: " >= "}[n.Cmp]
	kids := make([]cond, len(n.Nums))
	for i, v := range n.Nums {
		kids[i] = cond{sql: "(" + id + op + number(v) + ")"}
	}
	return either(kids)
}

// inNetworks says that an address lies in a network: two comparisons, since
// addresses are stored as numbers. Rules see mapped IPv4 addresses as IPv4 and
// "::" as none.
func inNetworks(n *lang.Node, col *event.Column) (cond, bool) {
	if col.Kind != event.KindIP {
		return always, false
	}
	id := name(col.ID)
	var kids []cond
	for _, net := range n.Nets {
		net = net.Masked()
		from := net.Addr()
		to := last(net)
		between := "(" + id + " BETWEEN toIPv6('" + mapped(from) + "') AND toIPv6('" + mapped(to) + "'"
		switch {
		case from.Is4():
			kids = append(kids, cond{sql: between + "))"})
		case from.Is4In6():
			// A network of mapped addresses holds none (net/netip).
		default:
			kids = append(kids, cond{sql: between + ") AND NOT (" + id + " BETWEEN toIPv6('::ffff:0.0.0.0') AND toIPv6('::ffff:255.255.255.255')) AND " + id + " != toIPv6('::'))"})
		}
	}
	return either(kids), true
}

func mapped(a netip.Addr) string {
	if a.Is4() {
		return "::ffff:" + a.String()
	}
	return a.String()
}

// last is the greatest address of a masked network.
func last(net netip.Prefix) netip.Addr {
	b := net.Addr().AsSlice()
	for i := net.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// formatted compares a column that is stored as a number and seen as a text.
func formatted(n *lang.Node, col *event.Column) (cond, bool) {
	if n.Op != lang.Eq {
		return always, false // parts of the text
	}
	id := name(col.ID)
	var kids []cond
	for _, s := range n.Lits {
		if col.Kind == event.KindUUID {
			if s == "" {
				return always, false
			}
			if uuidForm(s) {
				kids = append(kids, cond{sql: "(" + id + " = toUUID('" + s + "'))"})
			}
			continue
		}
		if s == "" {
			kids = append(kids, cond{sql: "(" + id + " = toIPv6('::'))"})
			continue
		}
		// A text that is no address in its usual form equals no address.
		if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" && a.Unmap().String() == s && a != netip.IPv6Unspecified() {
			kids = append(kids, cond{sql: "(" + id + " = toIPv6('" + mapped(a.Unmap()) + "'))"})
		}
	}
	return either(kids), true
}

func uuidForm(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		c := s[i]
		if dash != (c == '-') || !dash && (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// text is the condition on one text, which value reads.
func text(n *lang.Node, value string) (cond, bool) {
	folded := value
	if n.Fold {
		folded = "lower(" + value + ")" // of ASCII letters only, as Fold
	}
	switch n.Op {
	case lang.Eq:
		return cond{sql: "(" + folded + " IN (" + quoteAll(n.Lits) + "))"}, true
	case lang.Contains:
		return contains(value, n.Lits, n.Fold), true
	case lang.Prefix, lang.Suffix:
		f := map[lang.Op]string{lang.Prefix: "startsWith(", lang.Suffix: "endsWith("}[n.Op]
		kids := make([]cond, len(n.Lits))
		for i, s := range n.Lits {
			kids[i] = cond{sql: f + folded + ", " + quote(s) + ")"}
		}
		return either(kids), true
	case lang.Match:
		return pattern(n, value), false
	case lang.Wildcard:
		return literally(n, func(texts []string) cond { return contains(value, texts, true) }), false
	}
	return always, false
}

// maxNeedles is how many texts multiSearchAny takes.
const maxNeedles = 255

func contains(value string, lits []string, fold bool) cond {
	one, many := "position(", "multiSearchAny("
	if fold {
		one, many = "positionCaseInsensitive(", "multiSearchAnyCaseInsensitive("
	}
	if len(lits) == 1 {
		return cond{sql: "(" + one + value + ", " + quote(lits[0]) + ") > 0)"}
	}
	var kids []cond
	for len(lits) > 0 {
		n := min(len(lits), maxNeedles)
		kids = append(kids, cond{sql: many + value + ", [" + quoteAll(lits[:n]) + "])"})
		lits = lits[n:]
	}
	return either(kids)
}

// pattern lets through what a pattern may match. The texts that every match
// contains say most of it. Only a pattern without any is given to ClickHouse,
// and only if RE2 there takes at least what Go's engine does: they differ in
// invalid UTF-8, and may in the tables of Unicode.
func pattern(n *lang.Node, value string) cond {
	var kids []cond
	for _, texts := range n.Guards() {
		kids = append(kids, contains(value, texts, true))
	}
	if len(kids) > 0 {
		return every(kids)
	}
	if p := n.Re.String(); plainPattern(p) {
		return cond{sql: "(match(" + value + ", " + quote(p) + ") OR NOT isValidUTF8(" + value + "))"}
	}
	return always
}

// plainPattern says that a pattern has nothing in which the engines may differ.
func plainPattern(p string) bool {
	for i := range len(p) {
		if p[i] < 0x20 || p[i] > 0x7e {
			return false
		}
	}
	for _, s := range []string{`\p`, `\P`, `\x`, "(?<", "(?P"} {
		if strings.Contains(p, s) {
			return false
		}
	}
	re, err := syntax.Parse(p, syntax.Perl)
	return err == nil && len(p) <= 512 && small(re)
}

// small keeps repeated groups away from the memory limit of ClickHouse's RE2,
// where a statement would fail.
func small(re *syntax.Regexp) bool {
	prog, err := syntax.Compile(re.Simplify())
	return err == nil && len(prog.Inst) < 1000
}
