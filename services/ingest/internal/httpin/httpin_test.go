package httpin

import (
	"context"
	"testing"
	"time"
)

func TestMatch(t *testing.T) {
	for name, tc := range map[string]struct {
		pattern, text string
		want          bool
	}{
		"equal":    {"nginx", "nginx", true},
		"longer":   {"nginx", "nginx2", false},
		"end":      {"logs-*", "logs-nginx", true},
		"both":     {"*-nginx-*", "logs-nginx-default", true},
		"nothing":  {"*", "", true},
		"empty":    {"", "", true},
		"back":     {"*ab", "aab", true},
		"not":      {"a*b", "acd", false},
		"two":      {"a**b", "ab", true},
		"asterisk": {"a*", "a*", true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Match(tc.pattern, []byte(tc.text)); got != tc.want {
				t.Errorf("%v", got)
			}
		})
	}
}

func TestReplaysGiveARepeatedBatchItsKey(t *testing.T) {
	r := NewReplays()
	now := time.Unix(0, 0)
	r.now = func() time.Time { return now }
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	var k []string
	send := func(ctx context.Context, body string, stored bool) {
		a := r.Begin("sender", []byte(body))
		a.Done(ctx, stored)
		k = append(k, a.Key)
	}
	send(t.Context(), "x", false) // refused
	send(t.Context(), "x", true)  // the same batch again: same key
	send(t.Context(), "x", true)  // an equal batch after a good answer: its own key
	send(gone, "x", true)         // stored, but nobody heard the answer
	send(t.Context(), "x", true)  // so this is a repetition
	send(t.Context(), "y", false) // refused
	now = now.Add(replayFor + time.Second)
	send(t.Context(), "y", true) // too late
	if k[0] != k[1] || k[2] == k[1] || k[3] == k[2] || k[4] != k[3] || k[6] == k[5] {
		t.Errorf("keys %q", k)
	}
	r.Begin("sender", []byte("z")).Done(gone, true)
	if a, b := r.Begin("sender", []byte("z")), r.Begin("other", []byte("z")); !a.again || b.again {
		t.Error("senders are not told apart")
	}
}

func TestReplaysAreBounded(t *testing.T) {
	r := NewReplays()
	for i := range maxReplays + 10 {
		r.remember([16]byte{byte(i), byte(i >> 8), 1}, "k")
	}
	if len(r.known) != maxReplays || len(r.ring) != maxReplays {
		t.Errorf("%d known, %d in the ring", len(r.known), len(r.ring))
	}
}
