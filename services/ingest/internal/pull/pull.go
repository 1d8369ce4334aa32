// Package pull fetches logs from buckets and APIs: the configuration of what is
// pulled, and the kinds there are. Package puller runs them.
package pull

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/services/ingest/internal/intake"
	"github.com/vagus-hub/vagus/services/ingest/internal/pull/crowdstrike"
	"github.com/vagus-hub/vagus/services/ingest/internal/pull/elastic"
	"github.com/vagus-hub/vagus/services/ingest/internal/pull/graph"
	"github.com/vagus-hub/vagus/services/ingest/internal/pull/puller"
	"github.com/vagus-hub/vagus/services/ingest/internal/pull/s3"
)

// Config is one source that is pulled: exactly one of the kinds is given.
type Config struct {
	// Name of the source's checkpoint, in metrics and logs: letters, digits, -
	// and _. Another name begins anew.
	Name string `yaml:"name"`
	// Source of the records; default by kind: auto, microsoft.graph_alerts,
	// crowdstrike.alerts.
	Source string `yaml:"source"`
	// Every is the time between two looks; default 1m, at least 1s.
	Every time.Duration `yaml:"every"`

	S3          *s3.Config          `yaml:"s3"`
	Elastic     *elastic.Config     `yaml:"elastic"`
	Graph       *graph.Config       `yaml:"graph"`
	CrowdStrike *crowdstrike.Config `yaml:"crowdstrike"`
}

var named = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// kind is one way to pull.
type kind struct {
	name, source string
	check        func() error
	make         func() (puller.Feed, error)
}

// kinds are those that are given. To add one: a package with Config, New and a
// test that runs pulltest, a field in Config, and a line here.
func (c *Config) kinds() (out []kind) {
	if k := c.S3; k != nil {
		out = append(out, kind{"s3", intake.Auto, k.Check, func() (puller.Feed, error) { return s3.New(*k) }})
	}
	if k := c.Elastic; k != nil {
		out = append(out, kind{"elastic", intake.Auto, k.Check, func() (puller.Feed, error) { return elastic.New(*k) }})
	}
	if k := c.Graph; k != nil {
		out = append(out, kind{"graph", "microsoft.graph_alerts", k.Check, func() (puller.Feed, error) { return graph.New(*k) }})
	}
	if k := c.CrowdStrike; k != nil {
		out = append(out, kind{"crowdstrike", "crowdstrike.alerts", k.Check, func() (puller.Feed, error) { return crowdstrike.New(*k) }})
	}
	return out
}

// Check reports what is wrong, naming the key.
func (c *Config) Check() error {
	if !named.MatchString(c.Name) {
		return fmt.Errorf("name: %q; want letters, digits, - and _, at most 64", c.Name)
	}
	if c.Every != 0 && c.Every < time.Second || c.Every > 24*time.Hour {
		return fmt.Errorf("every: %s; want 1s to 24h", c.Every)
	}
	kinds := c.kinds()
	if len(kinds) != 1 {
		return errors.New("want exactly one of s3, elastic, graph and crowdstrike")
	}
	if err := kinds[0].check(); err != nil {
		return fmt.Errorf("%s.%w", kinds[0].name, err)
	}
	return nil
}

// New makes the runner of all configurations.
func New(configs []Config, opts puller.Options) (*puller.Runner, error) {
	var jobs []puller.Job
	seen := map[string]bool{}
	for i := range configs {
		c := &configs[i]
		if err := c.Check(); err != nil {
			return nil, fmt.Errorf("pull %s: %w", c.Name, err)
		}
		if name := strings.ToLower(c.Name); seen[name] { // file systems may not tell them apart
			return nil, fmt.Errorf("pull %s: there are two of that name", c.Name)
		}
		seen[strings.ToLower(c.Name)] = true
		k := c.kinds()[0]
		j := puller.Job{Name: c.Name, Kind: k.name, Source: c.Source, Every: c.Every}
		if j.Source == "" {
			j.Source = k.source
		}
		if j.Every == 0 {
			j.Every = time.Minute
		}
		if _, known := opts.Hub.Known(j.Source); !known {
			return nil, fmt.Errorf("pull %s: unknown source %q (see `vagus sources list`)", c.Name, j.Source)
		}
		var err error
		if j.Feed, err = k.make(); err != nil {
			return nil, fmt.Errorf("pull %s: %s.%w", c.Name, k.name, err)
		}
		jobs = append(jobs, j)
	}
	return puller.New(jobs, opts)
}
