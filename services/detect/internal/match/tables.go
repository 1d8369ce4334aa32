package match

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"unsafe"

	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

// literal is a text to look for in one field.
type literal struct {
	kind lang.LitKind
	text []byte // folded
	units
}

// anchorLen is how much of a literal's end (or start) keys the anchored tables.
const anchorLen = 24

// textIndex finds the literals that a folded value holds, in time that hardly
// depends on their number.
type textIndex struct {
	lits   []literal
	suffix *buckets // LitEq and LitSuffix by their last bytes
	prefix *buckets
	sufLen uint32 // bit n-1: keys of n bytes exist
	preLen uint32
	grams  [4]*buckets // LitContains by grams, see gramKinds
	hit    []uint64    // by literal: stamp of the last value that held it
	stamp  uint64
	found  []int32
}

// gramKind is a way to find literals in values by grams of some bytes, of which
// only those at every step-th place of a value are looked at. A literal has a
// gram for each remainder of its place, so that one of them is met.
type gramKind struct{ size, step int }

// gramKinds serve literals from size+step-1 bytes on, the first that can.
var gramKinds = [4]gramKind{{8, 4}, {4, 1}, {2, 1}, {1, 1}}

// own copies the literals' texts side by side.
func (t *textIndex) own() {
	size := 0
	for i := range t.lits {
		size += len(t.lits[i].text)
	}
	arena := make([]byte, 0, size)
	for i := range t.lits {
		from := len(arena)
		arena = append(arena, t.lits[i].text...)
		t.lits[i].text = arena[from:len(arena):len(arena)]
	}
}

// newTextIndex makes the index of literals, which have texts. usual is how often
// a gram of 4 bytes was seen in a learned sample.
func newTextIndex(lits []literal, usual func(gram []byte) float64) *textIndex {
	t := &textIndex{lits: lits, hit: make([]uint64, len(lits))}
	suffix, prefix := map[uint64][]ref{}, map[uint64][]ref{}
	var grams [4]map[uint64][]ref
	t.own()
	for i := range lits {
		l := &lits[i]
		n := min(len(l.text), anchorLen)
		switch l.kind {
		case lang.LitEq, lang.LitSuffix:
			k := hashBack(l.text, n)
			suffix[k] = append(suffix[k], ref{lit: int32(i)})
			t.sufLen |= 1 << (n - 1)
		case lang.LitPrefix:
			k := hashFront(l.text, n)
			prefix[k] = append(prefix[k], ref{lit: int32(i)})
			t.preLen |= 1 << (n - 1)
		case lang.LitContains:
			s := 0
			for len(l.text) < gramKinds[s].size+gramKinds[s].step-1 {
				s++
			}
			if grams[s] == nil {
				grams[s] = map[uint64][]ref{}
			}
			for first := range gramKinds[s].step {
				k, off := rarestGram(l.text, gramKinds[s], first, grams[s], usual)
				grams[s][k] = append(grams[s][k], newRef(i, l.text, off, gramKinds[s].size))
			}
		}
	}
	t.suffix, t.prefix = newBuckets(suffix), newBuckets(prefix)
	for s := range grams {
		t.grams[s] = newBuckets(grams[s])
	}
	return t
}

const hashPrime = 0x100000001b3

func hashBack(v []byte, n int) uint64 {
	h := uint64(14695981039346656037)
	for i := range n {
		h = (h ^ uint64(v[len(v)-1-i])) * hashPrime
	}
	return h
}

func hashFront(v []byte, n int) uint64 {
	h := uint64(14695981039346656037)
	for i := range n {
		h = (h ^ uint64(v[i])) * hashPrime
	}
	return h
}

// gram is the key of the bytes from i on, in the order of load.
func gram(v []byte, i, size int) uint64 {
	k := uint64(0)
	for j, c := range v[i : i+size] {
		k |= uint64(c) << (8 * j)
	}
	return k
}

// common holds grams that ordinary values are full of; they make poor keys.
const common = `c:\windows\system32\ c:\program files (x86)\ common files\ microsoft\ .exe" .exe .dll \appdata\local\temp\ roaming ` +
	`c:\users\ administrator \software\microsoft\windows nt\currentversion\ hklm\system\currentcontrolset\services\ hku\s-1-5-21- ` +
	`\sysnative\ syswow64 svchost.exe -k netsvcs powershell.exe cmd.exe /c start explorer.exe rundll32.exe http://www. https:// .com/ ` +
	`-command -noprofile --type=renderer -encod{00000000-0000-0000-0000-000000000000} windows the and tion ing ent please what ` +
	`{"role":"user","content":" /api/v1/namespaces/default/pods/ /v1/chat/completions system:serviceaccount:kube-system `

