package edge

import (
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

// checked is what the hub stores of a message. An edge can put anything into
// its streams; what is no block of this stream becomes a dead letter.
func (p *Puller) checked(m jetstream.Msg) bus.Msg {
	header := bus.Header{}
	for k, v := range m.Headers() {
		if !strings.HasPrefix(k, "Nats-") {
			header[k] = v
		}
	}
	id := m.Headers().Get(subjects.HeaderMsgID)
	h, _, err := block.Split(m.Data())
	want := subjects.Raw(h.Source)
	kind := block.KindRaw
	if p.Stream == subjects.StreamDead {
		want, kind = subjects.Dead("ingest", h.Source), block.KindDead
	}
	switch {
	case err != nil:
	case h.Kind == kind && m.Subject() == want && p.may(h.Source):
		return bus.Msg{Subject: want, ID: id, Header: header, Data: m.Data()}
	case !p.may(h.Source):
		err = fmt.Errorf("edge %s may not hand over source %.128q", p.Name, h.Source)
	default:
		err = fmt.Errorf("a block of kind %d and source %q on %q", h.Kind, h.Source, m.Subject())
	}
	id = "edge:" + p.Name + ":" + id
	b := block.NewDeadBuilder()
	now := time.Now().UnixMilli()
	b.AppendDead(block.UID(id, 0), now, m.Data()[:min(len(m.Data()), 64<<10)], "edge_message", err.Error())
	return bus.Msg{Subject: subjects.Dead("edge", p.Name), ID: id, Header: header,
		Data: b.AppendTo(nil, block.Header{Source: p.Name, Auth: "edge", Received: now})}
}

func (p *Puller) may(source string) bool {
	for _, s := range p.Sources {
		if s == "*" || s == source || strings.HasSuffix(s, ".*") && strings.HasPrefix(source, s[:len(s)-1]) {
			return true
		}
	}
	return len(p.Sources) == 0
}
