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
	slot     int // -1: none
	children map[string]*node
	indexes  map[int]*node
	every    *node
	split    bool // an array whose elements are records of their own
	keyValue bool // a list of {key, value}, as OTLP writes attributes
	embedded bool // a string that holds JSON
	ignore   bool
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

// leaf reports whether the mapping wants nothing below n.
func (n *node) leaf() bool { return n.children == nil && n.indexes == nil && n.every == nil }
