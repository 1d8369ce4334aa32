package correlate

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// formatVersion changes when the layout of a checkpoint does.
const formatVersion = 1

// ErrCorrupt says that a checkpoint cannot be read.
var ErrCorrupt = errors.New("corrupt checkpoint")

// Save appends the state to dst.
func (c *Correlator) Save(dst []byte) ([]byte, error) {
	dst = append(dst, formatVersion)
	ids := make([]string, 0, len(c.rules))
	for id, s := range c.rules {
		if len(s.groups) > 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	dst = binary.AppendUvarint(dst, uint64(len(ids)))
	for _, id := range ids {
		s := c.rules[id]
		dst = appendString(dst, id)
		dst = appendString(dst, s.key)
		dst = binary.AppendVarint(dst, s.clock)
		dst = binary.AppendUvarint(dst, uint64(len(s.groups)))
		for g := s.oldest; g != nil; g = g.newer {
			var err error
			if dst, err = g.save(dst); err != nil {
				return nil, fmt.Errorf("save state of rule %s: %w", id, err)
			}
		}
	}
	return dst, nil
}

func (g *group) save(dst []byte) ([]byte, error) {
	dst = appendString(dst, g.key)
	dst = binary.AppendVarint(dst, g.last)
	dst = binary.AppendUvarint(dst, uint64(len(g.window)))
	for _, e := range g.window {
		dst = binary.AppendVarint(dst, e.time)
		dst = append(dst, e.uid[:]...)
		dst = binary.LittleEndian.AppendUint64(dst, e.value)
	}
	ep := g.episode
	if ep == nil {
		return append(dst, 0), nil
	}
	alert, err := json.Marshal(&ep.alert)
	if err != nil {
		return nil, fmt.Errorf("encode alert %s: %w", ep.alert.UID, err)
	}
	dst = append(dst, 1)
	dst = appendString(dst, string(alert))
	dst = binary.AppendVarint(dst, ep.until)
	dst = binary.AppendVarint(dst, ep.emitted)
	dst = binary.AppendUvarint(dst, uint64(len(ep.uids)))
	for _, u := range ep.uids {
		dst = append(dst, u[:]...)
	}
	values := make([]uint64, 0, len(ep.values))
	for v := range ep.values {
		values = append(values, v)
	}
	slices.Sort(values)
	dst = binary.AppendUvarint(dst, uint64(len(values)))
	for _, v := range values {
		dst = binary.LittleEndian.AppendUint64(dst, v)
	}
	return dst, nil
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// Load replaces the state by a saved one. State of rules that are gone or mean
// something else now is left out. On error the correlator is unchanged.
func (c *Correlator) Load(data []byte) error {
	r := &decoder{buf: data}
	if v := r.byte(); v != formatVersion {
		return fmt.Errorf("load state: %w: format %d, this build reads %d", ErrCorrupt, v, formatVersion)
	}
	loaded := map[string]*ruleState{}
	for range r.count(4) {
		id, key := r.string(), r.string()
		s := &ruleState{key: key, groups: map[string]*group{}, clock: r.varint()}
		for range r.count(4) {
			r.group(s)
		}
		loaded[id] = s
	}
	if r.failed || len(r.buf) > 0 {
		return fmt.Errorf("load state: %w", ErrCorrupt)
	}
	for id, s := range c.rules {
		old := loaded[id]
		if old == nil || old.key != s.key {
			c.rules[id] = newRuleState(s.rule)
			continue
		}
		old.rule = s.rule
		c.rules[id] = old
	}
	return nil
}

// decoder reads a checkpoint; after a failure it returns zeros.
type decoder struct {
	buf    []byte
	failed bool
}

func (r *decoder) fail() {
	r.failed = true
	r.buf = nil
}

func (r *decoder) bytes(n uint64) []byte {
	if n > uint64(len(r.buf)) {
		r.fail()
		return nil
	}
	out := r.buf[:n]
	r.buf = r.buf[n:]
	return out
}

func (r *decoder) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(r.buf)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.buf = r.buf[n:]
	return v
}

func (r *decoder) varint() int64 {
	v, n := binary.Varint(r.buf)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.buf = r.buf[n:]
	return v
}

// count reads a number of items of at least size bytes each.
func (r *decoder) count(size int) uint64 {
	n := r.uvarint()
	if n > uint64(len(r.buf)/size) {
		r.fail()
		return 0
	}
	return n
}

func (r *decoder) string() string { return string(r.bytes(r.uvarint())) }

func (r *decoder) uid() uid {
	var u uid
	copy(u[:], r.bytes(16))
	return u
}

func (r *decoder) u64() uint64 {
	if b := r.bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *decoder) group(s *ruleState) {
	if r.failed {
		return
	}
	g := s.touch(r.string())
	g.last = r.varint()
	for range r.count(25) {
		g.window = append(g.window, seen{time: r.varint(), uid: r.uid(), value: r.u64()})
	}
	if r.byte() == 0 {
		return
	}
	ep := &episode{}
	if err := json.Unmarshal([]byte(r.string()), &ep.alert); err != nil {
		r.fail()
		return
	}
	ep.until, ep.emitted = r.varint(), r.varint()
	for range r.count(16) {
		ep.uids = append(ep.uids, r.uid())
	}
	if n := r.count(8); n > 0 {
		ep.values = make(map[uint64]struct{}, n)
		for range n {
			ep.values[r.u64()] = struct{}{}
		}
	}
	g.episode = ep
}
