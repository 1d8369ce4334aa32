package rule

import "time"

// ParseDuration reads what time.ParseDuration does, and days: 7d.
func ParseDuration(s string) (time.Duration, error) { return parseDuration(s) }
