package lint

import (
	"fmt"
	"slices"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// pair is a remark about a rule beside another one.
type pair struct {
	rule    *rule.Rule
	code    string
	message string
}

// maxPairs bounds the comparisons of a set. Three thousand rules need nine
// million looks at sets of columns, and some ten thousand at conditions.
const maxPairs = 400_000

// columnSet has a bit for every column of the schema.
type columnSet [(event.NumColumns + 63) / 64]uint64

func (s *columnSet) add(id event.ColumnID) { s[id/64] |= 1 << (id % 64) }

func (s *columnSet) within(t *columnSet) bool {
	for i := range s {
		if s[i]&^t[i] != 0 {
			return false
		}
	}
	return true
}

// pairs finds rules that say the same as another one or that a more general
// one covers: whatever the covered rule alerts on, the other does too, about
// the same entity.
func pairs(rules []*rule.Rule) []pair {
	type compared struct {
		r    *rule.Rule
		cols columnSet
	}
	var list []compared
	for _, r := range rules {
		if r.When == nil || r.Disabled {
			continue
		}
		c := compared{r: r}
		for _, id := range r.When.Columns {
			c.cols.add(id)
		}
		list = append(list, c)
	}
	var out []pair
	budget := maxPairs
	covered := func(a, b compared) bool {
		// An atom is implied by one of the same field only.
		if !b.cols.within(&a.cols) || !sourceWithin(a.r.Source, b.r.Source) || !sameAlerting(a.r, b.r) {
			return false
		}
		if budget--; budget < 0 {
			return false
		}
		return (&logic{}).covers(a.r.When.Root, b.r.When.Root)
	}
	for i, a := range list {
		for j, b := range list {
			if i == j || !covered(a, b) {
				continue
			}
			if covered(b, a) {
				if i < j {
					continue
				}
				out = append(out, pair{a.r, "duplicate", fmt.Sprintf("rule says the same as %s (%s)", b.r.ID, b.r.File)})
				break
			}
			out = append(out, pair{a.r, "shadowed", fmt.Sprintf("rule is covered by the more general %s (%s), which alerts on all of its events", b.r.ID, b.r.File)})
			break
		}
	}
	return out
}

func sourceWithin(a, b rule.Source) bool {
	within := func(a, b int, all bool) bool { return b == 0 || a > 0 && all }
	classes := !slices.ContainsFunc(a.Classes, func(c uint32) bool { return !slices.Contains(b.Classes, c) })
	products := !slices.ContainsFunc(a.Products, func(p string) bool { return !slices.Contains(b.Products, p) })
	return a.Families&^b.Families == 0 && within(len(a.Classes), len(b.Classes), classes) && within(len(a.Products), len(b.Products), products)
}

// sameAlerting reports that wherever a's matches become an alert, b's would,
// about the same entity.
func sameAlerting(a, b *rule.Rule) bool {
	if len(b.Exceptions) > 0 || a.Alert.EntityType != b.Alert.EntityType || !slices.EqualFunc(a.GroupBy(), b.GroupBy(), sameKey) {
		return false
	}
	if a.Correlate == nil || b.Correlate == nil {
		return a.Correlate == nil && b.Correlate == nil
	}
	x, y := a.Correlate, b.Correlate
	plain := func(c *rule.Correlate) bool {
		return c.Type == rule.EventCount && c.Window == rule.Sliding && len(c.Steps) == 0 && c.Count() > 0
	}
	return plain(x) && plain(y) && x.Timespan <= y.Timespan && x.Count() >= y.Count() && x.Lateness <= y.Lateness
}

func sameKey(a, b rule.GroupKey) bool { return slices.Equal(a.Fields, b.Fields) }
