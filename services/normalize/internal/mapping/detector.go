package mapping

import (
	"bytes"
	"fmt"
	"slices"
	"sort"

	"github.com/vagus-hub/vagus/services/normalize/internal/text"
)

// detector knows how to recognise every source: one tree of the paths that any
// of them asks for, and for each path the alternatives that hang on it. A
// record is read once, however many sources there are.
type detector struct {
	json  *reading
	texts []*reading     // a way to read text each
	first [256][]*chosen // alternatives of lines alone, by the first byte
	lines []*chosen      // those without a prefix
}

// reading is one way to read a record with the alternatives that need it.
type reading struct {
	name  string
	root  *node
	slots int
	index map[string]int
	alts  []*chosen
	at    [][]*chosen // by slot: the alternatives that hang on it
	// of texts: whether data may be of the format, and its parser
	may    func(data []byte) bool
	parser func() text.Parser
	table  *text.Table
}

// chosen is an alternative of a source.
type chosen struct {
	m     *Mapping
	alt   *alternative
	paths []test // with slots of the reading
	count int
}

func newReading(name string) *reading {
	return &reading{name: name, root: newNode(), index: map[string]int{}}
}

// IsFallback reports whether a source is for whatever comes in an envelope:
// any other source that recognises a record wins over it.
func IsFallback(source string) bool {
	switch source {
	case "syslog.message", "splunk.hec", "elastic.ecs", "opentelemetry.logs", "opentelemetry.traces", "opentelemetry.metrics", "cloudevents.event":
		return true
	}
	return false
}

// newDetector builds the index. Mappings come in the order of their ids, which
// decides where two are equally sure.
func newDetector(all []*Mapping) *detector {
	d := &detector{json: newReading("json")}
	byName := map[string]*reading{}
	for _, m := range all {
		for i := range m.detect {
			a := &m.detect[i]
			c := &chosen{m: m, alt: a, count: a.conditions()}
			if IsFallback(m.Source) {
				c.count -= 1000 // any other source knows better
			}
			if len(a.line) == 0 && m.format != formatText {
				d.json.add(c)
			}
			switch {
			case m.format == formatJSON || m.format == formatAuto && len(a.line) == 0:
			case len(a.paths) == 0:
				d.addLine(&chosen{m: m, alt: a, count: c.count})
			default:
				name := m.readingName()
				if byName[name] == nil {
					byName[name] = newReading(name)
					byName[name].of(m)
					d.texts = append(d.texts, byName[name])
				}
				byName[name].add(&chosen{m: m, alt: a, count: c.count})
			}
		}
		for _, mk := range m.marks {
			if n := d.json.root.existing(mk.segments); n != nil {
				n.keyValue, n.embedded = n.keyValue || mk.keyValue, n.embedded || !mk.keyValue
			}
		}
	}
	d.json.anchor()
	d.json.root.freeze(new(int))
	for _, r := range d.texts {
		r.anchor()
		r.root.freeze(new(int))
	}
	return d
}

// readingName is the same for mappings whose records the same parser reads.
func (m *Mapping) readingName() string {
	switch {
	case m.format == formatCSV:
		return "csv of " + m.Source
	case m.format == formatKV:
		return fmt.Sprintf("kv %d", m.parser().(*text.Pairs).Separator)
	}
	return m.Format
}

func (r *reading) of(m *Mapping) {
	r.parser, r.table = m.parser, m.table
	contains := func(s string) func([]byte) bool {
		return func(data []byte) bool { return bytes.Contains(data, []byte(s)) }
	}
	switch m.format {
	case formatKV:
		r.may = contains("=")
	case formatCEF:
		r.may = contains("CEF:")
	case formatLEEF:
		r.may = contains("LEEF:")
	case formatAudit:
		r.may = contains("msg=audit(")
	case formatZeek:
		r.may = func(data []byte) bool { return len(data) > 0 && data[0] == '#' }
	default:
		r.may = func([]byte) bool { return true }
	}
}

func (r *reading) add(c *chosen) {
	for _, p := range c.alt.paths {
		key := pathKey(p.segments)
		slot, ok := r.index[key]
		if !ok {
			slot = r.slots
			r.slots++
			r.index[key] = slot
			r.root.find(p.segments).slot = slot
		}
		t := p.test
		t.slot = slot
		c.paths = append(c.paths, t)
	}
	r.alts = append(r.alts, c)
}

func pathKey(segments []segment) string {
	var b bytes.Buffer
	for _, s := range segments {
		fmt.Fprintf(&b, "%q%d;", s.key, s.index)
	}
	return b.String()
}

// anchor hangs every alternative on the path that the fewest others ask for.
func (r *reading) anchor() {
	asked := make([]int, r.slots)
	for _, c := range r.alts {
		for i := range c.paths {
			asked[c.paths[i].slot]++
		}
	}
	r.at = make([][]*chosen, r.slots)
	for _, c := range r.alts {
		best := -1
		for i := range c.paths {
			if t := &c.paths[i]; t.positive() && (best < 0 || asked[t.slot] < asked[best]) {
				best = t.slot
			}
		}
		if best >= 0 {
			r.at[best] = append(r.at[best], c)
		}
	}
}

// existing finds a node without making it.
func (n *node) existing(segments []segment) *node {
	for _, s := range segments {
		if n == nil {
			return nil
		}
		switch {
		case s.index == everyElement:
			n = n.every
		case s.index >= 0:
			n = n.indexes[s.index]
		default:
			n = n.children[s.key]
		}
	}
	return n
}

// addLine files an alternative that asks for the text alone.
func (d *detector) addLine(c *chosen) {
	var bytes [256]bool
	prefixed := false
	for _, t := range c.alt.line {
		switch {
		case prefixed:
		case t.prefix != nil:
			prefixed = !slices.Contains(t.prefix, "")
			for _, p := range t.prefix {
				if p != "" {
					bytes[p[0]] = true
				}
			}
		case t.re != nil:
			bytes, prefixed = firstBytes(t.re)
		}
	}
	if !prefixed {
		d.lines = append(d.lines, c)
		return
	}
	for b, ok := range bytes {
		if ok {
			d.first[b] = append(d.first[b], c)
		}
	}
}

// sorted lists the mappings by id.
func (s *Set) sorted() []*Mapping {
	var out []*Mapping
	for _, m := range s.byID {
		out = append(out, m)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Source < out[j].Source })
	return out
}
