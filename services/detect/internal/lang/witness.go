package lang

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/vagus-hub/vagus/schemas/event"
)

// LitKind is how a literal must occur in a column.
type LitKind uint8

// The kinds of literal.
const (
	LitEq LitKind = iota
	LitPrefix
	LitSuffix
	LitContains
	LitNum     // number compared
	LitNet     // address within a network
	LitPresent // the column has a value
)

var litNames = [...]string{"equals", "starts with", "ends with", "contains", "compares", "in network", "present"}

// String is the kind in words.
func (k LitKind) String() string { return litNames[k] }

// Literal is one fact that the index can look up.
type Literal struct {
	Kind LitKind
	Field
	Text string // folded
	Cmp  Cmp
	Num  float64
	Net  netip.Prefix
}

// Witness is a set of literals of which every matching event holds at least
// one. Cost estimates the share of events that hold one by chance.
type Witness struct {
	Literals []Literal
	Cost     float64
}

// Witness returns the most selective witness of the expression; false if it
// has none, so that the expression must be evaluated for every event.
func (e *Expr) Witness() (Witness, bool) { return witness(e.Root) }

func witness(n *Node) (Witness, bool) {
	switch n.Op {
	case Const, FieldEq, Opaque:
		return Witness{}, false
	case And:
		var best Witness
		found := false
		for _, k := range n.Kids {
			w, ok := witness(k)
			if ok && (!found || w.Cost < best.Cost || w.Cost == best.Cost && len(w.Literals) < len(best.Literals)) {
				best, found = w, true
			}
		}
		return best, found
	case Or:
		var all Witness
		for _, k := range n.Kids {
			w, ok := witness(k)
			if !ok {
				return Witness{}, false
			}
			all.Literals = append(all.Literals, w.Literals...)
			all.Cost += w.Cost * (1 - all.Cost)
		}
		return all, true
	}
	return atomWitness(n)
}

func atomWitness(n *Node) (Witness, bool) {
	var lits []Literal
	if !n.Neg {
		switch n.Op {
		case Eq, Contains, Prefix, Suffix:
			kind := map[Op]LitKind{Eq: LitEq, Contains: LitContains, Prefix: LitPrefix, Suffix: LitSuffix}[n.Op]
			for _, s := range n.Lits {
				if s == "" {
					lits = nil
					break
				}
				lits = append(lits, Literal{Kind: kind, Field: n.Field, Text: Fold(s)})
			}
		case Wildcard:
			for _, s := range n.Lits {
				kind, text, ok := ParsePattern(s).literal()
				if !ok {
					lits = nil
					break
				}
				lits = append(lits, Literal{Kind: kind, Field: n.Field, Text: Fold(text)})
			}
		case Match:
			for _, s := range n.Guard() {
				lits = append(lits, Literal{Kind: LitContains, Field: n.Field, Text: s})
			}
		case AtLeast:
			return atomWitness(n.Elem)
		case Score:
			if n.Text != "" && !n.absent() {
				lits = []Literal{{Kind: LitEq, Field: n.Field, Text: Fold(n.Text)}}
			}
		case In:
			for _, p := range n.Nets {
				lits = append(lits, Literal{Kind: LitNet, Field: n.Field, Net: p})
			}
		case Num:
			for _, v := range n.Nums {
				lits = append(lits, Literal{Kind: LitNum, Field: n.Field, Cmp: n.Cmp, Num: v})
				if n.Cmp.Holds(0, v) {
					lits = nil
					break
				}
			}
		}
	}
	if len(lits) == 0 {
		if n.absent() || n.View == Anywhere {
			return Witness{}, false
		}
		lits = []Literal{{Kind: LitPresent, Field: n.Field}}
	}
	w := Witness{Literals: lits}
	for _, l := range lits {
		w.Cost += l.cost() * (1 - w.Cost)
	}
	return w, true
}

// absent is the atom's value on an event without the column.
func (n *Node) absent() bool {
	v := false
	list := n.Kind() == event.KindKeywords
	switch n.Op {
	case Eq:
		for _, s := range n.Lits {
			v = v || s == "" && !list
		}
	case Wildcard:
		for _, s := range n.Lits {
			v = v || !list && ParsePattern(s).Match("")
		}
	case Match:
		v = !list && n.Re.MatchString("")
	case AllOf:
		v = true
	case Num, Score:
		for _, x := range n.Nums {
			v = v || n.Cmp.Holds(0, x)
		}
	}
	return v != n.Neg
}

