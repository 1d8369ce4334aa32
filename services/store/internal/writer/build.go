package writer

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/run"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/ledger"
	"github.com/vagus-hub/vagus/services/store/internal/native"
)

// stage is the store's name in dead letters.
const stage = "store"

// builders turn a message of a stream into rows. They must give the same rows
// for the same message always: a plan is redone from the messages.
var builders = map[string]func(*batch, bus.Record) error{
	subjects.StreamRaw:    buildRaw,
	subjects.StreamEvents: buildEvents,
	subjects.StreamDead:   buildDead,
	subjects.StreamAlerts: buildAlert,
	subjects.StreamRuns:   buildRun,
}

// add files a message; what cannot be read becomes a dead letter.
func (b *batch) add(stream string, r bus.Record) {
	if b.messages == 0 {
		b.first = r.Seq
	}
	b.last = r.Seq
	b.messages++
	b.bytes += len(r.Data)
	if err := builders[stream](b, r); err != nil {
		reason := "corrupt_block"
		if !errors.Is(err, block.ErrCorrupt) {
			reason = "malformed_message"
		}
		b.broken = append(b.broken, broken{seq: r.Seq, source: sourceOf(r), payload: r.Data, reason: reason, err: err})
	}
}

func sourceOf(r bus.Record) string {
	if s := r.Header.Get(subjects.HeaderSource); s != "" {
		return s
	}
	if s, ok := subjects.ParseRaw(r.Subject); ok {
		return s
	}
	if _, s, ok := subjects.ParseDead(r.Subject); ok {
		return s
	}
	return r.Subject
}

func buildRaw(b *batch, r bus.Record) error {
	h, blk, err := block.Split(r.Data)
	if err != nil {
		return err
	}
	if h.Kind != block.KindRaw {
		return fmt.Errorf("%w: kind %d in stream RAW", block.ErrCorrupt, h.Kind)
	}
	row := ledger.Row{Stage: ledger.Ingest, Source: h.Source, Seq: r.Seq, RawSeq: r.Seq, At: time.UnixMilli(h.Received), In: uint64(h.Rows), Out: uint64(h.Rows)}
	if h.Replay {
		// Stored when they came the first time.
		row.Stage = ledger.Replay
	} else if h.Rows > 0 {
		b.put("raw", item{r.Seq, h.Source, int(h.Rows), blk, r.Data, h.MinTime, h.MaxTime})
	}
	b.ledger = append(b.ledger, row)
	return nil
}

func buildEvents(b *batch, r bus.Record) error {
	h, blk, err := block.Split(r.Data)
	if err != nil {
		return err
	}
	if h.Kind != block.KindEvents || int(h.Family) >= len(event.FamilyNames) {
		return fmt.Errorf("%w: kind %d, family %d in stream EVENTS", block.ErrCorrupt, h.Kind, h.Family)
	}
	at := time.UnixMilli(h.Received)
	b.ledger = append(b.ledger, normalized(h, r.Seq, uint64(h.Rows)))
	if h.Rows > 0 {
		b.put("events_"+event.FamilyNames[h.Family], item{r.Seq, h.Source, int(h.Rows), blk, r.Data, h.MinTime, h.MaxTime})
		b.ledger = append(b.ledger, ledger.Row{Stage: ledger.Store, Source: h.Source, Seq: r.Seq, RawSeq: h.RawSeq, At: at, In: uint64(h.Rows), Out: uint64(h.Rows)})
	}
	return nil
}

// normalized is the account that an output of normalize carries.
func normalized(h block.Header, seq, out uint64) ledger.Row {
	row := ledger.Row{Stage: ledger.Normalize, Source: h.Source, Seq: seq, RawSeq: h.RawSeq, At: time.UnixMilli(h.Received), In: uint64(h.In), Extra: uint64(h.Extra), Out: out, Dead: uint64(h.Dead)}
	for _, d := range h.Dropped {
		if row.Dropped == nil {
			row.Dropped = map[string]uint64{}
		}
		row.Dropped[d.Name] += uint64(d.Count)
	}
	return row
}

var deadColumns = []string{
	"event_uid", native.UUID, "received_at", native.Time, "source", native.String, "stage", native.String, "seq", native.UInt64,
	"reason", native.String, "error", native.String, "records", native.UInt32, "raw", native.String,
}

