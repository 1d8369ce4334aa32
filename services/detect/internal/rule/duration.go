package rule

import "time"

// ParseDuration reads what time.ParseDuration does, days and weeks: 7d, 2w.
func ParseDuration(s string) (time.Duration, error) { return parseDuration(s) }
