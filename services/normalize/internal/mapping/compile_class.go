package mapping

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
)

func (c *compiler) class(f *file, r *classRule) {
	class, ok := event.ClassByName(r.Class.value)
	if !ok {
		var names []string
		for i := range event.Classes {
			names = append(names, event.Classes[i].Name)
		}
		c.fail(r.Class.errorf("unknown class %q%s", r.Class.value, suggest(r.Class.value, names)))
		return
	}
	out := caseOp{when: c.tests(r.When), class: class, family: class.Family}
	if r.Family.value != "" {
		if out.family, ok = event.FamilyByName(r.Family.value); !ok {
			c.fail(r.Family.errorf("unknown family %q%s", r.Family.value, suggest(r.Family.value, event.FamilyNames[:])))
		}
	}
	if r.Activity != nil {
		out.activity = c.activity(class, r.Activity)
	}
	own := map[string]bool{}
	for _, cf := range r.Fields {
		own[cf.name.value] = true
		c.column(&out, cf)
	}
	if sev := r.Severity; sev != nil {
		c.severity(&out, sev)
	} else if f.Severity != nil {
		c.severity(&out, f.Severity)
	}
	for _, cf := range f.Fields {
		col, ok := event.ByPath(cf.name.value)
		// A shared field fills whatever families have the column; a class's own
		// field that its family lacks is a mistake.
		if own[cf.name.value] || ok && !col.Families.Has(out.family) && (len(f.Classes) > 1 || cf.shared) {
			continue
		}
		c.column(&out, cf)
	}
	c.m.cases = append(c.m.cases, out)
}

// activity compiles a name, or a path whose values map to names.
func (c *compiler) activity(class *event.Class, f *field) *op {
	id := func(name string) string {
		if n, ok := class.Activity(name); ok {
			return fmt.Sprint(n)
		}
		if strings.EqualFold(name, "other") {
			return "99"
		}
		var names []string
		for _, a := range class.Activities {
			names = append(names, a.Name)
		}
		c.fail(f.errorf("class %s has no activity %q%s", class.Name, name, suggest(name, names)))
		return "0"
	}
	if len(f.Map) == 0 && f.Const == nil && len(f.Paths) == 1 {
		return constActivity(id(f.Paths[0].value))
	}
	if f.Const != nil {
		return constActivity(id(*f.Const))
	}
	o := &op{minus: -1, join: -1, mapping: map[string]string{}, other: "99"}
	for _, p := range f.Paths {
		at := &op{slots: []int{c.slot(p)}, minus: -1, join: -1}
		c.transform(at, f.As)
		c.refine(at, f)
		at.or, o.or = o.or, at
	}
	for from, to := range f.Map {
		o.mapping[from] = id(to)
	}
	if f.Default != "" {
		o.other = id(f.Default)
	}
	return o
}

func constActivity(id string) *op {
	n, _ := strconv.Atoi(id)
	return &op{isConst: true, minus: -1, join: -1, text: id, number: float64(n)}
}

func (c *compiler) column(out *caseOp, cf columnField) {
	col, ok := event.ByPath(cf.name.value)
	if !ok {
		var names []string
		for i := range event.Columns {
			names = append(names, event.Columns[i].Path)
		}
		c.fail(cf.name.errorf("unknown column %q%s", cf.name.value, suggest(cf.name.value, names)))
		return
	}
	if !col.Families.Has(out.family) {
		c.fail(cf.name.errorf("column %s is not in the family %s, where class %s is stored", col.Path, out.family, out.class.Name))
		return
	}
	switch col.ID {
	case event.EventUID, event.Time, event.ReceivedAt, event.Source, event.ClassUID, event.Unmapped:
		c.fail(cf.name.errorf("column %s is filled by the hub", col.Path))
		return
	}
	if o := c.op(col, &cf.from); o != nil {
		last := o
		for i := range cf.from.Or {
			if last.or = c.op(col, &cf.from.Or[i]); last.or == nil {
				return
			}
			last = last.or
		}
		c.m.columns[col.ID] = true
		out.ops = append(out.ops, *o)
	}
}

// op compiles one source of a column; nil after an error.
func (c *compiler) op(col *event.Column, f *field) *op {
	o := op{column: col.ID, kind: col.Kind, limit: col.Max, minus: -1, join: -1, mapping: f.Map, other: f.Default}
	for _, p := range f.Paths {
		o.slots = append(o.slots, c.slot(p))
	}
	if f.Minus.value != "" {
		o.minus = c.slot(f.Minus)
	}
	if f.Join.value != "" {
		o.join = c.slot(f.Join)
	}
	c.refine(&o, f)
	c.transform(&o, f.As)
	if f.Const != nil {
		o.isConst, o.text = true, *f.Const
		if col.Kind.Number() || col.Kind == event.KindBool {
			n, ok := parseNumber([]byte(o.text))
			if !ok {
				c.fail(f.errorf("column %s is a number, %q is not", col.Path, o.text))
				return nil
			}
			o.number = n
		}
	}
	for _, v := range f.Map {
		if _, ok := parseNumber([]byte(v)); !ok && col.Kind.Number() {
			c.fail(f.errorf("column %s is a number, %q in its map is not", col.Path, v))
			return nil
		}
	}
	return &o
}

// transform gives an op its transform, if the name is not empty.
func (c *compiler) transform(o *op, name place) {
	if name.value == "" {
		return
	}
	t, ok := transforms[name.value]
	if !ok {
		c.fail(name.errorf("unknown transform %q%s", name.value, suggest(name.value, transformNames())))
	}
	o.as, o.asName = t, name.value
	if ch, ok := chats[name.value]; ok {
		o.chat = &ch
	}
}

// consume notes which slots a case uses; the others count as unmapped there. A
// mapping that keeps all counts a slot as used only in the events in which it
// fills a column, which the runner notes, and an activity's only if the value
// can be told from the activity.
func (c *compiler) consume(k *caseOp) {
	k.consumed = newBitset(len(c.m.slots))
	use := func(slots ...int) {
		for _, s := range slots {
			if s >= 0 {
				k.consumed.set(s)
			}
		}
	}
	for i := range k.ops {
		for o := &k.ops[i]; o != nil && !c.m.keepAll; o = o.or {
			use(o.slots...)
			use(o.minus, o.join)
		}
	}
	for o := k.activity; o != nil; o = o.or {
		if !c.m.keepAll || tells(k.activity) {
			use(o.slots...)
		}
	}
	for _, t := range c.m.times {
		use(t.slot)
	}
	for _, t := range k.when {
		use(t.slot)
	}
	for _, d := range c.m.drops {
		for _, t := range d.when {
			use(t.slot)
		}
	}
}

// tells reports whether the activities of a map tell its values.
func tells(o *op) bool {
	seen := map[string]bool{}
	for _, to := range o.mapping {
		if seen[to] {
			return false
		}
		seen[to] = true
	}
	return true
}
