package sigma

import (
	"strings"

	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

// condition parses the condition of a detection. From loosest to tightest: or,
// and, not, "1 of x*", parentheses.
func (p *problems) condition(n *node, searches map[string]*tree, names []string, used map[string]bool) *tree {
	before := p.errors()
	c := conditionParser{p: p, at: n, searches: searches, names: names, used: used, tokens: words(n.text)}
	if len(c.tokens) > maxWords {
		p.error(n, "condition has more than %d words", maxWords)
		return nil
	}
	t := c.or(0)
	if c.pos < len(c.tokens) && p.errors() == before {
		if c.tokens[c.pos] == "|" {
			p.error(n, "unsupported: aggregations such as %q are of Sigma 1; write a correlation", strings.Join(c.tokens[c.pos:], " "))
		} else {
			p.error(n, "condition: %s was not expected", c.tokens[c.pos])
		}
	}
	if p.errors() > before {
		return nil
	}
	return t
}

// maxWords bounds a condition.
const maxWords = 2000

// words cuts a condition into names and parentheses.
func words(s string) []string {
	for _, c := range []string{"(", ")", "|"} {
		s = strings.ReplaceAll(s, c, " "+c+" ")
	}
	return strings.Fields(s)
}

type conditionParser struct {
	p        *problems
	at       *node
	searches map[string]*tree
	names    []string
	used     map[string]bool
	tokens   []string
	pos      int
}

func (c *conditionParser) next() string {
	if c.pos < len(c.tokens) {
		return c.tokens[c.pos]
	}
	return ""
}

// is takes a key word, in either case.
func (c *conditionParser) is(word string) bool {
	if strings.EqualFold(c.next(), word) {
		c.pos++
		return true
	}
	return false
}

func (c *conditionParser) or(depth int) *tree {
	var kids []*tree
	for {
		var all []*tree
		for {
			t := c.unary(depth)
			if t == nil {
				return nil
			}
			all = append(all, t)
			if !c.is("and") {
				break
			}
		}
		kids = append(kids, joined(opAnd, all))
		if !c.is("or") {
			return joined(opOr, kids)
		}
	}
}

// maxNesting bounds parentheses and chains of not.
const maxNesting = 64

func (c *conditionParser) unary(depth int) *tree {
	if depth > maxNesting {
		c.p.error(c.at, "condition is nested more than %d deep", maxNesting)
		return nil
	}
	if c.is("not") {
		t := c.unary(depth + 1)
		if t == nil {
			return nil
		}
		return &tree{op: opNot, kids: []*tree{t}}
	}
	if c.is("(") {
		t := c.or(depth + 1)
		if t != nil && !c.is(")") {
			c.p.error(c.at, "condition: a closing parenthesis is missing")
			return nil
		}
		return t
	}
	word := c.next()
	if word == "" || word == ")" || word == "|" {
		c.p.error(c.at, "condition: a name is missing after %q", strings.Join(c.tokens[:c.pos], " "))
		return nil
	}
	c.pos++
	if of := strings.ToLower(word); (of == "1" || of == "any" || of == "all") && c.is("of") {
		return c.quantified(of)
	}
	if t, ok := c.searches[word]; ok {
		c.used[word] = true
		return t
	}
	c.p.error(c.at, "condition: there is no search %s%s", word, lang.DidYouMean(word, c.names))
	return nil
}

// quantified reads what stands behind "1 of" and "all of".
func (c *conditionParser) quantified(of string) *tree {
	pattern := c.next()
	if pattern == "" {
		c.p.error(c.at, "condition: a pattern is missing after of")
		return nil
	}
	c.pos++
	var kids []*tree
	for _, name := range c.names {
		them := strings.EqualFold(pattern, "them") && !strings.HasPrefix(name, "_")
		if them || glob(pattern, name) {
			c.used[name] = true
			if t := c.searches[name]; t != nil {
				kids = append(kids, t)
			}
		}
	}
	if len(kids) == 0 {
		c.p.error(c.at, "condition: no search fits %s", pattern)
		return nil
	}
	if of == "all" {
		return joined(opAnd, kids)
	}
	return joined(opOr, kids)
}

// glob matches a name with a pattern in which * stands for any characters.
func glob(pattern, name string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == name
	}
	if !strings.HasPrefix(name, head) {
		return false
	}
	name = name[len(head):]
	for {
		part, more, star := strings.Cut(rest, "*")
		if !star {
			return strings.HasSuffix(name, part)
		}
		i := strings.Index(name, part)
		if i < 0 {
			return false
		}
		name, rest = name[i+len(part):], more
	}
}
