// Package bulk receives what shippers send to Elasticsearch: documents by the
// _bulk API, and the questions for version, licence, templates and policies
// that they ask before. It is no database: what was sent cannot be searched,
// changed or deleted here.
package bulk

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/ingest/internal/intake"
)

// Config says which source a document is of. The zero value needs no more: the
// paths are there, and what a document is made of tells its source.
type Config struct {
	// Disabled leaves Elasticsearch's paths out.
	Disabled bool `yaml:"disabled"`
	// Routes name the source of a document; the first that fits decides.
	Routes []Route `yaml:"routes"`
	// Source of documents that no route fits; default "auto".
	Source string `yaml:"source"`
	// Version is the version of Elasticsearch that shippers are told; default
	// 8.19.0. Some refuse to send to one that is older than they are.
	Version string `yaml:"version"`
	// MaxBody bounds a request in bytes, packed and unpacked; default 64 MiB.
	MaxBody int64 `yaml:"max_body"`
	// MaxItems bounds the documents of a request; default 100000.
	MaxItems int `yaml:"max_items"`
}

// Route gives documents a source. All conditions that are set must hold; at
// least one is needed. * stands for any text.
type Route struct {
	Index string `yaml:"index"` // index, alias or data stream that is written to
	// Dataset is the document's data_stream.dataset, or else event.dataset.
	Dataset string `yaml:"dataset"`
	Source  string `yaml:"source"` // source id, or auto
}

var version = regexp.MustCompile(`^[78]\.\d{1,3}\.\d{1,3}$`)

// Check reports what is wrong, naming the key.
func (c *Config) Check() error {
	switch {
	case c.MaxBody < 0 || c.MaxBody > 1<<30:
		return fmt.Errorf("bulk: max_body is %d, must be 0 (default) to 1 GiB", c.MaxBody)
	case c.MaxItems < 0 || c.MaxItems > 1_000_000:
		return fmt.Errorf("bulk: max_items is %d, must be 0 (default) to 1000000", c.MaxItems)
	case c.Version != "" && !version.MatchString(c.Version):
		return fmt.Errorf("bulk: version %q is none such as 8.19.0 (7 and 8 are spoken)", c.Version)
	case c.Source != "" && subjects.Check(c.Source) != nil:
		return fmt.Errorf("bulk: source %q is no source id", c.Source)
	}
	for i, r := range c.Routes {
		if err := r.check(); err != nil {
			return fmt.Errorf("bulk: routes[%d]: %w", i, err)
		}
	}
	return nil
}

func (r Route) check() error {
	switch {
	case r.Index == "" && r.Dataset == "":
		return errors.New("has no condition (index or dataset)")
	case r.Source == "":
		return errors.New("source is missing")
	case subjects.Check(r.Source) != nil:
		return fmt.Errorf("source %q is no source id", r.Source)
	case strings.Count(r.Index, "*") > 8 || strings.Count(r.Dataset, "*") > 8:
		return errors.New("a pattern has more than 8 stars")
	}
	return nil
}

func (c *Config) fill() {
	if c.Source == "" {
		c.Source = intake.Auto
	}
	if c.Version == "" {
		c.Version = "8.19.0"
	}
	if c.MaxBody == 0 {
		c.MaxBody = 64 << 20
	}
	if c.MaxItems == 0 {
		c.MaxItems = 100_000
	}
}

func (c *Config) looksAtDataset() bool {
	for _, r := range c.Routes {
		if r.Dataset != "" {
			return true
		}
	}
	return false
}
