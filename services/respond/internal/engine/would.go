package engine

import (
	"slices"
	"time"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/respond/internal/playbook"
)

// Would tells whether a raised alert would start a playbook, and which actions
// it would take: those of conditions that hold before anything was done, and of
// both branches where a condition depends on what was.
func Would(pb *playbook.Playbook, a finding.Alert, vars map[string]string, now time.Time) (starts bool, actions []string, err error) {
	if a.Status != finding.Raised || !slices.Contains(pb.Lanes, string(a.Lane)) {
		return false, nil, nil
	}
	d := Doc{UID: RunUID(pb.ID, a.UID), Playbook: pb.ID, Version: pb.Version, Vars: pb.VarsWith(vars), Alert: a, CreatedAt: now}
	env := d.env(now)
	if ok, err := pb.Trigger.Bool(env); !ok || err != nil {
		return false, nil, err
	}
	var walk func(steps []*playbook.Step)
	walk = func(steps []*playbook.Step) {
		for _, s := range steps {
			switch s.Kind() {
			case "action":
				if !slices.Contains(actions, s.Action) {
					actions = append(actions, s.Action)
				}
			case "if":
				holds, err := s.Cond().Bool(env)
				if err != nil || holds {
					walk(s.Then)
				}
				if err != nil || !holds {
					walk(s.Else)
				}
			}
		}
	}
	walk(pb.Steps)
	return true, actions, nil
}
