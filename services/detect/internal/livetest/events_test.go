//go:build linux || darwin

// Package livetest proves that live detection and a backtest give the same
// alerts for the same events.
package livetest

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// maker makes blocks of the events of rules' tests, each test an hour after the
// one before, with uids of their own.
type maker struct {
	t        testing.TB
	now      time.Time
	uid      uint64
	payloads [][]byte
	families []event.Family
}

func (m *maker) add(events []rule.TestEvent) {
	m.t.Helper()
	m.now = m.now.Add(time.Hour).Truncate(time.Hour)
	var b *block.Builder
	flush := func() {
		if b != nil && b.Rows() > 0 {
			m.payloads = append(m.payloads, b.AppendTo(nil, block.Header{Kind: block.KindEvents, Source: "test", Received: m.now.UnixMilli()}))
			m.families = append(m.families, b.Family())
		}
	}
	for _, e := range events {
		if b == nil || b.Family() != e.Family {
			flush()
			b = block.NewBuilder(e.Family)
		}
		for i := 1; i <= e.Repeat; i++ {
			m.now = m.now.Add(e.After)
			m.uid++
			var uid [16]byte
			binary.BigEndian.PutUint64(uid[8:], m.uid)
			b.SetUUID(event.EventUID, uid)
			b.SetInt(event.Time, m.now.UnixMilli())
			b.SetInt(event.ReceivedAt, m.now.UnixMilli())
			b.SetString(event.Source, "test")
			for _, f := range e.Fields {
				m.set(b, f, i)
			}
			b.EndRow()
		}
	}
	flush()
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
		m.t.Fatal(fmt.Sprintf("a test sets %s to a %T", f.Column.Path, v))
	}
}