// Holds reports v ∘ x.
func (c Cmp) Holds(v, x float64) bool {
	switch c {
	case LT:
		return v < x
	case LE:
		return v <= x
	case GT:
		return v > x
	case GE:
		return v >= x
	}
	return v == x
}

// few lists columns that have a handful of values, so that equality says
// little.
var few = map[event.ColumnID]bool{
	event.Source: true, event.ActivityName: true, event.StatusCode: true, event.MetadataEventCode: true,
	event.MetadataLogName: true, event.APIOperation: true, event.ResourceType: true, event.HTTPRequestMethod: true,
	event.ProcessIntegrity: true, event.ProcessCompany: true, event.AIOperation: true, event.GuardrailVerdict: true,
	event.AuthorizationDecision: true, event.ServiceName: true, event.TimeQuality: true,
}

// programs lists columns that name programs: a few hundred make up nearly all
// events, and rules name the same ones.
var programs = map[event.ColumnID]bool{
	event.ProcessPath: true, event.ProcessName: true, event.ProcessOriginalFileName: true, event.ProcessParentProcessPath: true,
	event.ProcessParentProcessName: true, event.ActorProcessPath: true, event.ActorProcessName: true,
}

// common holds texts that ordinary events are full of.
const common = `c:\windows\system32\ c:\program files (x86)\microsoft\ \appdata\local\temp\ c:\users\ \software\microsoft\windows\currentversion\ ` +
	`hklm\system\currentcontrolset\services\ hku\s-1-5-21- .exe .dll "c:\ http:// https:// .com/ powershell.exe cmd.exe /c  -nop -command ` +
	`svchost.exe rundll32.exe explorer.exe \syswow64\ /usr/bin/ /v1/chat/completions please the and you kube-system system:serviceaccount: `

func (l Literal) cost() float64 {
	var c float64
	switch l.Kind {
	case LitEq:
		switch {
		case l.Kind == LitEq && l.Field.Kind() == event.KindScores:
			return 0.2 // sensors score what they look at
		case l.View == Plain && few[l.Col]:
			return 0.1
		case l.View == Plain && programs[l.Col] && !usual[l.Text]:
			return program(l.Text)
		default:
			c = 0.002
		}
	case LitNum:
		if l.Cmp == EQ {
			return 0.05
		}
		return 0.2
	case LitNet:
		return 0.02
	case LitPresent:
		return 0.9
	case LitPrefix, LitSuffix:
		switch {
		case len(l.Text) < 4:
			c = 0.1
		case l.View == Plain && programs[l.Col] && l.Kind == LitSuffix && !usual[l.Text]:
			return program(l.Text)
		default:
			c = 0.004
		}
	case LitContains:
		if l.Text[0] >= utf8.RuneSelf {
			return 0.005 // other scripts are rare where rules look
		}
		c = [...]float64{1, 0.6, 0.4, 0.15, 0.05, 0.02, 0.01, 0.006}[min(len(l.Text), 7)]
		if len(l.Text) > 7 {
			c = 0.003
		}
	}
	switch {
	case usual[l.Text]:
		return 0.4
	case strings.Contains(common, l.Text):
		return max(c*8, 0.02)
	}
	return c
}