// buildDead takes dead letters of three forms: DEAD blocks; RAW blocks, which
// failed as a whole; and any other payload, kept as it is in one row.
func buildDead(b *batch, r bus.Record) error {
	at, source, ok := subjects.ParseDead(r.Subject)
	if !ok {
		return fmt.Errorf("subject %q is not dead.STAGE.SOURCE", r.Subject)
	}
	t := native.New(deadColumns...)
	records, from, to := uint64(0), r.Time.UnixMilli(), r.Time.UnixMilli()
	var h block.Header
	var raw block.Raw
	if block.DecodeRaw(r.Data, &raw) == nil {
		h = raw.Header
		records, source = uint64(raw.Len()), h.Source
		if raw.Len() > 0 {
			from, to = h.MinTime, h.MaxTime
		}
		for i := range raw.Len() {
			reason, text := raw.Reason(i), raw.Error(i)
			if h.Kind == block.KindRaw {
				reason, text = r.Header.Get(subjects.HeaderReason), r.Header.Get(subjects.HeaderError)
			}
			if err := t.Add(raw.UID(i), time.UnixMilli(raw.Received(i)), source, at, r.Seq, reason, text, uint32(1), string(raw.Record(i))); err != nil {
				return err
			}
		}
	} else {
		n := uint32(1)
		var err error
		if h, _, err = block.Split(r.Data); err == nil {
			n, source = h.Rows, h.Source
		}
		records = uint64(n)
		uid := block.UID(r.Stream+":"+strconv.FormatUint(r.Seq, 10), 0)
		if err := t.Add(uid, r.Time, source, at, r.Seq, r.Header.Get(subjects.HeaderReason), r.Header.Get(subjects.HeaderError), n, string(r.Data)); err != nil {
			return err
		}
	}
	if t.Rows() > 0 {
		b.put("dead_letters", item{r.Seq, source, t.Rows(), block.Plain(t.Append(nil)), r.Data, from, to})
	}
	b.accountDead(r, at, source, h, records)
	return nil
}

// accountDead writes who lost the records. Only the stages that records pass
// one by one balance; a signal or an alert that died is no record.
func (b *batch) accountDead(r bus.Record, at, source string, h block.Header, records uint64) {
	received := r.Time
	if h.Received > 0 {
		received = time.UnixMilli(h.Received)
	}
	switch {
	case at == ledger.Ingest:
		b.ledger = append(b.ledger, ledger.Row{Stage: ledger.Ingest, Source: source, Seq: r.Seq, At: received, In: records, Dead: records})
	case at == ledger.Normalize && h.Kind == block.KindRaw:
		// The whole message failed, so nobody else accounts for it.
		seq, _ := strconv.ParseUint(r.Header.Get(subjects.HeaderOriginSeq), 10, 64)
		b.ledger = append(b.ledger, ledger.Row{Stage: ledger.Normalize, Source: source, Seq: r.Seq, RawSeq: seq, At: received, In: records, Dead: records})
	case at == ledger.Normalize:
		if h.In > 0 || h.Dead > 0 || len(h.Dropped) > 0 {
			b.ledger = append(b.ledger, normalized(h, r.Seq, 0))
		}
	case at == stage:
		if h.Kind != block.KindEvents {
			return
		}
	default:
		return
	}
	b.ledger = append(b.ledger, ledger.Row{Stage: ledger.Dead, Source: source, Seq: r.Seq, RawSeq: h.RawSeq, At: received, Dead: records})
}

var alertColumns = []string{
	"uid", native.String, "revision", native.UInt32, "status", native.String, "rule", native.String, "rule_title", native.String,
	"rule_version", native.String, "level", native.String, "severity_id", native.UInt8, "lane", native.String, "title", native.String,
	"reason", native.String, "entity_type", native.String, "entity_value", native.String, "entity_name", native.String,
	"group", native.Texts, "fields", native.Texts, "tags", native.Strings, "sources", native.Strings, "count", native.Int64,
	"value", native.Float64, "threshold", native.Float64, "first_seen", native.Time, "last_seen", native.Time, "raised_at", native.Time,
	"event_uids", native.Strings, "traceback", native.String, "stored_at", native.Time,
	"risk", native.UInt8, "entities", native.Strings, "firing_until", native.Time,
	"muted_by", native.String, "muted_id", native.String, "muted_reason", native.String, "unmuted_at", native.Time,
}

func buildAlert(b *batch, r bus.Record) error {
	var a finding.Alert
	if err := json.Unmarshal(r.Data, &a); err != nil {
		return fmt.Errorf("read alert: %w", err)
	}
	if a.UID == "" || a.Rule == "" {
		return errors.New("read alert: no uid or no rule")
	}
	group := make(map[string]string, len(a.Group))
	for _, p := range a.Group {
		group[p.Path] = p.Value
	}
	var entities []string
	for _, e := range a.Entities {
		entities = append(entities, string(e.Role)+" "+e.Type+" "+e.Value)
	}
	var muted finding.Muted
	if a.Muted != nil {
		muted = *a.Muted
	}
	t := native.New(alertColumns...)
	err := t.Add(a.UID, uint32(a.Revision), string(a.Status), a.Rule, a.RuleTitle, a.Version, string(a.Level), uint8(a.Level.SeverityID()), string(a.Lane),
		a.Title, a.Reason, a.Entity.Type, a.Entity.Value, a.Entity.Name, group, a.Fields, a.Tags, a.Sources, a.Count, a.Value, a.Threshold,
		a.FirstSeen, a.LastSeen, a.RaisedAt, a.EventUIDs, a.Traceback, r.Time,
		uint8(min(max(a.Risk, 0), 100)), entities, a.Until, muted.By, muted.ID, muted.Reason, muted.Ended)
	if err != nil {
		return fmt.Errorf("read alert: %w", err)
	}
	at := a.RaisedAt.UnixMilli()
	b.put("alerts_log", item{r.Seq, a.Rule, 1, block.Plain(t.Append(nil)), r.Data, at, at})
	return nil
}

