package detect

import (
	"context"
	"io/fs"

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
	// Bus connects to the running hub's bus. The caller closes it.
	Bus func(context.Context) (*bus.Bus, error)
}
