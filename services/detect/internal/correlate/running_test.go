package correlate

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// However the window moves, and whatever is put in or taken out meanwhile, the
// running measure says what looking at the whole window says.
func TestRunningMeasure(t *testing.T) {
	list := shapes()
	list = append(list, testRule("t.more", rule.EventCount, minute, 0, when("gte 9")), testRule("t.one", rule.Chain, minute, 0, func(c *rule.Correlate) { c.Steps = c.Steps[:1] }))
	for _, x := range list {
		p := newPlan(x)
		if !p.slides() {
			continue
		}
		t.Run(fmt.Sprintf("%s %v", x.ID, x.Correlate), func(t *testing.T) {
			var bytes int64
			s := &scratch{bytes: &bytes, hidden: true}
			fired := 0
			for seed := range uint64(20) {
				r := rand.New(rand.NewPCG(seed, 3))
				var ev []seen
				run := running{}
				for n := range 600 {
					e := seen{time: int64(n)*4000 - r.Int64N(90_000), uid: uidOf(n), aux: r.Uint64N(12) * unit}
					switch {
					case p.byStep():
						// Some events are of several steps, and some come at one time.
						e.aux, e.uid, e.time = r.Uint64N(uint64(p.steps)), uidOf(n-r.IntN(2)), e.time/8000*8000
					case p.kind == counting:
						e.aux = hide(uint32(r.IntN(12)/9*r.IntN(5)), 10)
					}
					if i, found := place(ev, &e, p.byStep()); !found {
						ev = slices.Insert(ev, i, e)
						run.inserted(&p, ev, i, s)
					}
					switch r.IntN(40) {
					case 0:
						run.dropping(&p, ev, len(ev)/3, s)
						ev = slices.Delete(ev, 0, len(ev)/3)
					case 1:
						i := r.IntN(len(ev))
						run.removing(&p, ev, i, s)
						ev = slices.Delete(ev, i, i+1)
					}
					if len(ev) == 0 {
						continue
					}
					i := len(ev) - 1
					if r.IntN(3) == 0 {
						i = r.IntN(len(ev))
					}
					start := 0
					if r.IntN(5) == 0 {
						start = r.IntN(i + 1)
					}
					for ; i < len(ev) && r.IntN(4) > 0; i++ {
						from, value, ok := p.crossed(ev, start, i, s, &run)
						from2, value2, ok2 := p.look(ev, start, i, s)
						if ok != ok2 || ok && (from != from2 || value != value2) {
							t.Fatalf("seed %d, event %d: from %d to %d of %d: %d %v %v, want %d %v %v", seed, n, start, i, len(ev), from, value, ok, from2, value2, ok2)
						}
						if ok {
							fired++
						}
					}
				}
				run.clear(s)
				if bytes != 0 {
					t.Fatalf("%d bytes are left", bytes)
				}
			}
			if fired == 0 {
				t.Error("it never fires")
			}
		})
	}
}
