package match

import (
	"slices"
	"strings"

	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

// manyTexts is the number of texts from which one pass over the value for all
// of them is faster than a search for each.
const manyTexts = 6

// newGuard makes a test whether a folded value holds at least one text of every
// set. The test keeps scratch memory: one goroutine at a time may use it.
func newGuard(sets [][]string) func(v string) bool {
	texts := slices.Concat(sets...)
	if len(texts) < manyTexts || slices.Contains(texts, "") {
		return func(v string) bool {
			for _, set := range sets {
				if !slices.ContainsFunc(set, func(t string) bool { return strings.Contains(v, t) }) {
					return false
				}
			}
			return true
		}
	}
	var lits []literal
	for set, texts := range sets {
		for _, t := range texts {
			lits = append(lits, literal{kind: lang.LitContains, text: []byte(t), rules: []int32{int32(set)}})
		}
	}
	index := newTextIndex(lits)
	seen := make([]bool, len(sets))
	return func(v string) bool {
		clear(seen)
		missing := len(sets)
		for _, l := range index.scan(bytesOf(v)) {
			if set := lits[l].rules[0]; !seen[set] {
				seen[set] = true
				missing--
			}
		}
		return missing == 0
	}
}