// usual holds texts that a great part of all Windows events has.
var usual = map[string]bool{
	`.exe`: true, `c:\`: true, `:\`: true, `c:\windows\`: true, `c:\windows\system32\`: true, `c:\windows`: true, `:\windows\system32\`: true, `:\windows\`: true,
	`\windows\system32\`: true, `\windows\`: true, `\system32\`: true, `\system32`: true, `system32`: true, `windows`: true, `microsoft`: true,
	`system`: true, `s-1-16-16384`: true, `s-1-5-18`: true, `0x3e7`: true, `nt authority`: true, `authori`: true, `autori`: true, `true`: true, `-`: true,
}

// everyday are the programs that start most often on any Windows machine.
const everyday = `\svchost.exe \conhost.exe \cmd.exe \powershell.exe \explorer.exe \services.exe \rundll32.exe \taskhostw.exe \dllhost.exe \backgroundtaskhost.exe ` +
	`\runtimebroker.exe \wmiprvse.exe \searchprotocolhost.exe \searchfilterhost.exe \chrome.exe \msedge.exe \msiexec.exe \lsass.exe \consent.exe \sppsvc.exe `

// program is the share of events about a program whose path ends so.
func program(end string) float64 {
	if strings.Contains(everyday, end+" ") {
		return 0.08
	}
	return 0.005
}

// Guard returns folded texts of which every match of the pattern contains at
// least one; none if the pattern does not tell.
func (n *Node) Guard() []string {
	re, err := syntax.Parse(n.Re.String(), syntax.Perl)
	if err != nil {
		return nil
	}
	lits, _ := patternLits(re.Simplify())
	return lits
}

// Guards returns sets of folded texts: every match of the pattern contains at
// least one text of each set. The set that is likely the rarest comes first.
func (n *Node) Guards() [][]string {
	re, err := syntax.Parse(n.Re.String(), syntax.Perl)
	if err != nil {
		return nil
	}
	type priced struct {
		texts []string
		cost  float64
	}
	var sets []priced
	var walk func(re *syntax.Regexp)
	walk = func(re *syntax.Regexp) {
		if re.Op == syntax.OpCapture || re.Op == syntax.OpConcat {
			for _, sub := range re.Sub {
				walk(sub)
			}
			return
		}
		if lits, cost := patternLits(re); lits != nil {
			sets = append(sets, priced{lits, cost})
		}
	}
	walk(re.Simplify())
	slices.SortStableFunc(sets, func(a, b priced) int { return cmp.Compare(a.cost, b.cost) })
	var out [][]string
	for _, s := range sets {
		out = append(out, s.texts)
	}
	return out
}

// patternLits returns the best set and its cost; no set costs 1.
func patternLits(re *syntax.Regexp) ([]string, float64) {
	switch re.Op {
	case syntax.OpLiteral:
		s := safeLiteral(re)
		if len(s) == 0 || len(s) == 1 && (plain(s[0]) || s[0] == '"' || s[0] == '\'' || s[0] == '=' || s[0] == ',') {
			return caseForms(re)
		}
		return []string{s}, Literal{Kind: LitContains, Text: s}.cost()
	case syntax.OpCapture, syntax.OpPlus:
		return patternLits(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return patternLits(re.Sub[0])
		}
	case syntax.OpConcat:
		var best []string
		cost := 1.0
		for _, sub := range re.Sub {
			if lits, c := patternLits(sub); lits != nil && c < cost {
				best, cost = lits, c
			}
		}
		return best, cost
	case syntax.OpAlternate:
		var all []string
		sum := 0.0
		for _, sub := range re.Sub {
			lits, c := patternLits(sub)
			if lits == nil || len(all)+len(lits) > 512 {
				return nil, 1
			}
			all, sum = append(all, lits...), sum+c
		}
		return all, sum
	}
	return nil, 1
}

// safeLiteral folds a literal of a pattern. Without case, a pattern also takes
// the long s and the Kelvin sign for s and k, and other letters beyond ASCII in
// either case, which folding here does not: only runs without them are safe.
func safeLiteral(re *syntax.Regexp) string {
	fold := re.Flags&syntax.FoldCase != 0
	best, run := "", []rune(nil)
	for i := 0; i <= len(re.Rune); i++ {
		// U+FFFD also matches bytes that are no character.
		if i < len(re.Rune) && re.Rune[i] != utf8.RuneError && !(fold && strange(re.Rune[i])) {
			run = append(run, re.Rune[i])
			continue
		}
		if len(run) > len(best) {
			best = string(run)
		}
		run = run[:0]
	}
	return Fold(best)
}

// caseForms lists the forms of a character beyond ASCII in a literal that
// ignores case; none if there is no such character.
func caseForms(re *syntax.Regexp) ([]string, float64) {
	if re.Flags&syntax.FoldCase == 0 {
		return nil, 1
	}
next:
	for _, r := range re.Rune {
		if r < utf8.RuneSelf || r == utf8.RuneError {
			continue
		}
		forms := []string{string(r)}
		for o := unicode.SimpleFold(r); o != r; o = unicode.SimpleFold(o) {
			if o < utf8.RuneSelf {
				continue next // k and s are everywhere
			}
			forms = append(forms, string(o))
		}
		return forms, 0.005 * float64(len(forms))
	}
	return nil, 1
}

func strange(r rune) bool { return r >= 0x80 || r|0x20 == 's' || r|0x20 == 'k' }

// String writes the literal for people.
func (l Literal) String() string {
	path := l.Path()
	switch l.Kind {
	case LitNum:
		return fmt.Sprintf("%s %s %v", path, cmpNames[l.Cmp], l.Num)
	case LitNet:
		return fmt.Sprintf("%s in network %v", path, l.Net)
	case LitPresent:
		return path + " present"
	}
	return fmt.Sprintf("%s %s %q", path, l.Kind, l.Text)
}
