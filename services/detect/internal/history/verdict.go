package history

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/internal/clickhouse"
)

// Judged is an alert that was raised live, with what analysts found it to be;
// Verdict is empty if nobody said so.
type Judged struct {
	UID, Rule, Version string
	Status             finding.Status
	Entity             finding.Entity
	Title, Reason      string
	First, Last        time.Time
	Raised             time.Time
	Events             []string // uids, at most 100
	Muted              string
	Verdict            finding.Verdict
	Note               string
}

// codeUnknownTable is ClickHouse's, of a hub that has not migrated yet.
const codeUnknownTable = 60

// Alerts reads the alerts of rules (none means all) that live detection raised
// for events of a stretch of time, in order of uid. Recent verdicts count before
// those that are stored.
func Alerts(ctx context.Context, db Database, rules []string, from, to time.Time, recent map[string]finding.Disposition) ([]Judged, error) {
	where := "last_seen >= " + millis(from.UnixMilli()) + " AND first_seen < " + millis(to.UnixMilli())
	if len(rules) > 0 {
		where += " AND rule IN (" + quoteAll(rules) + ")"
	}
	verdicts, err := verdicts(ctx, db)
	if err != nil {
		return nil, err
	}
	maps.Copy(verdicts, recent)
	rows, err := db.Query(ctx, "SELECT uid, rule, rule_version, status, entity_type, entity_value, title, reason, first_seen, last_seen, raised_at, event_uids, muted_by"+
		" FROM alerts FINAL WHERE "+where+" ORDER BY uid")
	if err != nil {
		return nil, fmt.Errorf("read alerts: %w", err)
	}
	defer func() { _ = rows.Close() }() // read whole, or failed
	var out []Judged
	for rows.Next() {
		var j Judged
		var status string
		if err := rows.Scan(&j.UID, &j.Rule, &j.Version, &status, &j.Entity.Type, &j.Entity.Value, &j.Title, &j.Reason, &j.First, &j.Last, &j.Raised, &j.Events, &j.Muted); err != nil {
			return nil, fmt.Errorf("read alerts: %w", err)
		}
		j.Status = finding.Status(status)
		d := verdicts[j.UID]
		j.Verdict, j.Note = d.Verdict, d.Note
		out = append(out, j)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read alerts: %w", err)
	}
	return out, nil
}

// verdicts reads what analysts said, by alert.
func verdicts(ctx context.Context, db Database) (map[string]finding.Disposition, error) {
	out := map[string]finding.Disposition{}
	rows, err := db.Query(ctx, "SELECT alert, verdict, note FROM alert_dispositions FINAL WHERE verdict != ''")
	if clickhouse.Code(err) == codeUnknownTable {
		return out, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read dispositions: %w", err)
	}
	defer func() { _ = rows.Close() }() // read whole, or failed
	for rows.Next() {
		var d finding.Disposition
		var verdict string
		if err := rows.Scan(&d.Alert, &verdict, &d.Note); err != nil {
			return nil, fmt.Errorf("read dispositions: %w", err)
		}
		d.Verdict = finding.Verdict(verdict)
		out[d.Alert] = d
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read dispositions: %w", err)
	}
	return out, nil
}

// Precision is how right a rule was, as far as analysts have said.
type Precision struct {
	TruePositive  int `json:"true_positive"`
	Benign        int `json:"benign"`
	FalsePositive int `json:"false_positive"`
	Unjudged      int `json:"unjudged"`
}

func (p *Precision) count(v finding.Verdict) {
	switch v {
	case finding.TruePositive:
		p.TruePositive++
	case finding.Benign:
		p.Benign++
	case finding.FalsePositive:
		p.FalsePositive++
	default:
		p.Unjudged++
	}
}

// Judged is the number of alerts with a verdict.
func (p Precision) Judged() int { return p.TruePositive + p.Benign + p.FalsePositive }

// Share is the share of true positives among the alerts with a verdict; 0
// without any.
func (p Precision) Share() float64 {
	if p.Judged() == 0 {
		return 0
	}
	return float64(p.TruePositive) / float64(p.Judged())
}

// counterpart finds the live alert that a replayed one corresponds to: the one
// with its uid, or, since a changed rule may begin elsewhere, one of the same
// rule and entity at the same time.
type counterparts struct {
	byUID     map[string]*Judged
	bySubject map[subject][]*Judged
}

type subject struct {
	rule   string
	entity finding.Entity
}

func newCounterparts(list []Judged) *counterparts {
	c := &counterparts{byUID: map[string]*Judged{}, bySubject: map[subject][]*Judged{}}
	for i := range list {
		j := &list[i]
		c.byUID[j.UID] = j
		s := subject{j.Rule, finding.Entity{Type: j.Entity.Type, Value: j.Entity.Value}}
		c.bySubject[s] = append(c.bySubject[s], j)
	}
	return c
}

func (c *counterparts) of(a *finding.Alert) *Judged {
	if j := c.byUID[a.UID]; j != nil {
		return j
	}
	for _, j := range c.bySubject[subject{a.Rule, finding.Entity{Type: a.Entity.Type, Value: a.Entity.Value}}] {
		if !a.FirstSeen.After(j.Last) && !a.LastSeen.Before(j.First) {
			return j
		}
	}
	return nil
}
