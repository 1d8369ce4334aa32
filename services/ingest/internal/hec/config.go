// Package hec receives what products send to a Splunk HTTP Event Collector:
// events, raw lines, and questions for acknowledgements and health, answered
// with Splunk's codes and texts. A good answer means that the events are on
// disk, so what is asked of an acknowledgement is always yes.
package hec

import (
	"errors"
	"fmt"
	"strings"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/ingest/internal/intake"
)

// Config says which source an event is of. The zero value needs no more: the
// collector is there, and what a record is made of tells its source.
type Config struct {
	// Disabled leaves the collector's paths out.
	Disabled bool `yaml:"disabled"`
	// Routes name the source of an event; the first that fits decides.
	Routes []Route `yaml:"routes"`
	// Source of events that no route fits, and whose sourcetype is no source
	// id; default "auto".
	Source string `yaml:"source"`
	// Indexes lists the values of "index" that are taken, with * for any text;
	// empty: all. Requests with others are refused whole ("Incorrect index").
	Indexes []string `yaml:"indexes"`
	// QueryToken takes ?token=… for senders that cannot send a header. The
	// token is then in the logs of every proxy on the way.
	QueryToken bool `yaml:"query_token"`
	// NoAck answers that acknowledgements are disabled.
	NoAck bool `yaml:"no_ack"`
	// MaxBody bounds a request in bytes, packed and unpacked; default 64 MiB.
	MaxBody int64 `yaml:"max_body"`
}

// Route gives events a source. All conditions that are set must hold; at least
// one is needed. * stands for any text.
type Route struct {
	Sourcetype string `yaml:"sourcetype"` // the event's sourcetype
	From       string `yaml:"from"`       // what HEC calls the event's source
	Index      string `yaml:"index"`      // the event's index
	Source     string `yaml:"source"`     // source id, or auto
}

// Check reports what is wrong, naming the key.
func (c *Config) Check() error {
	if c.MaxBody < 0 || c.MaxBody > 1<<30 {
		return fmt.Errorf("hec: max_body is %d, must be 0 (default) to 1 GiB", c.MaxBody)
	}
	if c.Source != "" && subjects.Check(c.Source) != nil {
		return fmt.Errorf("hec: source %q is no source id", c.Source)
	}
	for i, r := range c.Routes {
		if err := r.check(); err != nil {
			return fmt.Errorf("hec: routes[%d]: %w", i, err)
		}
	}
	return nil
}

func (r Route) check() error {
	switch {
	case r.Sourcetype == "" && r.From == "" && r.Index == "":
		return errors.New("has no condition (sourcetype, from or index)")
	case r.Source == "":
		return errors.New("source is missing")
	case subjects.Check(r.Source) != nil:
		return fmt.Errorf("source %q is no source id", r.Source)
	}
	for _, p := range []string{r.Sourcetype, r.From, r.Index} {
		if strings.Count(p, "*") > 8 {
			return fmt.Errorf("%q has more than 8 stars", p)
		}
	}
	return nil
}

func (c *Config) fill() {
	if c.Source == "" {
		c.Source = intake.Auto
	}
	if c.MaxBody == 0 {
		c.MaxBody = 64 << 20
	}
}
