package match

import (
	"bytes"
	"math/bits"
	"slices"
	"strings"
	"unsafe"

	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

// buckets maps 64-bit keys to lists of literals: a bitmap that fits the first
// cache level says no for nearly every key, an open-addressed table the rest.
type buckets struct {
	bloom [1024]uint64
	mask  uint64
	keys  []uint64
	spans []span // parallel to keys; empty = free
	items []ref
}

type span struct{ from, to uint32 }

// ref is a literal and the offset of its key within it.
type ref struct{ lit, off int32 }

// mix spreads a key; the bitmap takes the top bits, the table the low ones.
func mix(k uint64) uint64 {
	k *= 0x9E3779B97F4A7C15
	return k ^ k>>29
}

func newBuckets(m map[uint64][]ref) *buckets {
	if len(m) == 0 {
		return nil
	}
	size := 1 << bits.Len(uint(2*len(m)))
	b := &buckets{mask: uint64(size - 1), keys: make([]uint64, size), spans: make([]span, size)}
	for k, refs := range m {
		h := mix(k)
		b.bloom[h>>54] |= 1 << (h >> 48 & 63)
		i := h & b.mask
		for b.spans[i].to != 0 {
			i = (i + 1) & b.mask
		}
		b.keys[i] = k
		b.spans[i].from = uint32(len(b.items))
		b.items = append(b.items, refs...)
		b.spans[i].to = uint32(len(b.items))
	}
	return b
}

// get returns the literals of a key, nil for nearly every other key.
func (b *buckets) get(k uint64) []ref {
	h := mix(k)
	if b.bloom[h>>54]&(1<<(h>>48&63)) == 0 {
		return nil
	}
	for i := h & b.mask; b.spans[i].to != 0; i = (i + 1) & b.mask {
		if b.keys[i] == k {
			return b.items[b.spans[i].from:b.spans[i].to]
		}
	}
	return nil
}

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
	grams  [3]*buckets // LitContains by one gram of 4, 2 or 1 bytes
	hit    []uint64    // by literal: stamp of the last value that held it
	stamp  uint64
	found  []int32
}

var gramSizes = [3]int{4, 2, 1}

func newTextIndex(lits []literal, usual func(gram []byte) float64) *textIndex {
	t := &textIndex{lits: lits, hit: make([]uint64, len(lits))}
	suffix, prefix := map[uint64][]ref{}, map[uint64][]ref{}
	var grams [3]map[uint64][]ref
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
			for len(l.text) < gramSizes[s] {
				s++
			}
			if grams[s] == nil {
				grams[s] = map[uint64][]ref{}
			}
			k, off := rarestGram(l.text, gramSizes[s], grams[s], usual)
			grams[s][k] = append(grams[s][k], ref{int32(i), int32(off)})
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

func gram(v []byte, i, size int) uint64 {
	k := uint64(0)
	for _, c := range v[i : i+size] {
		k = k<<8 | uint64(c)
	}
	return k
}

// common holds grams that ordinary values are full of; they make poor keys.
const common = `c:\windows\system32\ c:\program files (x86)\ common files\ microsoft\ .exe" .exe .dll \appdata\local\temp\ roaming ` +
	`c:\users\ administrator \software\microsoft\windows nt\currentversion\ hklm\system\currentcontrolset\services\ hku\s-1-5-21- ` +
	`\sysnative\ syswow64 svchost.exe -k netsvcs powershell.exe cmd.exe /c start explorer.exe rundll32.exe http://www. https:// .com/ ` +
	`-command -noprofile --type=renderer -encod{00000000-0000-0000-0000-000000000000} windows the and tion ing ent please what ` +
	`{"role":"user","content":" /api/v1/namespaces/default/pods/ /v1/chat/completions system:serviceaccount:kube-system `

// rarestGram picks the gram of a literal that will be seen and shared least.
// usual is how often a gram was seen in a learned sample.
func rarestGram(v []byte, size int, taken map[uint64][]ref, usual func(gram []byte) float64) (key uint64, off int) {
	best := 1e30
	for i := 0; i+size <= len(v); i++ {
		k := gram(v, i, size)
		score := float64(4*len(taken[k])) + 2000*usual(v[i:i+size])
		if strings.Contains(common, string(v[i:i+size])) {
			score += 400
		}
		for _, c := range v[i : i+size] {
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
			for _, r := range t.prefix.get(h) {
				if bytes.HasPrefix(v, t.lits[r.lit].text) {
					t.add(r.lit)
				}
			}
		}
	}
	for s, b := range t.grams {
		if b != nil {
			t.contained(v, b, gramSizes[s])
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

// contained slides over the value; a gram that a literal is keyed by is rare.
func (t *textIndex) contained(v []byte, b *buckets, size int) {
	if len(v) < size {
		return
	}
	window := uint64(1)<<(8*size) - 1
	k := uint64(0)
	for i, c := range v {
		k = (k<<8 | uint64(c)) & window
		if i < size-1 {
			continue
		}
		h := mix(k)
		if b.bloom[h>>54]&(1<<(h>>48&63)) == 0 {
			continue
		}
		for _, r := range b.get(k) {
			if t.hit[r.lit] == t.stamp {
				continue
			}
			start := i - size + 1 - int(r.off)
			l := t.lits[r.lit].text
			if start >= 0 && start+len(l) <= len(v) && string(v[start:start+len(l)]) == string(l) {
				t.add(r.lit)
			}
		}
	}
}

func (t *textIndex) add(lit int32) {
	if t.hit[lit] != t.stamp {
		t.hit[lit] = t.stamp
		t.found = append(t.found, lit)
	}
}
