package match

import (
	"slices"
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// router gives every distinct routing of the rules a bit, and every row the
// bits of the routings it satisfies. With more than 64 routings bits are
// shared: then a bit only says "perhaps".
type router struct {
	specs []rule.Source
	bits  []uint64 // by spec
	memo  map[routeKey]uint64
	rows  []uint64
	near  []nearRoute
}

type routeKey struct {
	family uint8
	class  uint32
	source string
}

// nearRoute remembers the routings of the block at hand.
type nearRoute struct {
	class  uint32
	source uint32
	bits   uint64
}

const maxRoutes = 4096

// add returns the bit of a rule's routing.
func (r *router) add(s rule.Source) uint64 {
	for i, have := range r.specs {
		if have.Families == s.Families && slices.Equal(have.Classes, s.Classes) && slices.Equal(have.Products, s.Products) {
			return r.bits[i]
		}
	}
	bit := uint64(1) << (len(r.specs) % 64)
	r.specs = append(r.specs, s)
	r.bits = append(r.bits, bit)
	return bit
}

// shared says that bits are shared, so that they are no proof.
func (r *router) shared() bool { return len(r.specs) > 64 }

func (r *router) resolve(k routeKey) uint64 {
	if bits, ok := r.memo[k]; ok {
		return bits
	}
	bits := uint64(0)
	for i, s := range r.specs {
		if s.Families.Has(event.Family(k.family)) && (len(s.Classes) == 0 || slices.Contains(s.Classes, k.class)) &&
			(len(s.Products) == 0 || slices.Contains(s.Products, k.source)) {
			bits |= r.bits[i]
		}
	}
	if r.memo == nil || len(r.memo) >= maxRoutes {
		r.memo = map[routeKey]uint64{}
	}
	k.source = strings.Clone(k.source)
	r.memo[k] = bits
	return bits
}

// open computes the bits of every row of a block, and their union.
func (r *router) open(b *block.Block) (rows []uint64, union uint64) {
	n := b.Rows()
	if cap(r.rows) < n {
		r.rows = make([]uint64, n)
	}
	r.rows = r.rows[:n]
	r.near = r.near[:0]
	classes, sources := b.Column(event.ClassUID), b.Column(event.Source)
	var keys []uint32
	if sources != nil {
		keys = sources.Keys()
	}
	var last nearRoute
	for row := range n {
		class, source := uint32(0), uint32(0)
		if classes != nil {
			class = uint32(classes.Int(row))
		}
		if keys != nil {
			source = keys[row]
		}
		if row == 0 || class != last.class || source != last.source {
			last = r.find(b, sources, class, source)
			union |= last.bits
		}
		r.rows[row] = last.bits
	}
	return r.rows, union
}

func (r *router) find(b *block.Block, sources *block.Column, class, source uint32) nearRoute {
	for _, n := range r.near {
		if n.class == class && n.source == source {
			return n
		}
	}
	name := b.Header.Source
	if sources != nil {
		name = sources.Dict().At(int(source))
	}
	n := nearRoute{class, source, r.resolve(routeKey{b.Header.Family, class, name})}
	if len(r.near) < 64 {
		r.near = append(r.near, n)
	}
	return n
}
