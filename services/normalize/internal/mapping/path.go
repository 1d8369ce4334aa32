package mapping

import (
	"strconv"
	"strings"
)

// segment is one step of a path: a key, an index [2] or every element [*].
type segment struct {
	key   string
	index int // -1: a key; -2: every element
}

const everyElement = -2

// parsePath reads a.b["key.with.dots"][0].c and a[*].b.
func parsePath(t place) ([]segment, error) {
	var out []segment
	s := t.value
	for len(s) > 0 {
		switch {
		case s[0] == '.':
			s = s[1:]
			if s == "" || s[0] == '.' || s[0] == '[' {
				return nil, t.errorf("path %q: a key is missing after a dot", t.value)
			}
		case strings.HasPrefix(s, `["`):
			end := strings.Index(s, `"]`)
			if end < 0 {
				return nil, t.errorf(`path %q: ["… is not closed`, t.value)
			}
			out = append(out, segment{key: s[2:end], index: -1})
			s = s[end+2:]
		case strings.HasPrefix(s, "[*]"):
			out = append(out, segment{index: everyElement})
			s = s[3:]
		case s[0] == '[':
			end := strings.IndexByte(s, ']')
			n, err := strconv.Atoi(s[1:max(end, 1)])
			if end < 0 || err != nil || n < 0 || n > 1000 {
				return nil, t.errorf("path %q: %q is not an index", t.value, s)
			}
			out = append(out, segment{index: n})
			s = s[end+1:]
		default:
			end := strings.IndexAny(s, ".[")
			if end < 0 {
				end = len(s)
			}
			out = append(out, segment{key: s[:end], index: -1})
			s = s[end:]
		}
	}
	if len(out) == 0 {
		return nil, t.errorf("the path is empty")
	}
	return out, nil
}

// shown writes a path as unmapped does: keys with dots between them.
func shown(segments []segment) string {
	var out []byte
	for i, s := range segments {
		switch {
		case s.index == everyElement:
			out = append(out, "[*]"...)
		case s.index >= 0:
			out = append(strconv.AppendInt(append(out, '['), int64(s.index), 10), ']')
		default:
			if i > 0 {
				out = append(out, '.')
			}
			out = append(out, s.key...)
		}
	}
	return string(out)
}

// node is a place in the record that the mapping speaks of.
type node struct {
	id       int // in the mapping
	slot     int // -1: none
	children map[string]*node
	table    keyTable // children, once the mapping is compiled
	below    []int    // slots of a split node and of all below it
	indexes  map[int]*node
	every    *node
	rest     *node  // of all other keys: "*" in a path of same
	split    bool   // an array whose elements are records of their own
	keyValue bool   // a list of {key, value}, as OTLP writes attributes
	embedded bool   // a string that holds JSON
	ignore   bool   // what the mapping does not place is not worth keeping
	skip     bool   // ignored, and nothing below is placed
	other    bool   // other places of the record are read as this one
	shown    []byte // with other: the path of this place, with a dot behind, for unmapped
	frozen   bool
}

func newNode() *node { return &node{slot: -1} }

func (n *node) find(segments []segment) *node {
	for _, s := range segments {
		var next *node
		switch {
		case s.index == everyElement:
			if n.every == nil {
				n.every = newNode()
			}
			next = n.every
		case s.index >= 0:
			if n.indexes == nil {
				n.indexes = map[int]*node{}
			}
			if n.indexes[s.index] == nil {
				n.indexes[s.index] = newNode()
			}
			next = n.indexes[s.index]
		default:
			if n.children == nil {
				n.children = map[string]*node{}
			}
			if n.children[s.key] == nil {
				n.children[s.key] = newNode()
			}
			next = n.children[s.key]
		}
		n = next
	}
	return n
}

// child is the node of a key, nil if the mapping does not speak of it.
func (n *node) child(key []byte) *node {
	var c *node
	if n.table.slots == nil {
		c = n.children[string(key)]
	} else {
		c = n.table.get(key)
	}
	if c == nil {
		return n.rest
	}
	return c
}

// freeze prepares a compiled tree for reading, and numbers its nodes from id. It
// has circles where places are read as others.
func (n *node) freeze(id *int) {
	if n.frozen {
		return
	}
	n.frozen = true
	n.id = *id
	*id++
	n.table = newKeyTable(n.children)
	n.skip = n.ignore && len(n.slots()) == 0
	for _, c := range n.children {
		c.freeze(id)
		if c.split {
			c.below = c.slots()
		}
	}
	for _, c := range n.indexes {
		c.freeze(id)
	}
	for _, c := range []*node{n.every, n.rest} {
		if c != nil {
			c.freeze(id)
		}
	}
}

// slots lists the slots of n and below.
func (n *node) slots() []int {
	var out []int
	seen := map[*node]bool{}
	var visit func(n *node)
	visit = func(n *node) {
		if n == nil || seen[n] {
			return
		}
		seen[n] = true
		if n.slot >= 0 {
			out = append(out, n.slot)
		}
		for _, c := range n.children {
			visit(c)
		}
		for _, c := range n.indexes {
			visit(c)
		}
		visit(n.every)
		visit(n.rest)
	}
	visit(n)
	return out
}

// keyTable finds a node by its key: a hash of the length and three bytes is
// enough for the keys of a log, and costs a tenth of a map's.
type keyTable struct {
	mask  uint32
	slots []keySlot // open addressing; a nil node ends a search
}

type keySlot struct {
	key  string
	node *node
}

func keyHash(key []byte) uint32 {
	n := uint32(len(key))
	if n == 0 {
		return 0
	}
	h := n*0x9e3779b1 ^ uint32(key[0])*0x85ebca6b ^ uint32(key[n-1])*0xc2b2ae35 ^ uint32(key[n/2])*0x27d4eb2f
	return h ^ h>>15
}

func newKeyTable(children map[string]*node) keyTable {
	if len(children) == 0 {
		return keyTable{}
	}
	size := 4
	for size < 3*len(children) {
		size *= 2
	}
	t := keyTable{mask: uint32(size - 1), slots: make([]keySlot, size)}
	for key, n := range children {
		i := keyHash([]byte(key)) & t.mask
		for t.slots[i].node != nil {
			i = (i + 1) & t.mask
		}
		t.slots[i] = keySlot{key, n}
	}
	return t
}

func (t *keyTable) get(key []byte) *node {
	for i := keyHash(key) & t.mask; ; i = (i + 1) & t.mask {
		s := &t.slots[i]
		if s.node == nil || s.key == string(key) {
			return s.node
		}
	}
}

// leaf reports whether the mapping wants nothing below n.
func (n *node) leaf() bool {
	return n.children == nil && n.indexes == nil && n.every == nil && n.rest == nil
}
