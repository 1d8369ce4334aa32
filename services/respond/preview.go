package respond

import (
	"fmt"
	"io/fs"
	"time"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/respond/internal/engine"
	"github.com/vagus-hub/vagus/services/respond/internal/playbook"
)

// Preview is a playbook that an alert would start. Actions are those that it
// would take, connector.operation, with both branches of what depends on the
// result of an action.
type Preview struct {
	Playbook, Title string
	DryRun          bool
	Actions         []string
}

// Previews tells which playbooks alerts would start, without doing anything.
// defaults is the content used, dirs are folders that replace its playbooks.
func Previews(defaults fs.FS, dirs ...string) (func(finding.Alert) ([]Preview, error), error) {
	_, books, err := loadContent(defaults, dirs)
	if err != nil {
		return nil, fmt.Errorf("read playbooks: %w", err)
	}
	return func(a finding.Alert) ([]Preview, error) {
		var out []Preview
		for _, pb := range books {
			starts, actions, err := engine.Would(pb, a, nil, time.Now())
			if err != nil {
				return nil, fmt.Errorf("playbook %s: %w", pb.ID, err)
			}
			if starts {
				out = append(out, Preview{pb.ID, pb.Title, pb.Status != playbook.Active, actions})
			}
		}
		return out, nil
	}, nil
}
