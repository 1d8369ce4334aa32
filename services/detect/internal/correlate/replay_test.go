package correlate

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// backlog is what a busy bus delivers: blocks of events, some of them held up for
// long, and ticks that wait for them.
type backlog struct {
	blocks [][]finding.Signal
	order  []int // of arrival
}

func newBacklog(r *rand.Rand, rules []*rule.Rule, blocks, rows, groups int, gap time.Duration) *backlog {
	b := &backlog{}
	at := make([]float64, blocks)
	n := 0
	for k := range blocks {
		var list []finding.Signal
		for range rows {
			n++
			ms := int64(1_700_000_000_000) + int64(n)*gap.Milliseconds()
			if r.IntN(10) == 0 {
				ms -= r.Int64N(40_000)
			}
			// From a few groups that are busy to many that are hardly seen.
			share := r.Float64()
			group := "192.0.2." + strconv.Itoa(int(share*share*share*float64(groups)))
			code, user := r.IntN(6), "u"+strconv.Itoa(r.IntN(40))
			for _, x := range rules {
				s := signal(x.ID, group, ms, n, user)
				s.Number, s.Source = float64(code+1), "s"+strconv.Itoa(k%3)
				s.Fields = append(s.Fields, finding.Pair{Path: "actor.user.name", Value: user})
				switch steps := x.Correlate != nil && x.Correlate.Steps != nil; {
				case steps && code < len(x.Correlate.Steps):
					s.Step = code
				case steps || code > 1:
					continue
				}
				list = append(list, s)
			}
		}
		b.blocks, b.order, at[k] = append(b.blocks, list), append(b.order, k), float64(k)
		if r.IntN(6) == 0 {
			at[k] += r.Float64() * 7 // less than what makes a source idle
		}
	}
	slices.SortStableFunc(b.order, func(x, y int) int { return int(at[x]*1000) - int(at[y]*1000) })
	return b
}

// steps are what the log of a partition has: the signals of a block, then a tick
// if all blocks up to one are there.
func (b *backlog) log(order []int) [][]arrival {
	var out [][]arrival
	got, floor := make([]bool, len(b.blocks)), 0
	received := int64(0)
	for _, k := range order {
		var list []arrival
		for _, s := range b.blocks[k] {
			received = max(received, s.Received)
			s.Received = received
			list = append(list, arrival{sig: s})
		}
		before := floor
		for got[k] = true; floor < len(got) && got[floor]; floor++ {
		}
		for n := before; n < floor; n++ {
			last := b.blocks[n][len(b.blocks[n])-1]
			list = append(list, arrival{tick: &Tick{Source: last.Source, Clock: last.Time, At: received}})
		}
		out = append(out, list)
	}
	return out
}

func play(c *Correlator, list []arrival, emit func(finding.Alert)) {
	for i := range list {
		if list[i].tick != nil {
			c.Ticks([]Tick{*list[i].tick}, emit)
		} else {
			c.Add(&list[i].sig, emit)
		}
	}
}

// named are messages by their names.
func named(list []finding.Alert) map[string]finding.Alert {
	out := map[string]finding.Alert{}
	for _, a := range list {
		out[a.UID+"/"+strconv.Itoa(a.Revision)] = a
	}
	return out
}