// rarestGram picks the gram of a literal that will be seen and shared least, of
// those whose place leaves the same remainder as first. usual is how often a
// gram of 4 bytes was seen in a learned sample.
func rarestGram(v []byte, kind gramKind, first int, taken map[uint64][]ref, usual func(gram []byte) float64) (key uint64, off int) {
	best := 1e30
	for i := first; i+kind.size <= len(v); i += kind.step {
		g := v[i : i+kind.size]
		k := gram(v, i, kind.size)
		seen := usual(g[:min(4, len(g))])
		for j := 1; j+4 <= len(g); j++ {
			seen = min(seen, usual(g[j:j+4]))
		}
		score := float64(4*len(taken[k])) + 2000*seen
		if strings.Contains(common, string(g)) {
			score += 400
		}
		for _, c := range g {
			if c >= 'a' && c <= 'z' || c == ' ' || c == '\\' {
				score++
			}
		}
		if score < best {
			best, key, off = score, k, i
		}
	}
	return key, off
}

// scan returns the literals in a folded value, sorted; the slice is reused.
func (t *textIndex) scan(v []byte) []int32 {
	t.found = t.found[:0]
	t.stamp++
	if len(v) == 0 {
		return t.found
	}
	if t.suffix != nil {
		h := uint64(14695981039346656037)
		for n := 1; n <= len(v) && n <= anchorLen; n++ {
			h = (h ^ uint64(v[len(v)-n])) * hashPrime
			if t.sufLen&(1<<(n-1)) == 0 {
				continue
			}
			if !t.suffix.maybe(h) {
				continue
			}
			for _, r := range t.suffix.get(h) {
				l := &t.lits[r.lit]
				if bytes.HasSuffix(v, l.text) && (l.kind == lang.LitSuffix || len(v) == len(l.text)) {
					t.add(r.lit)
				}
			}
		}
	}
	if t.prefix != nil {
		h := uint64(14695981039346656037)
		for n := 1; n <= len(v) && n <= anchorLen; n++ {
			h = (h ^ uint64(v[n-1])) * hashPrime
			if t.preLen&(1<<(n-1)) == 0 {
				continue
			}
			if !t.prefix.maybe(h) {
				continue
			}
			for _, r := range t.prefix.get(h) {
				if bytes.HasPrefix(v, t.lits[r.lit].text) {
					t.add(r.lit)
				}
			}
		}
	}
	for s, b := range t.grams {
		if b != nil {
			if kind := gramKinds[s]; kind.step == 1 {
				t.everywhere(v, b, kind.size)
			} else {
				t.stepwise(v, b, kind.step)
			}
		}
	}
	slices.Sort(t.found)
	return t.found
}

// any reports whether a value holds one of the literals, which are compared as
// they are.
func (t *textIndex) any(v string) bool {
	return len(t.scan(unsafe.Slice(unsafe.StringData(v), len(v)))) > 0
}

// everywhere looks at all grams of a value.
func (t *textIndex) everywhere(v []byte, b *buckets, size int) {
	window := uint64(1)<<(8*size) - 1
	i := 0
	for ; i+8 <= len(v); i += 4 {
		w := binary.LittleEndian.Uint64(v[i:])
		if k := w & window; b.maybe(k) {
			t.check(v, i, b.get(k))
		}
		if k := w >> 8 & window; b.maybe(k) {
			t.check(v, i+1, b.get(k))
		}
		if k := w >> 16 & window; b.maybe(k) {
			t.check(v, i+2, b.get(k))
		}
		if k := w >> 24 & window; b.maybe(k) {
			t.check(v, i+3, b.get(k))
		}
	}
	for ; i+size <= len(v); i++ {
		if k := gram(v, i, size); b.maybe(k) {
			t.check(v, i, b.get(k))
		}
	}
}

// stepwise looks at grams of 8 bytes, at every step-th place.
func (t *textIndex) stepwise(v []byte, b *buckets, step int) {
	for i := 0; i+8 <= len(v); i += step {
		if k := binary.LittleEndian.Uint64(v[i:]); b.maybe(k) {
			t.check(v, i, b.get(k))
		}
	}
}

// check takes those of the literals whose gram begins at i that the value holds.
func (t *textIndex) check(v []byte, i int, refs []ref) {
	for j := range refs {
		r := &refs[j]
		start := i - int(r.off)
		if start < 0 || start+int(r.size) > len(v) || (load(v, i+int(r.at))^r.word)<<r.short != 0 || t.hit[r.lit] == t.stamp {
			continue
		}
		if r.size <= 8 || string(v[start:start+int(r.size)]) == string(t.lits[r.lit].text) {
			t.add(r.lit)
		}
	}
}

func (t *textIndex) add(lit int32) {
	if t.hit[lit] != t.stamp {
		t.hit[lit] = t.stamp
		t.found = append(t.found, lit)
	}
}
