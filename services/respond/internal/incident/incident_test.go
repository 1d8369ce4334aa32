package incident

import (
	"context"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/run"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/respond/internal/kv"
)

type log map[string]int

func (l log) Publish(_ context.Context, m bus.Msg) (bus.Ack, error) {
	l[m.ID]++
	return bus.Ack{}, nil
}

func TestGrouping(t *testing.T) {
	t0 := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(uid, entity string, minutes int, level finding.Level, status finding.Status) finding.Alert {
		when := t0.Add(time.Duration(minutes) * time.Minute)
		return finding.Alert{
			UID: uid, Status: status, Rule: "rule." + uid, Title: "title " + uid, Level: level, FirstSeen: when, LastSeen: when,
			Entity: finding.Entity{Type: "ip", Value: entity},
		}
	}
	store, pub := kv.NewMem[run.Incident](), log{}
	add := func(a finding.Alert) string {
		t.Helper()
		// A new process each time: nothing lives in memory only.
		b, err := Open(t.Context(), store, pub)
		if err != nil {
			t.Fatal(err)
		}
		uid, err := b.Add(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		return uid
	}
	first := add(at("a", "192.0.2.1", 0, finding.Medium, finding.Raised))
	for name, tt := range map[string]struct {
		got  string
		same bool
	}{
		"the same alert again":     {add(at("a", "192.0.2.1", 0, finding.Medium, finding.Raised)), true},
		"within half an hour":      {add(at("b", "192.0.2.1", 29, finding.High, finding.Raised)), true},
		"amended much later":       {add(at("b", "192.0.2.1", 55, finding.High, finding.Amended)), true},
		"half an hour after that":  {add(at("c", "192.0.2.1", 80, finding.Low, finding.Raised)), true},
		"another entity":           {add(at("d", "192.0.2.2", 5, finding.Low, finding.Raised)), false},
		"after a quiet time":       {add(at("e", "192.0.2.1", 120, finding.Low, finding.Raised)), false},
		"no entity":                {add(finding.Alert{UID: "f", Status: finding.Raised}), false},
		"amended, of a closed one": {add(at("b", "192.0.2.1", 56, finding.High, finding.Amended)), false},
		"retracted":                {add(at("e", "192.0.2.1", 120, finding.Low, finding.Retracted)), false},
	} {
		if (tt.got == first) != tt.same {
			t.Errorf("%s: incident %q, first is %q", name, tt.got, first)
		}
	}
	e, err := store.Get(t.Context(), key(first))
	if err != nil {
		t.Fatal(err)
	}
	if in := e.Value; in.Count != 3 || in.Level != "high" || in.Title != "title b" || in.Revision != 4 || !in.LastSeen.Equal(t0.Add(80*time.Minute)) {
		t.Errorf("%+v", in)
	}
	for rev, want := range map[string]int{":1": 2, ":4": 1} {
		if got := pub[first+rev]; got != want {
			t.Errorf("revision %s published %d times, want %d", rev, got, want)
		}
	}
}
