package detect

import (
	"context"
	"io/fs"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/author/lint"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/clickhouse"
)

// CommandOptions is what the commands for authors may use. Everything is
// optional: a command that lacks what it needs says so.
type CommandOptions struct {
	// Content holds the built-in rules (see Options.Content).
	Content fs.FS
	// Health reads the health of a running service, so that listings can tell
	// which rules are blind; an error means that none runs.
	Health func(context.Context) (Health, error)
	// ClickHouse opens the events stored so far, as the read-only user. The
	// caller closes it.
	ClickHouse func(context.Context) (*clickhouse.Client, error)
	// RulesDir is the folder of rules of the running hub; "": it has none.
	RulesDir func() (string, error)
	// Bus connects to the running hub's bus. The caller closes it.
	Bus func(context.Context) (*bus.Bus, error)
	// Normalize turns records of a source (auto: whatever each is recognised
	// as) into blocks of events, in the order of the records. Records without
	// a time of their own happened at received, ms since 1970. A payload is
	// valid until emit returns. It is an error if a record cannot be mapped.
	Normalize func(source string, data []byte, received int64, emit func(payload []byte) error) error
	// Playbooks tells which playbooks an alert would start, and what they would
	// do. It does nothing itself.
	Playbooks func(finding.Alert) ([]Response, error)
	// Feeds lists what the mappings make of their sources.
	Feeds func() ([]Feed, error)
}

// Response is a playbook that an alert would start.
type Response struct {
	Playbook string `json:"playbook"`
	Title    string `json:"title"`
	// DryRun says that it would only note what it would do.
	DryRun bool `json:"dry_run,omitempty"`
	// Actions are its actions, connector.operation, as far as none depends on
	// the result of another.
	Actions []string `json:"actions"`
}

// Feed is a class of events that a source's mapping makes.
type Feed = lint.Feed
