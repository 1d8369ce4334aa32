package correlate

import (
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// It does not matter in how many steps time passes over a silence that is longer
// than what is looked back at.
func TestSilenceInStepsAndAtOnce(t *testing.T) {
	x := testRule("t.rate", rule.RateAnomaly, minute, 0, when("lte -1"), func(c *rule.Correlate) { c.Field, c.Baseline, c.Learning = nil, 4*minute, minute })
	const begin = 1_700_000_040_000
	stands := func(step time.Duration) map[string]final {
		c := New([]*rule.Rule{x}, quiet)
		out := map[string]final{}
		emit := func(a finding.Alert) { out[a.UID] = finalOf(&a) }
		n, ms := 0, int64(begin)
		for ; ms < begin+6*minute.Milliseconds(); ms += 5000 {
			e := signal(x.ID, "192.0.2.1", ms, n, "")
			e.Received = ms
			c.Add(&e, emit)
			n++
		}
		for end := ms + 30*minute.Milliseconds(); ms < end; {
			ms = min(ms+step.Milliseconds(), end)
			c.Ticks([]Tick{{Source: "s", Clock: ms, At: ms}}, emit)
		}
		c.Flush(emit)
		return out
	}
	want := stands(10 * time.Second)
	if len(want) == 0 {
		t.Fatal("nothing is missed")
	}
	for _, step := range []time.Duration{minute, 3 * minute, 7 * minute, 30 * minute} {
		if diff := gocmp.Diff(want, stands(step)); diff != "" {
			t.Errorf("every 10 s (-), every %s (+):\n%s", step, diff)
		}
	}
}
