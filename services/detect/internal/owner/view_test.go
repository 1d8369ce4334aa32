package owner

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/services/internal/bus"
)

// Who is dead is told by what the others say, in the bus's time, and not by how
// long it was silent for everybody.
func TestWhoIsAlive(t *testing.T) {
	begin := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	type beat struct {
		id string
		at time.Duration
	}
	const expiry = 2 * time.Second
	for name, c := range map[string]struct {
		before, after []beat // that the view is ready
		want          string
	}{
		"all tell":                           {[]beat{{"a", 0}, {"b", 1}}, []beat{{"a", 200 * time.Millisecond}}, "a b"},
		"dead since long":                    {[]beat{{"b", 0}, {"a", time.Minute}}, nil, "a"},
		"dead since long, alone with leases": {[]beat{{"b", 0}, {"lease", time.Minute}}, nil, ""},
		"silent while another tells":         {[]beat{{"a", 0}, {"b", 1}}, []beat{{"a", time.Second}, {"a", 2 * time.Second}, {"a", 3 * time.Second}}, "a"},
		"silent for less than the expiry":    {[]beat{{"a", 0}, {"b", 1}}, []beat{{"a", time.Second}, {"a", 2 * time.Second}}, "a b"},
		"the bus stood still":                {[]beat{{"a", 0}, {"b", 1}}, []beat{{"a", time.Hour}}, "a b"},
		"the bus stood still and one died":   {[]beat{{"a", 0}, {"b", 1}}, []beat{{"a", time.Hour}, {"a", time.Hour + time.Second}, {"a", time.Hour + 2*time.Second}}, "a"},
		"one that comes again":               {[]beat{{"a", 0}, {"b", 1}}, []beat{{"a", time.Hour}, {"a", 2 * time.Hour}, {"a", 3 * time.Hour}, {"b", 3*time.Hour + 1}}, "a b"},
		"the bus's clock was set back":       {[]beat{{"a", time.Hour}, {"b", time.Hour}}, []beat{{"a", 0}, {"b", 1}, {"a", time.Second}}, "a b"},
		"it was set back, and one died":      {[]beat{{"a", time.Hour}, {"b", time.Hour}}, []beat{{"a", 0}, {"a", time.Second}, {"a", 2 * time.Second}, {"a", 3 * time.Second}}, "a"},
	} {
		t.Run(name, func(t *testing.T) {
			tab := &Table{o: Options{Group: "test", Expiry: expiry}}
			tab.change(change{anew: true})
			tell := func(list []beat) {
				for i, b := range list {
					e := bus.Entry[entry]{Key: bus.Key("test", "instance", b.id), Value: entry{Instance: &Instance{ID: b.id}}, Revision: uint64(i + 1), Time: begin.Add(b.at)}
					if b.id == "lease" {
						e.Key, e.Value = bus.Key("test", "lease", "0"), entry{Owner: "b"}
					}
					tab.change(change{entry: e})
				}
			}
			tell(c.before)
			tab.change(change{ready: true})
			tell(c.after)
			var got []string
			for id := range tab.view.instances {
				if tab.view.alive(id, expiry) {
					got = append(got, id)
				}
			}
			if slices.Sort(got); strings.Join(got, " ") != c.want {
				t.Errorf("alive: %q, want %q", got, c.want)
			}
		})
	}
}
