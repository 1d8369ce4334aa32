//go:build linux || darwin

// Package livetest proves that live detection and a backtest give the same
// alerts for the same events.
package livetest

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// maxRows keeps blocks below the number of matches of a group of which live
// detection only counts the rest (detect.Options.MaxSignals): then the moment
// at which a rule fires is that of the last one shown.
const maxRows = 90

// maker makes blocks of the events of rules' tests, each test an hour after the
// one before, with uids of their own.
type maker struct {
	t        testing.TB
	now      time.Time
	uid      uint64
	payloads [][]byte
	families []event.Family
	sources  map[string]bool
	tests    []stretch
}

// stretch is one test: its time, and the number of payloads up to its end.
type stretch struct {
	from, to time.Time
	until    int
}

func (m *maker) add(events []rule.TestEvent) {
	m.t.Helper()
	m.now = m.now.Add(time.Hour).Truncate(time.Hour)
	from := m.now
	var b *block.Builder
	source := ""
	flush := func() {
		if b != nil && b.Rows() > 0 {
			m.payloads = append(m.payloads, b.AppendTo(nil, block.Header{Kind: block.KindEvents, Source: source, Received: m.now.UnixMilli()}))
			m.families = append(m.families, b.Family())
		}
	}
	for _, e := range events {
		// A block has the events of one source, as normalize makes them.
		if of := sourceOf(e); b == nil || b.Family() != e.Family || of != source {
			flush()
			b, source = block.NewBuilder(e.Family), of
			m.sources[source] = true
		}
		for i := 1; i <= e.Repeat; i++ {
			m.now = m.now.Add(e.After)
			m.uid++
			var uid [16]byte
			binary.BigEndian.PutUint64(uid[8:], m.uid)
			b.SetUUID(event.EventUID, uid)
			b.SetInt(event.Time, m.now.UnixMilli())
			b.SetInt(event.ReceivedAt, m.now.UnixMilli())
			b.SetString(event.Source, source)
			for _, f := range e.Fields {
				m.set(b, f, i)
			}
			b.EndRow()
			if b.Rows() == maxRows {
				flush()
				b = block.NewBuilder(e.Family)
			}
		}
	}
	flush()
	m.tests = append(m.tests, stretch{from, m.now.Add(time.Hour).Truncate(time.Hour), len(m.payloads)})
}

// quiet lets a day pass: every source has an event that no rule wants, so that
// live detection, too, learns what did not happen.
func (m *maker) quiet() {
	m.t.Helper()
	m.now = m.now.Add(24 * time.Hour)
	for source := range m.sources {
		m.add([]rule.TestEvent{{Repeat: 1, Family: event.FamilyAI, Fields: []rule.TestField{{Column: &event.Columns[event.Source], Value: source}}}})
	}
}

func sourceOf(e rule.TestEvent) string {
	for _, f := range e.Fields {
		if v, ok := f.Value.(string); ok && f.Column.ID == event.Source {
			return v
		}
	}
	return "test"
}

func (m *maker) set(b *block.Builder, f rule.TestField, n int) {
	id := f.Column.ID
	switch v := f.Value.(type) {
	case string:
		v = rule.Repeat(v, n)
		if f.Column.Kind != event.KindIP {
			b.SetString(id, v)
			return
		}
		addr, err := netip.ParseAddr(v)
		if err != nil {
			m.t.Fatal(err)
		}
		b.SetIP(id, addr)
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
	default:
		m.t.Fatalf("a test sets %s to a %T", f.Column.Path, v)
	}
}
