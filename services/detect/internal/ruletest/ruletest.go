// Package ruletest runs the inline tests of rules through the same matcher and
// correlator that the service runs.
package ruletest

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/correlate"
	"github.com/vagus-hub/vagus/services/detect/internal/match"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// Result is the outcome of one test.
type Result struct {
	Rule    string   `json:"rule"`
	Test    string   `json:"test"`
	File    string   `json:"file"`
	Line    int      `json:"line"`
	Column  int      `json:"column,omitempty"`
	OK      bool     `json:"ok"`
	Message string   `json:"message,omitempty"`
	Alerts  []string `json:"alerts,omitempty"` // titles
}

// start is when the first event of a test happens.
var start = time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC).UnixMilli()

// Run runs the tests of a rule.
func Run(r *rule.Rule) ([]Result, error) {
	out := make([]Result, 0, len(r.Tests))
	for i := range r.Tests {
		t := &r.Tests[i]
		alerts, err := Alerts(r, t.Events)
		if err != nil {
			return nil, fmt.Errorf("test %s of rule %s: %w", t.Name, r.ID, err)
		}
		out = append(out, check(r, t, alerts))
	}
	return out, nil
}

func check(r *rule.Rule, t *rule.Test, alerts []finding.Alert) Result {
	res := Result{Rule: r.ID, Test: t.Name, File: r.File, Line: t.Line, OK: true}
	var entities []string
	for _, a := range alerts {
		res.Alerts = append(res.Alerts, a.Title)
		entities = append(entities, a.Entity.Value)
	}
	if len(alerts) != t.Alerts {
		res.OK = false
		res.Message = fmt.Sprintf("expected %d alerts, got %d", t.Alerts, len(alerts))
		if len(alerts) > 0 {
			res.Message += ": " + strings.Join(res.Alerts, "; ")
		}
		return res
	}
	want := slices.Sorted(slices.Values(t.Entities))
	slices.Sort(entities)
	if t.Entities != nil && !slices.Equal(want, entities) {
		res.OK = false
		res.Message = fmt.Sprintf("expected entity %s, got %s", strings.Join(want, ", "), strings.Join(entities, ", "))
	}
	return res
}

// Alerts returns the alerts that the events raise.
func Alerts(r *rule.Rule, events []rule.TestEvent) ([]finding.Alert, error) {
	m := match.New(rule.Matched([]*rule.Rule{r}))
	feeds := rule.NewFeeds([]*rule.Rule{r})
	c := correlate.New([]*rule.Rule{r}, slog.New(slog.DiscardHandler))
	var alerts []finding.Alert
	err := Blocks(events, func(b *block.Block) {
		m.Match(b, func(r *rule.Rule, row int) {
			for _, f := range feeds.Of(r) {
				sig := match.Signal(&f, b, row)
				c.Add(&sig, func(a finding.Alert) {
					if a.Status == finding.Raised {
						alerts = append(alerts, a)
					}
				})
			}
		})
	})
	return alerts, err
}

// Blocks turns test events into blocks, in order; a new block begins where the
// family changes.
func Blocks(events []rule.TestEvent, use func(*block.Block)) error {
	var b *block.Builder
	now, n := start, 0
	var decoded block.Block
	flush := func() error {
		if b == nil || b.Rows() == 0 {
			return nil
		}
		payload := b.AppendTo(nil, block.Header{Kind: block.KindEvents, Source: "test", Received: now})
		if err := block.Decode(payload, &decoded); err != nil {
			return err
		}
		use(&decoded)
		return nil
	}
	for _, e := range events {
		if b == nil || b.Family() != e.Family {
			if err := flush(); err != nil {
				return err
			}
			b = block.NewBuilder(e.Family)
		}
		for i := 1; i <= e.Repeat; i++ {
			now += e.After.Milliseconds()
			n++
			var uid [16]byte
			binary.BigEndian.PutUint64(uid[8:], uint64(n))
			b.SetUUID(event.EventUID, uid)
			b.SetInt(event.Time, now)
			b.SetInt(event.ReceivedAt, now)
			for _, f := range e.Fields {
				if err := set(b, f, i); err != nil {
					return err
				}
			}
			b.EndRow()
		}
	}
	return flush()
}

func set(b *block.Builder, f rule.TestField, n int) error {
	id := f.Column.ID
	switch v := f.Value.(type) {
	case string:
		v = rule.Repeat(v, n)
		switch f.Column.Kind {
		case event.KindIP:
			addr, err := netip.ParseAddr(v)
			if err != nil {
				return fmt.Errorf("field %s: %w", f.Column.Path, err)
			}
			b.SetIP(id, addr)
		case event.KindUUID:
			return fmt.Errorf("field %s is set by the test itself", f.Column.Path)
		default:
			b.SetString(id, v)
		}
	case int64:
		b.SetInt(id, v)
	case float64:
		b.SetFloat(id, v)
	case bool:
		if v {
			b.SetInt(id, 1)
		}
	case []string:
		for _, s := range v {
			b.AppendKeyword(id, []byte(rule.Repeat(s, n)))
		}
	case map[string]float64:
		for k, x := range v {
			b.AppendScore(id, k, x)
		}
	}
	return nil
}
