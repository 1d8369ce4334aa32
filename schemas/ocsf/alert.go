package ocsf

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/vagus-hub/vagus/schemas/finding"
)

const detectionFinding = 2004 // class_uid

// AppendAlert writes an alert as OCSF's Detection Finding: the rule is its
// analytic, the subject and everybody concerned are its observables. What OCSF has
// no place for is under unmapped. The result passes Validate.
func (s *Schema) AppendAlert(dst []byte, a *finding.Alert) ([]byte, error) {
	class := s.classes[detectionFinding]
	activity := map[finding.Status]int64{finding.Raised: 1, finding.Amended: 2, finding.Retracted: 3}[a.Status] // Create, Update, Close
	at := a.Time
	if at.IsZero() {
		at = a.LastSeen
	}
	doc := map[string]any{
		"class_uid": int64(detectionFinding), "category_uid": class.Category, "activity_id": activity, "type_uid": int64(detectionFinding)*100 + activity,
		"time": at.UnixMilli(), "start_time": a.FirstSeen.UnixMilli(), "end_time": a.LastSeen.UnixMilli(), "count": a.Count,
		"severity_id": int64(a.Level.SeverityID()), "severity": caption(string(a.Level)), "message": a.Title, "is_alert": a.Lane != finding.Hunt,
		"metadata": map[string]any{
			"version": s.Version, "product": map[string]any{"name": "Vagus", "vendor_name": "Vagus"},
			"uid": fmt.Sprintf("%s-%d", a.UID, a.Revision), "correlation_uid": a.UID, "event_code": a.Rule, "logged_time": a.RaisedAt.UnixMilli(),
		},
		"finding_info": findingInfo(a),
		"unmapped":     besides(a),
	}
	doc["risk_score"] = int64(a.Risk)
	doc["risk_level_id"], doc["risk_level"] = riskLevel(a.Risk)
	switch {
	case a.Status == finding.Retracted:
		doc["status_id"], doc["status"] = int64(4), "Resolved"
	case !a.Told():
		doc["status_id"], doc["status"], doc["status_detail"] = int64(3), "Suppressed", a.Muted.By+" "+a.Muted.ID+": "+a.Muted.Reason
	default:
		doc["status_id"], doc["status"] = int64(1), "New"
	}
	if list := observables(a); len(list) > 0 {
		doc["observables"] = list
	}
	out, err := json.Marshal(doc)
	if err != nil {
		return dst, fmt.Errorf("export alert %s to OCSF: %w", a.UID, err)
	}
	return append(dst, out...), nil
}

// riskLevel is the level of a score from 0 to 100: the levels of rules, whose own
// scores (5, 25, 45, 65, 85) are in the middle of each.
func riskLevel(score int) (int64, string) {
	id := min(max(score, 0)/20, 4)
	return int64(id), [...]string{"Info", "Low", "Medium", "High", "Critical"}[id]
}

func caption(s string) string {
	if s == "" {
		return "Unknown"
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func findingInfo(a *finding.Alert) map[string]any {
	info := map[string]any{
		"uid": a.UID, "title": a.Title, "desc": a.Reason, "created_time": a.RaisedAt.UnixMilli(),
		"first_seen_time": a.FirstSeen.UnixMilli(), "last_seen_time": a.LastSeen.UnixMilli(),
		"analytic": map[string]any{"uid": a.Rule, "name": a.RuleTitle, "version": a.Version, "type_id": int64(1), "type": "Rule"},
	}
	if len(a.Sources) > 0 {
		info["data_sources"] = a.Sources
	}
	var events, attacks, tags []any
	for _, uid := range a.EventUIDs {
		events = append(events, map[string]any{"uid": uid})
	}
	for _, tag := range a.Tags {
		scheme, id, _ := strings.Cut(tag, ".")
		if x := attack(scheme, strings.ToUpper(id)); x != nil {
			attacks = append(attacks, x)
		}
		tags = append(tags, map[string]any{"name": scheme, "value": id})
	}
	for name, list := range map[string][]any{"related_events": events, "attacks": attacks, "tags": tags} {
		if len(list) > 0 {
			info[name] = list
		}
	}
	if len(events) > 0 {
		info["related_events_count"] = max(a.Count, int64(len(events)))
	}
	return info
}

// attack is a technique of ATT&CK (T1059, T1059.001) or ATLAS (AML.T0051,
// AML.T0051.000), or a tactic of either (TA0002, AML.TA0005); nil if it is none.
func attack(scheme, id string) map[string]any {
	prefix := map[string]string{"attack": "T", "atlas": "AML.T"}[scheme]
	number, ok := strings.CutPrefix(id, prefix)
	if prefix == "" || !ok || number == "" {
		return nil
	}
	if strings.HasPrefix(number, "A") {
		return map[string]any{"tactic": map[string]any{"uid": id}}
	}
	technique, sub, is := strings.Cut(number, ".")
	out := map[string]any{"technique": map[string]any{"uid": prefix + technique}}
	if is && sub != "" {
		out["sub_technique"] = map[string]any{"uid": id}
	}
	return out
}

// observableTypes are OCSF's numbers for the kinds of entity that it knows.
var observableTypes = map[string]struct {
	id   int64
	name string
}{
	"host": {1, "Hostname"}, "ip": {2, "IP Address"}, "user": {4, "User Name"}, "email": {5, "Email Address"}, "url": {6, "URL String"},
}

func observables(a *finding.Alert) []any {
	var out []any
	add := func(name string, e finding.Entity) {
		if e.Value == "" {
			return
		}
		o := map[string]any{"name": name, "value": e.Value, "type_id": int64(99), "type": e.Type}
		if t, ok := observableTypes[e.Type]; ok {
			o["type_id"], o["type"] = t.id, t.name
		}
		out = append(out, o)
	}
	add("entity", a.Entity)
	for _, e := range a.Entities {
		add(string(e.Role), e.Entity)
	}
	return out
}

// besides is what OCSF has no place for.
func besides(a *finding.Alert) map[string]any {
	out := map[string]any{"lane": string(a.Lane), "revision": a.Revision, "value": a.Value, "threshold": a.Threshold}
	if len(a.Group) > 0 {
		group := map[string]any{}
		for _, p := range a.Group {
			group[p.Path] = p.Value
		}
		out["group"] = group
	}
	if len(a.Fields) > 0 {
		out["fields"] = a.Fields
	}
	return out
}
