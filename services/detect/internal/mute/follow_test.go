package mute

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

// Run knows the alerts of the last day, and then each new one, also when the
// newest is gone from the stream.
func TestRunKnowsAlerts(t *testing.T) {
	for name, c := range map[string]struct{ stored, gone int }{
		"none": {0, 0}, "some": {3, 0}, "the newest is gone": {3, 1}, "all are gone": {3, 3},
	} {
		t.Run(name, func(t *testing.T) {
			b := testkit.Connect(t, testkit.Server(t))
			if err := b.EnsureStreams(t.Context(), bus.Limits{}); err != nil {
				t.Fatal(err)
			}
			m, _ := clocked(inhibition(t, `rule="test.source"`, `rule="test.target"`))
			tell := func(entity string) uint64 {
				a := alert("test.source", entity)
				data, err := json.Marshal(a)
				if err != nil {
					t.Fatal(err)
				}
				ack, err := b.Publish(t.Context(), bus.Msg{Subject: subjects.Alerts(string(a.Level)), Data: data})
				if err != nil {
					t.Fatal(err)
				}
				return ack.Seq
			}
			st, err := b.JetStream().Stream(t.Context(), subjects.StreamAlerts)
			if err != nil {
				t.Fatal(err)
			}
			for range c.stored {
				tell("192.0.2.1")
			}
			for i := range c.gone {
				if err := st.DeleteMsg(t.Context(), uint64(c.stored-i)); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			known, done := make(chan struct{}), make(chan error, 1)
			go func() { done <- m.Run(ctx, b, time.Second, func() { close(known) }) }()
			select {
			case <-known:
			case err := <-done:
				t.Fatalf("it ended and never knew: %v", err)
			}
			if got, want := m.Stats().Firing > 0, c.stored > c.gone; got != want {
				t.Errorf("known at the start: %v, want %v", got, want)
			}
			tell("192.0.2.2")
			testkit.Eventually(t, "a new alert is known", func() bool { return m.Stats().Firing > 0 })
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}
