package silence

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vagus-hub/vagus/schemas/finding"
)

// world feeds a tracker by a clock that synctest turns.
type world struct {
	t      *testing.T
	tr     *Tracker
	rng    *rand.Rand
	alerts []finding.Alert
}

func newWorld(t *testing.T, cfg Config) *world {
	if err := cfg.Check(); err != nil {
		t.Fatal(err)
	}
	return &world{t: t, tr: New(cfg), rng: rand.New(rand.NewPCG(1, 2))}
}

// run lets time pass; send says for every half minute how many records of which source come.
func (w *world) run(d time.Duration, send func(now time.Time) map[string]int) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		now := time.Now()
		sent := send(now)
		for _, name := range slices.Sorted(maps.Keys(sent)) {
			w.tr.Add(name, now.UnixMilli(), now.UnixMilli(), uint32(sent[name]))
			w.tr.Feed(name, Feed{Family: 3, Class: 4002})
		}
		w.tr.Tick(now.UnixMilli(), now.UnixMilli(), func(a finding.Alert) { w.alerts = append(w.alerts, a) })
		time.Sleep(30 * time.Second)
	}
}

// expect compares what was told since the last call, as status:source.
func (w *world) expect(want ...string) {
	w.t.Helper()
	var got []string
	for _, a := range w.alerts {
		got = append(got, string(a.Status)+":"+a.Entity.Value)
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("%s: got %v want %v", time.Now().UTC().Format(time.RFC3339), got, want)
		for _, a := range w.alerts {
			w.t.Log(a.RaisedAt, a.Title, a.Reason)
		}
	}
	w.alerts = nil
}

func steady(n int) func(time.Time) map[string]int {
	return func(time.Time) map[string]int { return map[string]int{"a.steady": n} }
}

func nothing(time.Time) map[string]int { return nil }

const day = 24 * time.Hour

func TestSilenceAndReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		w.run(20*time.Hour, steady(50))
		w.run(time.Hour, nothing) // not learned yet
		w.run(2*day, steady(50))
		w.expect()
		w.run(4*time.Minute, nothing)
		w.expect()
		w.run(3*time.Minute, nothing)
		raised := w.alerts
		w.expect("raised:a.steady")
		if blind := w.tr.Blind(nil, func(f Feed) bool { return f.Class == 4002 }); !slices.Equal(blind, []string{"a.steady"}) {
			t.Errorf("blind: %v", blind)
		}
		w.run(3*time.Hour, nothing)
		w.expect()
		w.run(time.Minute, steady(50))
		ended := w.alerts
		w.expect("retracted:a.steady")
		if raised[0].UID != ended[0].UID || ended[0].Revision != 2 || !strings.Contains(ended[0].Reason, "again after 3h") {
			t.Errorf("%+v", ended[0])
		}
		if blind := w.tr.Blind(nil, func(Feed) bool { return true }); blind != nil {
			t.Errorf("blind: %v", blind)
		}
		w.run(day, steady(50))
		w.expect()
	})
}

func TestCollapse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		w.run(2*day, steady(50))
		w.run(15*time.Minute, steady(2))
		w.expect("raised:a.steady")
		if blind := w.tr.Blind(nil, func(Feed) bool { return true }); blind != nil {
			t.Errorf("blind although it sends: %v", blind)
		}
		w.run(10*time.Minute, nothing)
		w.expect("amended:a.steady")
		w.run(10*time.Minute, steady(50))
		w.expect("retracted:a.steady")
	})
}

// Office hours from eight to six, Monday to Friday, with records at random.
func (w *world) office(now time.Time) map[string]int {
	now = now.UTC()
	if wd := now.Weekday(); wd == time.Saturday || wd == time.Sunday || now.Hour() < 8 || now.Hour() >= 18 {
		return nil
	}
	return map[string]int{"b.office": w.rng.IntN(10)}
}

func TestQuietNightsAndWeekends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		w.run(3*7*day, w.office)
		w.expect()
		for now := time.Now().UTC(); now.Weekday() != time.Tuesday || now.Hour() != 11; now = time.Now().UTC() {
			w.run(time.Hour, w.office)
		}
		w.expect()
		w.run(20*time.Minute, nothing)
		w.expect("raised:b.office")
		w.run(time.Hour, w.office)
		w.expect("retracted:b.office")
		w.run(7*day, w.office)
		w.expect()
	})
}

func TestIrregularSourcesAreLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		next := map[string]time.Time{}
		w.run(15*day, func(now time.Time) map[string]int {
			out := map[string]int{}
			// An archive of two days ago, bursts hours apart, a few an hour at random.
			if now.Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) < 30*time.Minute {
				out["archive"] = 10000
			}
			// In this order: the chance is the same in every run. Gaps above twenty
			// minutes come in any hour of some day, so that no hour looks regular.
			for _, x := range []struct {
				name string
				mean float64 // hours
			}{{"bursts", 5}, {"rare", 0.3}, {"human", 0.25}} {
				if now.After(next[x.name]) {
					out[x.name] = 1 + w.rng.IntN(1000)
					next[x.name] = now.Add(time.Duration(w.rng.ExpFloat64() * x.mean * float64(time.Hour)))
				}
			}
			// Every quarter of an hour, plus or minus.
			if now.After(next["polled"]) {
				out["polled"] = w.rng.IntN(400) + 1
				next["polled"] = now.Add(14*time.Minute + time.Duration(w.rng.IntN(120))*time.Second)
			}
			return out
		})
		w.expect()
		w.run(2*time.Hour, nothing)
		w.expect("raised:polled")
	})
}

func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		w.run(2*day, steady(50))
		restart := func() {
			data, err := w.tr.Save()
			if err != nil {
				t.Fatal(err)
			}
			w.tr = New(Config{})
			if err := w.tr.Load(data); err != nil {
				t.Fatal(err)
			}
		}
		restart()
		time.Sleep(3 * time.Hour) // the hub was down: that is not the source's silence
		w.run(4*time.Minute, nothing)
		w.run(10*time.Minute, steady(50))
		w.expect()
		restart() // killed and back at once
		w.run(7*time.Minute, nothing)
		w.expect("raised:a.steady")
		restart()
		w.run(10*time.Minute, nothing)
		w.expect()
		restart()
		w.run(time.Minute, steady(1))
		w.expect("retracted:a.steady")
		if err := w.tr.Load([]byte("junk")); err == nil {
			t.Error("junk loads")
		}
	})
}

func TestConfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Sources: map[string]Source{"never.seen": {Expect: 60}, "a.steady": {Off: true}, "half": {Expect: 0.5}}})
		half := func(now time.Time) map[string]int {
			out := steady(50)(now)
			if now.Minute()%2 == 0 && now.Second() < 30 {
				out["half"] = 1
			}
			return out
		}
		w.run(time.Hour, half)
		w.expect("raised:never.seen")
		if blind := w.tr.Blind([]string{"never.seen"}, func(Feed) bool { return false }); len(blind) != 1 {
			t.Errorf("blind: %v", blind)
		}
		w.run(2*day, half)
		w.run(day, nothing)
		w.expect("raised:half")
		w.run(8*day, nothing)
		w.expect()
	})
}

// While the hub works off a backlog, nothing is known of the time since.
func TestBacklogIsNotSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		w.run(2*day, steady(50))
		behind := time.Now().UnixMilli()
		for range 100 {
			now := time.Now().UnixMilli()
			w.tr.Tick(now, behind, func(a finding.Alert) { w.alerts = append(w.alerts, a) })
			time.Sleep(30 * time.Second)
		}
		w.expect()
	})
}

func TestCheck(t *testing.T) {
	for name, c := range map[string]Config{
		"factor": {Factor: 0.5}, "learn": {Learn: -1}, "least": {Least: 48 * time.Hour},
		"name": {Sources: map[string]Source{"a b": {}}}, "expect": {Sources: map[string]Source{"a.b": {Expect: -1}}},
	} {
		if c.Check() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestBounded(t *testing.T) {
	tr := New(Config{})
	for i := range maxSources + 10 {
		tr.Add("s"+time.Duration(i).String(), 1e12, 1e12, 1)
	}
	if len(tr.sources) != maxSources || tr.Refused() != 10 {
		t.Errorf("%d sources, %d refused", len(tr.sources), tr.Refused())
	}
}
