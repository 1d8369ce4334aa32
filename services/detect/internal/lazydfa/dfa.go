// Package lazydfa decides whether a regular expression matches somewhere in a
// text, as regexp.MatchString does, with a deterministic automaton whose states
// are made when a text first leads to them. It is the construction of K.
// Thompson's grep and of RE2 (R. Cox, "Regular Expression Matching in the
// Wild", 2010): a step costs a look-up in a table, where package regexp follows
// every state of the nondeterministic automaton.
package lazydfa

import (
	"encoding/binary"
	"regexp"
	"regexp/syntax"
	"slices"
	"unicode/utf8"
)

// The bounds of one automaton. What needs more is left to package regexp.
const (
	maxInsts  = 2000 // instructions of the program
	maxStates = 256  // then the states are forgotten
	maxResets = 4    // in one text; then package regexp decides
	maxWide   = 2048 // steps by characters beyond ASCII
)

// DFA decides for one expression. One goroutine at a time may use it.
type DFA struct {
	re      *regexp.Regexp
	prog    *syntax.Prog
	context bool // the program asks what stands around a place
	states  []state
	ids     map[string]int32
	wide    map[wideStep]int32

	key        []byte
	stack, set []uint32 // scratch
	marks      []uint32 // by instruction: the mark of the closure that has it
	mark       uint32
}

// state is a set of instructions before the next character, and what the
// character before was.
type state struct {
	insts  []uint32
	before rune
	next   [end + 1]int32 // by ASCII character; end: the text's end
}

type wideStep struct {
	state int32
	r     rune
}

// Special states, and the place of the end of the text in a table.
const (
	unknown = 0
	matched = -1
	failed  = -2
	end     = utf8.RuneSelf
)

// New makes the automaton of an expression. It is nil if the expression is too
// big for one.
func New(re *regexp.Regexp) *DFA {
	parsed, err := syntax.Parse(re.String(), syntax.Perl)
	if err != nil {
		return nil
	}
	prog, err := syntax.Compile(parsed.Simplify())
	if err != nil || len(prog.Inst) > maxInsts {
		return nil
	}
	d := &DFA{re: re, prog: prog}
	for i := range prog.Inst {
		d.context = d.context || prog.Inst[i].Op == syntax.InstEmptyWidth
	}
	d.reset()
	return d
}

// reset forgets all states but the first.
func (d *DFA) reset() {
	d.states = append(d.states[:0], state{}) // 0 is unknown
	d.ids, d.wide = map[string]int32{}, map[wideStep]int32{}
	if d.marks == nil {
		d.marks = make([]uint32, len(d.prog.Inst))
	}
	d.state([]uint32{uint32(d.prog.Start)}, -1) // state 1
}

// Match reports whether the text contains a match.
func (d *DFA) Match(text string) bool {
	at, resets := int32(1), 0
	for i := 0; i < len(text); {
		c := text[i]
		var next int32
		if c < utf8.RuneSelf {
			i++
			if next = d.states[at].next[c]; next == unknown {
				next = d.step(at, rune(c))
				d.states[at].next[c] = next
			}
		} else {
			r, n := utf8.DecodeRuneInString(text[i:])
			i += n
			k := wideStep{at, r}
			if next = d.wide[k]; next == unknown {
				next = d.step(at, r)
				if len(d.wide) < maxWide {
					d.wide[k] = next
				}
			}
		}
		if next < 0 {
			return next == matched
		}
		if at = next; len(d.states) > maxStates {
			if resets++; resets > maxResets {
				d.reset()
				return d.re.MatchString(text)
			}
			s := d.states[at]
			insts := slices.Clone(s.insts)
			d.reset()
			at = d.state(insts, s.before)
		}
	}
	if d.states[at].next[end] == unknown {
		d.states[at].next[end] = d.step(at, -1)
	}
	return d.states[at].next[end] == matched
}

// step finds the state that a character, or the end (-1), leads to.
func (d *DFA) step(from int32, r rune) int32 {
	s := &d.states[from]
	flags := syntax.EmptyOp(0)
	if d.context {
		flags = syntax.EmptyOpContext(s.before, r)
	}
	// Everything reachable before the character, in the light of what stands
	// around the place.
	d.mark++
	if d.mark == 0 {
		clear(d.marks)
		d.mark = 1
	}
	d.set = d.set[:0]
	for _, pc := range s.insts {
		if d.closure(pc, flags) {
			return matched
		}
	}
	if r < 0 {
		return failed
	}
	next := d.stack[:0]
	for _, pc := range d.set {
		if i := &d.prog.Inst[pc]; i.MatchRune(r) {
			next = append(next, i.Out)
		}
	}
	d.stack = next
	// A match may also begin behind the character, unless only the start will do.
	if d.prog.StartCond()&syntax.EmptyBeginText == 0 {
		next = append(next, uint32(d.prog.Start))
	}
	if len(next) == 0 {
		return failed
	}
	slices.Sort(next)
	next = slices.Compact(next)
	before := rune(' ')
	if d.context {
		switch {
		case r == '\n':
			before = r
		case syntax.IsWordChar(r):
			before = 'a'
		}
	}
	return d.state(next, before)
}

// closure collects the instructions that take a character, reachable from pc.
// It reports whether the end of the program is.
func (d *DFA) closure(pc uint32, flags syntax.EmptyOp) bool {
	stack := append(d.stack[:0], pc)
	for len(stack) > 0 {
		pc = stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if d.marks[pc] == d.mark {
			continue
		}
		d.marks[pc] = d.mark
		switch i := &d.prog.Inst[pc]; i.Op {
		case syntax.InstMatch:
			return true
		case syntax.InstFail:
		case syntax.InstAlt, syntax.InstAltMatch:
			stack = append(stack, i.Arg, i.Out)
		case syntax.InstCapture, syntax.InstNop:
			stack = append(stack, i.Out)
		case syntax.InstEmptyWidth:
			if syntax.EmptyOp(i.Arg)&^flags == 0 {
				stack = append(stack, i.Out)
			}
		default:
			d.set = append(d.set, pc)
		}
	}
	d.stack = stack
	return false
}

// state is the number of a set of instructions with the character before.
func (d *DFA) state(insts []uint32, before rune) int32 {
	d.key = binary.LittleEndian.AppendUint32(d.key[:0], uint32(before))
	for _, pc := range insts {
		d.key = binary.LittleEndian.AppendUint32(d.key, pc)
	}
	if id, ok := d.ids[string(d.key)]; ok {
		return id
	}
	id := int32(len(d.states))
	d.states = append(d.states, state{insts: slices.Clone(insts), before: before})
	d.ids[string(d.key)] = id
	return id
}