var runColumns = []string{
	"run", native.String, "seq", native.UInt32, "at", native.Time, "playbook", native.String, "playbook_version", native.String,
	"alert", native.String, "incident", native.String, "entity", native.String, "step", native.String, "kind", native.String,
	"action", native.String, "state", native.String, "attempt", native.UInt32, "idempotency_key", native.String, "reason", native.String,
	"by", native.String, "due_at", native.Time, "detail", native.Texts,
}

var incidentColumns = []string{
	"uid", native.String, "revision", native.UInt32, "entity", native.String, "title", native.String, "level", native.String,
	"status", native.String, "first_seen", native.Time, "last_seen", native.Time, "count", native.UInt32, "alerts", native.Strings,
	"rules", native.Strings, "sources", native.Strings, "tags", native.Strings,
}

func buildIncident(b *batch, r bus.Record) error {
	var x run.Incident
	if err := json.Unmarshal(r.Data, &x); err != nil {
		return fmt.Errorf("read incident: %w", err)
	}
	if x.UID == "" || x.Revision <= 0 {
		return errors.New("read incident: no uid or no revision")
	}
	t := native.New(incidentColumns...)
	err := t.Add(x.UID, uint32(x.Revision), x.Entity, x.Title, x.Level, x.Status, x.FirstSeen, x.LastSeen, uint32(x.Count), x.Alerts, x.Rules, x.Sources, x.Tags)
	if err != nil {
		return fmt.Errorf("read incident: %w", err)
	}
	at := x.FirstSeen.UnixMilli()
	b.put("incidents", item{r.Seq, x.Entity, 1, block.Plain(t.Append(nil)), r.Data, at, at})
	return nil
}

// buildRun takes what is published on RUNS: transitions, and on subjects of
// their own incidents and dispositions.
func buildRun(b *batch, r bus.Record) error {
	switch r.Subject {
	case subjects.Runs(subjects.RunsIncident):
		return buildIncident(b, r)
	case subjects.Runs(subjects.RunsDisposition):
		return buildDisposition(b, r)
	}
	var x run.Transition
	if err := json.Unmarshal(r.Data, &x); err != nil {
		return fmt.Errorf("read transition: %w", err)
	}
	if x.Run == "" || x.Seq <= 0 {
		return errors.New("read transition: no run or no sequence")
	}
	var due time.Time
	if x.DueAt != nil {
		due = *x.DueAt
	}
	t := native.New(runColumns...)
	err := t.Add(x.Run, uint32(x.Seq), x.At, x.Playbook, x.Version, x.Alert, x.Incident, x.Entity, x.Step, x.Kind, x.Action, string(x.State),
		uint32(x.Attempt), x.Idempotency, x.Reason, x.By, due, x.Detail)
	if err != nil {
		return fmt.Errorf("read transition: %w", err)
	}
	at := x.At.UnixMilli()
	b.put("run_steps", item{r.Seq, x.Playbook, 1, block.Plain(t.Append(nil)), r.Data, at, at})
	return nil
}

var ledgerColumns = []string{
	"stage", native.String, "source", native.String, "seq", native.UInt64, "raw_seq", native.UInt64, "at", native.Time,
	"in", native.UInt64, "extra", native.UInt64, "out", native.UInt64, "dead", native.UInt64, "dropped", native.Counts,
}

// ledgerPart is the account of a batch, to be inserted beside its rows.
func (b *batch) ledgerPart() (*part, error) {
	if len(b.ledger) == 0 {
		return nil, nil
	}
	t := native.New(ledgerColumns...)
	it := item{seq: b.first, from: b.ledger[0].At.UnixMilli(), to: b.ledger[0].At.UnixMilli()}
	for _, r := range b.ledger {
		if err := t.Add(r.Stage, r.Source, r.Seq, r.RawSeq, r.At, r.In, r.Extra, r.Out, r.Dead, r.Dropped); err != nil {
			return nil, fmt.Errorf("ledger: %w", err)
		}
		it.from, it.to = min(it.from, r.At.UnixMilli()), max(it.to, r.At.UnixMilli())
	}
	it.rows, it.body = t.Rows(), block.Plain(t.Append(nil))
	p := &part{table: ledger.Table}
	p.add(it)
	return p, nil
}
