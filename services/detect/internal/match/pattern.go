package match

import (
	"strings"
	"unicode/utf8"

	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/lazydfa"
)

// pattern evaluates a regular expression. Texts that lack something that every
// match has are told by vector searches; the others go through a lazy automaton,
// which is made for the first of them.
type pattern struct {
	node   *lang.Node
	needs  lang.Needs
	guards [][]string // folded: a match contains a text of each set
	dfa    *lazydfa.DFA
	made   bool
}

// maxGuard bounds the texts of a guard: more of them cost what they save.
const maxGuard = 24

func newPattern(n *lang.Node) *pattern {
	p := &pattern{node: n, needs: n.Needs()}
	for _, g := range n.Guards() {
		if len(g) <= maxGuard {
			p.guards = append(p.guards, g)
		}
	}
	return p
}

// match decides for a field of the scope's row.
func (p *pattern) match(s *scope, col slot) bool {
	v := s.text(col)
	if p.needs.Run > 0 {
		return hasRun(v, p.needs.Run, p.needs.Lines)
	}
	return p.possible(v) && (len(p.guards) == 0 || p.guarded(s.fold(col))) && p.decide(v)
}

func (p *pattern) matchText(v string) bool {
	if p.needs.Run > 0 {
		return hasRun(v, p.needs.Run, p.needs.Lines)
	}
	return p.possible(v) && (len(p.guards) == 0 || p.guarded(lang.Fold(v))) && p.decide(v)
}

func (p *pattern) possible(v string) bool {
	if len(v) < p.needs.Min {
		return false
	}
	for _, c := range p.needs.Counts {
		if c.N == 1 {
			if strings.IndexByte(v, c.C) < 0 {
				return false
			}
		} else if strings.Count(v, string(rune(c.C))) < c.N {
			return false
		}
	}
	return true
}

func (p *pattern) guarded(v string) bool {
	for _, set := range p.guards {
		if !containsAny(v, set) {
			return false
		}
	}
	return true
}

func (p *pattern) decide(v string) bool {
	if !p.made {
		p.dfa, p.made = lazydfa.New(p.node.Re), true
	}
	if p.dfa == nil {
		return p.node.Re.MatchString(v)
	}
	return p.dfa.Match(v)
}

// containsAny looks for one text after the other: the vector search of package
// strings beats a single pass for all of them by far, also for twenty texts.
func containsAny(v string, texts []string) bool {
	for _, t := range texts {
		if strings.Contains(v, t) {
			return true
		}
	}
	return false
}

// hasRun reports whether a text has n characters in a row, if lines within one
// line. A byte that is no character counts as one, as in patterns.
func hasRun(v string, n int, lines bool) bool {
	for len(v) >= n {
		line, rest := v, ""
		if lines {
			if i := strings.IndexByte(v, '\n'); i >= 0 {
				line, rest = v[:i], v[i+1:]
			}
		}
		if len(line) >= n && utf8.RuneCountInString(line) >= n {
			return true
		}
		v = rest
	}
	return false
}
