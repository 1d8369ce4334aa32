package detect

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/subjects"
)

// verdicts reads from the bus what analysts said of alerts. The store writes it
// into ClickHouse some seconds later, together with whatever else comes, and the
// bus forgets it one day: each knows what the other may lack. Nil without a bus.
func (o *CommandOptions) verdicts(ctx context.Context) (map[string]finding.Disposition, error) {
	if o.Bus == nil {
		return nil, nil
	}
	b, err := o.Bus(ctx)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	out := map[string]finding.Disposition{}
	for rec, err := range b.ReadFrom(ctx, subjects.StreamRuns, []string{subjects.Runs(subjects.RunsDisposition)}, 1, 0) {
		if err != nil {
			return nil, fmt.Errorf("read verdicts: %w", err)
		}
		var d finding.Disposition
		if json.Unmarshal(rec.Data, &d) == nil {
			out[d.Alert] = d
		}
	}
	return out, nil
}
