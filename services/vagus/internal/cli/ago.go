package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// ago is a flag that says how far back: what time.ParseDuration reads, days and
// weeks.
type ago struct{ d *time.Duration }

// agoFlag adds --since, which is a day unless it is given.
func agoFlag(c *cobra.Command, d *time.Duration, usage string) {
	*d = 24 * time.Hour
	c.Flags().Var(ago{d}, "since", usage+": 90m, 36h, 30d, 2w")
}

func (a ago) String() string {
	if a.d == nil || *a.d == 0 {
		return ""
	}
	return strings.TrimSuffix(strings.TrimSuffix(a.d.String(), "0s"), "0m")
}

// Type names the value in the help.
func (a ago) Type() string { return "duration" }

// Set reads the value.
func (a ago) Set(s string) error {
	text, unit := s, time.Duration(1)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		text, unit = days+"h", 24
	} else if weeks, ok := strings.CutSuffix(s, "w"); ok {
		text, unit = weeks+"h", 7*24
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > 1<<62/unit {
		return fmt.Errorf("%s is not a duration such as 90m, 36h, 30d or 2w", s)
	}
	*a.d = d * unit
	return nil
}
