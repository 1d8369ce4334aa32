package mapping

import (
	"regexp"
	"regexp/syntax"
)

// firstBytes tells with which bytes a text must begin for an anchored regular
// expression to match; false if it may begin with any. It spares most lines
// most expressions.
func firstBytes(re *regexp.Regexp) (out [256]bool, ok bool) {
	parsed, err := syntax.Parse(re.String(), syntax.Perl)
	if err != nil {
		return out, false
	}
	prog, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return out, false
	}
	seen := map[uint32]bool{}
	var walk func(pc uint32, anchored bool) bool
	walk = func(pc uint32, anchored bool) bool {
		if seen[pc] {
			return true
		}
		seen[pc] = true
		i := &prog.Inst[pc]
		switch i.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			return walk(i.Out, anchored) && walk(i.Arg, anchored)
		case syntax.InstCapture, syntax.InstNop:
			return walk(i.Out, anchored)
		case syntax.InstEmptyWidth:
			return walk(i.Out, anchored || syntax.EmptyOp(i.Arg)&syntax.EmptyBeginText != 0)
		case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			if !anchored {
				return false
			}
			for b := range out {
				// A byte of a longer character: any of them may match.
				if b >= 0x80 || i.MatchRune(rune(b)) {
					out[b] = true
				}
			}
			return true
		case syntax.InstFail:
			return true
		}
		return false // matches an empty text
	}
	ok = walk(uint32(prog.Start), false)
	return out, ok
}
