package correlate

import (
	"strconv"
	"testing"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// What a full memory forgets is new when it comes again, also if it came before
// it was forgotten, and after a restart as without one.
func TestWhatIsForgottenIsNewAgain(t *testing.T) {
	r := testRule("new", rule.NewValue, 1000*minute, 0, func(c *rule.Correlate) { c.Learning = 1000 * minute })
	c := New([]*rule.Rule{r}, quiet)
	emit := func(finding.Alert) { t.Error("an alert") }
	at, n := int64(1_700_000_000_000), 0
	add := func(value int) {
		s := signal("new", "192.0.2.1", at, n, "v"+strconv.Itoa(value))
		s.Received = at
		c.Add(&s, emit)
		n++
		at += 10
	}
	settle := func() {
		c.Ticks([]Tick{{Source: "s", Clock: at, At: at}}, emit)
		s := c.rules["new"]
		c.fold(s, c.groups.at(s.newest), emit)
	}
	news := func() (out int) {
		s := c.rules["new"]
		for _, e := range c.groups.events(c.groups.at(s.newest)) {
			if e.novel {
				out++
			}
		}
		return out
	}
	for v := range maxValues {
		add(v)
	}
	at += 3 * minute.Milliseconds()
	add(maxValues)
	settle() // all others are remembered
	if got := news(); got != 1 {
		t.Fatalf("%d events are new, want 1", got)
	}
	const again = 50
	at += 3 * minute.Milliseconds()
	for v := range again {
		add(v)
	}
	if got := news(); got != 1 {
		t.Fatalf("%d events are new, want 1", got)
	}
	settle() // the one that is too much
	if got := news(); got != again || c.Stats().Cut == 0 {
		t.Errorf("%d events are new, want %d (%+v)", got, again, c.Stats())
	}
	state, err := c.Save(nil)
	if err != nil {
		t.Fatal(err)
	}
	if c = New([]*rule.Rule{r}, quiet); c.Load(state) != nil {
		t.Fatal("no state")
	}
	if got := news(); got != again {
		t.Errorf("%d events are new after a restart, want %d", got, again)
	}
}
