package detect

import (
	"context"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

// Matching leaves room in SIGNALS for what correlation must store there, or
// neither would ever go on: several times as many signals as SIGNALS holds, and
// alerts that are signals again.
func TestSignalsThatExceedTheirStream(t *testing.T) {
	server := testkit.Server(t)
	b := testkit.Connect(t, server)
	const limit = 1 << 20
	if err := b.EnsureStreams(t.Context(), bus.Limits{Streams: map[string]bus.StreamLimits{subjects.StreamSignals: {MaxBytes: limit}}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	trimmed := make(chan error, 1)
	go func() { trimmed <- b.Trim(ctx, 50*time.Millisecond) }()
	defer func() { cancel(); <-trimmed }()
	i := join(t, server, rulesDir(t, exactRules))
	load{events: 15_000, groups: 500, seed: 7}.publish(t, b, nil)
	testkit.Eventually(t, "all is matched and correlated", func() bool {
		pos, err := b.Position(t.Context(), subjects.StreamEvents, Durable)
		if err != nil || pos.Pending+uint64(pos.AckPending) > 0 {
			return false
		}
		floors, err := b.Floors(t.Context(), subjects.StreamSignals)
		_, last, berr := b.Bounds(t.Context(), subjects.StreamSignals)
		for p := range subjects.SignalPartitions {
			if floors[checkpointName(p)] < last {
				return false
			}
		}
		return err == nil && berr == nil
	})
	chained := 0
	for _, a := range alerts(t, b) {
		if a.Rule == "exact.chain" {
			chained++
		}
	}
	if first, _, err := b.Bounds(t.Context(), subjects.StreamSignals); err != nil || first == 1 || chained == 0 {
		t.Errorf("SIGNALS begins at %d (%v), %d alerts of alerts: it shows nothing", first, err, chained)
	}
	i.stop()
}
