package detect

import (
	"context"
	"time"

	"github.com/vagus-hub/vagus/services/detect/internal/mute"
	"github.com/vagus-hub/vagus/services/internal/telemetry"
)

// Inhibition mutes alerts while another one fires.
type Inhibition = mute.Inhibition

// muteInterval is how often it is looked at whether something is muted no more.
const muteInterval = time.Second

// muting keeps what mutes alerts up to date.
func (s *Service) muting(ctx context.Context) error {
	return s.mute.Run(ctx, s.opts.Bus, muteInterval, func() { close(s.mutesKnown) })
}

// awaitMutes returns when silences and firing alerts are known, so that no
// alert is told that is to be muted; false when ctx ended before.
func (s *Service) awaitMutes(ctx context.Context) bool {
	select {
	case <-s.mutesKnown:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *Service) collectMutes(out *telemetry.Snapshot) {
	st := s.mute.Stats()
	out.Set("vagus_detect_silences", "silences active now", float64(st.Silences))
	out.Set("vagus_detect_alerts_muted", "alerts that fire and are muted", float64(st.Muted))
	out.Set("vagus_detect_alerts_inhibiting", "alerts that fire and may inhibit others", float64(st.Firing))
	out.Set("vagus_detect_mutes_forgotten_total", "alerts forgotten for lack of room: they are not told when their silence ends", float64(st.Forgotten))
}
