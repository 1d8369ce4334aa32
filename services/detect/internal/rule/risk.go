package rule

import (
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
)

// Entity is somebody or something an alert concerns besides its subject.
type Entity struct {
	Role  finding.Role
	Type  string
	Path  event.ColumnID
	Scope []event.ColumnID // at most one, as of Alert.EntityScope
}

// maxEntities bounds the entities of an alert besides its subject.
const maxEntities = 8

// riskColumns raise the risk; alerts carry them where an event has them.
var riskColumns = []event.ColumnID{event.AssetCriticality, event.ThreatLists}

// Risk says how soon somebody should look at an alert, from 0 to 100. It is the
// rule's own number or the sum of what docs/alerts.md lists. fields are the
// values that the alert carries, by path.
func (r *Rule) Risk(fields map[string]string) int {
	if r.Alert.Risk > 0 {
		return r.Alert.Risk
	}
	risk := map[finding.Level]int{finding.Informational: 5, finding.Low: 25, finding.Medium: 45, finding.High: 65, finding.Critical: 85}[r.Level]
	risk += map[string]int{"experimental": -10, "stable": 5}[r.Status]
	risk += map[finding.Lane]int{finding.Hunt: -10, finding.Enforce: 5}[r.Lane]
	risk += criticality(fields[event.Columns[event.AssetCriticality].Path])
	if fields[event.Columns[event.ThreatLists].Path] != "" {
		risk += 10
	}
	return min(max(risk, 0), 100)
}

// criticality is what an asset adds: inventories have words or numbers from 1
// to 5.
func criticality(s string) int {
	if n, err := strconv.Atoi(s); err == nil {
		return 5 * (min(max(n, 1), 5) - 2)
	}
	return map[string]int{"low": -5, "high": 10, "critical": 15, "very high": 15, "crown jewel": 15}[strings.ToLower(s)]
}

// Involved lists the entities of an alert besides its subject, with values.
func (r *Rule) Involved(value func(path string) string) []finding.Involved {
	var out []finding.Involved
	for _, e := range r.Alert.Entities {
		v := value(event.Columns[e.Path].Path)
		if v == "" {
			continue
		}
		for _, id := range e.Scope {
			if scope := value(event.Columns[id].Path); scope != "" {
				v = scope + "/" + v
			}
		}
		out = append(out, finding.Involved{Role: e.Role, Entity: finding.Entity{Type: e.Type, Value: v}})
	}
	return out
}

// involved reads alert.entities.
func (r *reader) involved(f field, families event.Families) []Entity {
	var out []Entity
	items := r.items(f)
	if len(items) > maxEntities {
		r.error(f.value, "alert has %d entities besides its subject, at most %d are allowed", len(items), maxEntities)
		return nil
	}
	var roles []string
	for _, role := range finding.Roles {
		roles = append(roles, string(role))
	}
	for _, item := range items {
		m := r.mapping(item.value, "entities", "role!", "type!", "path!", "scope")
		e := Entity{Role: finding.Role(r.oneOf(m["role"], "role", roles...)), Type: r.oneOf(m["type"], "entity type", EntityTypes...)}
		e.Path, _ = r.path(m["path"], "entity path", families)
		if s := m["scope"]; s.value != nil {
			if id, ok := r.path(s, "entity scope", families); ok {
				e.Scope = []event.ColumnID{id}
			}
		}
		out = append(out, e)
	}
	return out
}

// management reads what alerts.md explains: risk, entities and dedup.
func (r *reader) management(a *Alert, m map[string]field, c *Correlate, families event.Families) {
	if f := m["risk"]; f.value != nil {
		if a.Risk = r.integer(f, "risk"); a.Risk < 1 || a.Risk > 100 {
			r.error(f.value, "risk must be between 1 and 100")
		}
	}
	a.Entities = r.involved(m["entities"], families)
	if f := m["dedup"]; f.value != nil {
		if c != nil {
			r.error(f.key, "alerts of a correlation are told apart by its group_by: put the paths there and leave dedup out")
			return
		}
		if _, ok := f.value.(*ast.SequenceNode); !ok {
			r.error(f.value, "dedup is a list of paths")
			return
		}
		a.Dedup = r.paths(f, "dedup", families)
	}
}
