package rule

import (
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "1h30m": 90 * time.Minute, "7d": 7 * 24 * time.Hour, "1.5d": 36 * time.Hour, "2w": 14 * 24 * time.Hour,
		"220000d": -1, "30000w": -1, "d": -1, "w": -1, "5": -1, "2wd": -1, "1d2h": -1,
	} {
		got, err := ParseDuration(text)
		if want < 0 {
			if err == nil {
				t.Errorf("%s is %s", text, got)
			}
			continue
		}
		if err != nil || got != want {
			t.Errorf("%s is %s, %v", text, got, err)
		}
	}
}
