// Package silence notices sources that stop sending. It learns from what
// arrives how much each source sends in every hour of the week, and says when a
// source that was regular falls silent or sends a fraction of what it used to.
// A source that never was regular is left alone: an archive, a burst now and
// then, the office hours of a week it has not seen yet.
//
// Tracker is a state machine over the times it is given; it has no clock of its
// own and no side effects.
package silence

import (
	"fmt"
	"time"

	"github.com/vagus-hub/vagus/schemas/subjects"
)

// Config is how sources are watched; keys of the configuration file.
type Config struct {
	// Off watches no source.
	Off bool `yaml:"off"`
	// Learn is the least time a source is watched before it is judged; default
	// 24h. Sources with quiet hours are judged after a whole week.
	Learn time.Duration `yaml:"learn"`
	// Factor is how many times the usual gap is silence; default 3, 1 to 100.
	Factor float64 `yaml:"factor"`
	// Least is the shortest silence that is told; default 5m.
	Least time.Duration `yaml:"least"`
	// Sources has what is known of some sources, by id.
	Sources map[string]Source `yaml:"sources"`
}

// Source is what is known of a source beforehand.
type Source struct {
	// Off leaves the source alone.
	Off bool `yaml:"off"`
	// Expect is how many records a minute it always sends; it is judged by that
	// from the start, and not by what it used to send. 0: learn.
	Expect float64 `yaml:"expect"`
}

// Check reports values that make no sense.
func (c *Config) Check() error {
	if c.Learn < 0 || c.Learn > 28*24*time.Hour {
		return fmt.Errorf("learn is %v, want at most 672h (28 days)", c.Learn)
	}
	if c.Least < 0 || c.Least > 24*time.Hour {
		return fmt.Errorf("least is %v, want at most 24h", c.Least)
	}
	if c.Factor != 0 && !(c.Factor >= 1 && c.Factor <= 100) {
		return fmt.Errorf("factor: %g is not between 1 and 100", c.Factor)
	}
	if len(c.Sources) > maxSources {
		return fmt.Errorf("sources: %d, at most %d", len(c.Sources), maxSources)
	}
	for name, s := range c.Sources {
		if err := subjects.Check(name); err != nil {
			return fmt.Errorf("sources.'%s': %w", name, err)
		}
		if !(s.Expect >= 0 && s.Expect < 1e9) {
			return fmt.Errorf("sources.'%s'.expect: %g is no number of records a minute", name, s.Expect)
		}
	}
	return nil
}

func (c Config) filled() Config {
	if c.Learn == 0 {
		c.Learn = 24 * time.Hour
	}
	if c.Factor == 0 {
		c.Factor = 3
	}
	if c.Least == 0 {
		c.Least = 5 * time.Minute
	}
	return c
}
