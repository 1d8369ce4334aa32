package mapping

import (
	"bytes"

	"github.com/vagus-hub/vagus/services/normalize/internal/json"
)

// Bounds of what is learned of the objects of one place.
const (
	shapeKeys   = 256
	shapeKeyLen = 64 // bytes
)

// shape is what a Runner has learned of the objects in one place of the record:
// which key followed which. Programs write their keys in the same order time
// and again, so one comparison with the key that is due takes the place of the
// search for the key's end and of the look-up of its node.
type shape struct {
	start shapeKey // its next is the first key
	lost  shapeKey // stands for keys that are not learned
	keys  map[string]*shapeKey
}

type shapeKey struct {
	quoted string // with quotes and colon
	node   *node  // nil if the mapping does not speak of the key
	next   *shapeKey
}

// key is the key's text.
func (k *shapeKey) key() []byte { return viewBytes(k.quoted[1 : len(k.quoted)-2]) }

// shape is what was learned of the objects at a node.
func (r *Runner) shape(n *node) *shape {
	sh := r.shapes[n.id]
	if sh == nil {
		sh = &shape{keys: map[string]*shapeKey{}}
		r.shapes[n.id] = sh
	}
	return sh
}

// learn notes that a key came after last.
func (sh *shape) learn(last *shapeKey, key []byte, escaped bool, n *node) *shapeKey {
	k := sh.keys[string(key)]
	if escaped || k == nil && (len(sh.keys) >= shapeKeys || len(key) > shapeKeyLen) {
		last.next = nil
		return &sh.lost
	}
	if k == nil {
		k = &shapeKey{quoted: `"` + string(key) + `":`, node: n}
		sh.keys[string(key)] = k
	}
	last.next = k
	return k
}

// fill reads the object that comes next.
func (r *Runner) fill(s *json.Scanner, n *node) {
	sh := r.shape(n)
	last := &sh.start
	s.Enter()
	for first := true; ; first = false {
		var c *node
		var key []byte
		if due := last.next; due != nil && s.KeyIs(first, due.quoted) {
			c, key, last = due.node, due.key(), due
		} else {
			found, escaped, ok := s.Key(first)
			if !ok {
				return
			}
			if key = found; escaped {
				key = r.unescape(key)
			}
			if c = n.child(key); c == nil && bytes.IndexByte(key, '.') > 0 {
				c = lookup(n, key)
			}
			last = sh.learn(last, key, escaped, c)
		}
		switch {
		case s.Null():
			r.hasRoot = r.hasRoot || c != nil && c.split
		case c == nil:
			r.keep(key, s.Value())
		default:
			r.place(s, c, key)
		}
	}
}