// Whoever takes a partition over from a checkpoint tells of the log after it what
// was told before, to the letter: messages of the same name are taken once. And
// what stands in the end is what comes of the blocks in their order.
func TestAReplayTellsTheSame(t *testing.T) {
	rules := slices.DeleteFunc(shapes(), func(r *rule.Rule) bool { return r.Alert.Suppress == 20*minute })
	for seed := range uint64(*seeds) {
		r := rand.New(rand.NewPCG(seed, 3))
		b := newBacklog(r, rules, 40, 60, 20, 500*time.Millisecond)
		stand := func(log [][]arrival) map[string]final {
			c := New(rules, quiet)
			var told []finding.Alert
			emit := func(a finding.Alert) { told = append(told, a) }
			var state []byte
			begin, from := 0, 0 // of the state, in the log and in what was told
			for k, list := range log {
				if k == begin {
					var err error
					if state, err = c.Save(nil); err != nil {
						t.Fatal(err)
					}
					from = len(told)
				}
				play(c, list, emit)
				if k < begin+5 {
					continue
				}
				// It dies, and another one goes on from the state.
				want := slices.Clone(told[from:])
				told = told[:from]
				c = New(rules, quiet)
				if err := c.Load(state); err != nil {
					t.Fatal(err)
				}
				for _, again := range log[begin : k+1] {
					play(c, again, emit)
				}
				if diff := gocmp.Diff(named(want), named(told[from:])); diff != "" {
					t.Fatalf("seed %d, log %d to %d: before (-) replayed (+):\n%.3000s", seed, begin, k, diff)
				}
				begin = k + 1
			}
			c.Flush(emit)
			if st := c.Stats(); st.Late > 0 || st.Cut > 0 {
				t.Errorf("seed %d: %+v", seed, st)
			}
			out := map[string]final{}
			for _, a := range told {
				if out[a.UID] = finalOf(&a); a.Status == finding.Retracted {
					delete(out, a.UID)
				}
			}
			return out
		}
		inOrder := slices.Sorted(slices.Values(b.order))
		if diff := gocmp.Diff(stand(b.log(inOrder)), stand(b.log(b.order))); diff != "" {
			t.Fatalf("seed %d: in order (-) held up (+):\n%.3000s", seed, diff)
		}
	}
}

// The automaton of a group is where a walk over all that is not settled takes it,
// in whatever order the events came.
func TestWhatIsWalkedAgainIsEnough(t *testing.T) {
	rules := shapes()
	state := func(s *ruleState, m *machine) string {
		out := fmt.Sprint(m.open != nil, m.window.n, m.window.begin, m.window.last, " ")
		if s.slides() {
			out += fmt.Sprint("from ", m.start, " ")
		}
		if s.kind >= novelty {
			out += fmt.Sprint("since ", m.since, " ", m.newest, " ")
		}
		if b := m.usual; b != nil {
			out += fmt.Sprint("bucket ", b.bucket, b.n, b.total, b.from, b.known, " ")
			if b.n > 0 {
				out += fmt.Sprint(b.first, b.last, " ")
			}
			for k := int64(1); k <= b.known; k++ {
				out += fmt.Sprint(*b.slot(b.bucket - k), " ")
			}
		}
		for _, f := range m.fires {
			out += fmt.Sprint(f.at, f.until, f.first, f.last, f.count, f.value, f.crossing.uid, f.from, len(f.uids), "; ")
		}
		return out
	}
	marks := func(ev []seen) (out string) {
		for k := range ev {
			if ev[k].novel {
				out += fmt.Sprint(" new ", k)
			}
		}
		return out
	}
	for seed := range uint64(*seeds) {
		r := rand.New(rand.NewPCG(seed, 5))
		b := newBacklog(r, rules, 40, 60, 20, 500*time.Millisecond)
		c := New(rules, quiet)
		for _, list := range b.log(b.order) {
			for i := range list {
				if list[i].tick != nil {
					continue // so that more and more is not settled
				}
				c.Add(&list[i].sig, func(finding.Alert) {})
				if r.IntN(5) > 0 {
					continue
				}
				s := c.rules[list[i].sig.Rule]
				g := c.groups.at(s.newest)
				if g.heavy == 0 {
					continue
				}
				h := c.heavies[g.heavy]
				walked, ev := h.tail, c.groups.events(g)
				got := state(s, &walked) + marks(ev)
				if s.kind == novelty {
					h.base.memory.mark(&s.plan, ev)
				}
				verdicts := slices.Clone(h.verdicts.list)
				c.rerun(s, g)
				for _, v := range verdicts {
					if k, ok := h.verdicts.place(v.bucket); ok && h.verdicts.list[k] != v {
						t.Fatalf("seed %d, %s (%v): verdict %+v, want %+v", seed, s.rule.ID, s.rule.Correlate, v, h.verdicts.list[k])
					}
				}
				want := state(s, &h.tail) + marks(ev)
				if h.tail = walked; got != want {
					t.Fatalf("seed %d, %s (%v, suppress %s), %d events:\n got %s\nwant %s", seed, s.rule.ID, s.rule.Correlate, s.rule.Alert.Suppress, g.len, got, want)
				}
			}
		}
	}
}
