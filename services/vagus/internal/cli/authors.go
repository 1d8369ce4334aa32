package cli

import (
	"fmt"
	"sync"

	content "github.com/vagus-hub/vagus"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/sources"
	"github.com/vagus-hub/vagus/services/detect"
	"github.com/vagus-hub/vagus/services/normalize"
	"github.com/vagus-hub/vagus/services/respond"
)

// authors composes what the commands for rule authors need of the other
// services.
func (a *app) authors() detect.CommandOptions {
	converter := sync.OnceValues(func() (*normalize.Converter, error) { return normalize.NewConverter(sources.FS) })
	previews := sync.OnceValues(func() (func(finding.Alert) ([]respond.Preview, error), error) { return respond.Previews(playbooks()) })
	return detect.CommandOptions{
		Content: content.Rules, Health: a.health, ClickHouse: a.clickhouse, Bus: a.bus,
		RulesDir: func() (string, error) {
			s, err := a.state()
			if err != nil {
				return "", err
			}
			return s.RulesDir, nil
		},
		Normalize: func(source string, data []byte, received int64, emit func([]byte) error) error {
			c, err := converter()
			if err != nil {
				return err
			}
			done, err := c.Convert(source, data, received, emit)
			if err == nil && done.Dead > 0 {
				err = fmt.Errorf("%d of %d records cannot be mapped: %s", done.Dead, done.Records, done.Why)
			}
			return err
		},
		Playbooks: func(al finding.Alert) ([]detect.Response, error) {
			preview, err := previews()
			if err != nil {
				return nil, err
			}
			list, err := preview(al)
			out := make([]detect.Response, len(list))
			for i, p := range list {
				out[i] = detect.Response{Playbook: p.Playbook, Title: p.Title, DryRun: p.DryRun, Actions: p.Actions}
			}
			return out, err
		},
		Feeds: func() ([]detect.Feed, error) {
			c, err := converter()
			if err != nil {
				return nil, err
			}
			var out []detect.Feed
			for _, f := range c.Feeds() {
				out = append(out, detect.Feed(f))
			}
			return out, nil
		},
	}
}
