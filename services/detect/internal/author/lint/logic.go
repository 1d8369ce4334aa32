package lint

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

// remark is something about a part of a condition.
type remark struct {
	at      *lang.Node
	text    string // the one of its texts that is meant, if it is one
	code    string
	message string
}

// The kinds of remark.
const (
	codeNever     = "never-matches"
	codeAlways    = "always-matches"
	codeBranch    = "unreachable-branch"
	codeRedundant = "redundant"
)

// budget bounds the comparisons of one condition or pair of conditions; beyond
// it nothing more is claimed.
const budget = 200_000

// logic looks at one condition.
type logic struct {
	steps   int
	remarks []remark
}

func (l *logic) step() bool { l.steps++; return l.steps <= budget }

// condition says what is wrong with the logic of a condition, given atoms that
// hold because of the rule's source.
func condition(root *lang.Node, given []*lang.Node) []remark {
	l := &logic{}
	if why, at := l.never(root, given, false); why != "" {
		return []remark{{at: at, code: codeNever, message: "condition can never be true: " + why}}
	}
	if l.always(root) {
		return []remark{{at: root, code: codeAlways, message: "condition holds for every event of its source"}}
	}
	l.never(root, given, true)
	l.redundant(root)
	return l.remarks
}

// never reports why a node cannot hold where the given atoms do, "" if it may.
// With tell it notes the branches of an "or" that cannot.
func (l *logic) never(n *lang.Node, given []*lang.Node, tell bool) (string, *lang.Node) {
	switch n.Op {
	case lang.Const:
		if n.Neg {
			return "it is false", n
		}
	case lang.Or:
		var first string
		var at *lang.Node
		dead := 0
		for _, k := range n.Kids {
			why, where := l.never(k, given, tell)
			if why == "" {
				continue
			}
			if dead++; first == "" {
				first, at = why, where
			}
			if tell {
				l.remarks = append(l.remarks, remark{at: where, code: codeBranch, message: "this branch can never hold: " + why})
			}
		}
		if dead == len(n.Kids) {
			return first, at
		}
	case lang.And:
		all := slices.Clip(given)
		for _, k := range n.Kids {
			if k.Op == lang.And || k.Op == lang.Or || k.Op == lang.Const {
				continue
			}
			if why := l.clash(k, all); why != "" {
				return why, k
			}
			all = append(all, k)
		}
		for _, k := range n.Kids {
			if k.Op != lang.And && k.Op != lang.Or && k.Op != lang.Const {
				continue
			}
			if why, at := l.never(k, all, tell); why != "" {
				return why, at
			}
		}
	default:
		if why := l.clash(n, given); why != "" {
			return why, n
		}
	}
	return "", nil
}

// clash reports why an atom cannot hold beside others.
func (l *logic) clash(n *lang.Node, others []*lang.Node) string {
	if !isAtom(n) {
		return ""
	}
	if why := notAddresses(n); why != "" {
		return why
	}
	if n.Op == lang.Num {
		set := numbers(n)
		if len(set) == 0 {
			return fmt.Sprintf("no value of %s (%s) fits %s", path(n), kind(n), n)
		}
		for _, o := range others {
			if o.Op != lang.Num || !sameField(o, n) || !l.step() {
				continue
			}
			if set = set.and(numbers(o)); len(set) == 0 {
				return fmt.Sprintf("%s contradicts %s", n, o)
			}
		}
	}
	for _, o := range others {
		if !isAtom(o) || !sameField(o, n) || !l.step() {
			continue
		}
		if contradicts(n, o) || contradicts(o, n) {
			return fmt.Sprintf("%s contradicts %s", short(n), short(o))
		}
	}
	// Several atoms may each leave something of a list of values, but together
	// nothing.
	return l.values(n, others)
}

// notAddresses says that an address is compared with texts that no address is
// written as.
func notAddresses(n *lang.Node) string {
	if kind(n) != event.KindIP || n.View != lang.Plain || n.Op != lang.Eq || n.Neg {
		return ""
	}
	for _, x := range n.Lits {
		a, err := netip.ParseAddr(x)
		if x == "" || err == nil && a.Unmap().String() == lang.Fold(x) && (n.Fold || lang.Fold(x) == x) {
			return ""
		}
	}
	return fmt.Sprintf("%s compares with what is no address in its usual form (192.0.2.1, 2001:db8::1)", short(n))
}

// contradicts reports that a implies the opposite of b.
func contradicts(a, b *lang.Node) bool {
	not := *b
	not.Neg = !not.Neg
	return implies(a, &not)
}

// values filters the texts that an atom or one of the others allows through
// all of them.
func (l *logic) values(n *lang.Node, others []*lang.Node) string {
	same := []*lang.Node{n}
	for _, o := range others {
		if isAtom(o) && sameField(o, n) {
			same = append(same, o)
		}
	}
	i := slices.IndexFunc(same, func(o *lang.Node) bool { return o.Op == lang.Eq && !o.Neg })
	if len(same) < 3 || i < 0 {
		return ""
	}
	eq := same[i]
	for _, x := range eq.Lits {
		one := *eq
		one.Lits = []string{x}
		fits := true
		for j, o := range same {
			if j != i && fits && l.step() {
				fits = !contradicts(&one, o)
			}
		}
		if fits {
			return ""
		}
	}
	return fmt.Sprintf("no value of %s fits %s and the rest", path(n), short(eq))
}

// always reports that a node holds for every event: its opposite never does.
func (l *logic) always(n *lang.Node) bool {
	why, _ := l.never(lang.Opposite(n), nil, false)
	return why != ""
}

// short is an atom's text, cut.
func short(n *lang.Node) string {
	s := n.String()
	if len(s) > 120 {
		s = s[:117] + "…"
	}
	return s
}
