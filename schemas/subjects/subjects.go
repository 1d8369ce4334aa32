// Package subjects is the one place that knows how things are named on the
// bus: streams, subjects, KV buckets, message headers and message ids.
//
// A source such as "nginx.access" keeps its dots as subject tokens, so
// Raw("nginx.access") is "raw.nginx.access", parsing is the plain reverse, and
// a consumer may filter one source, one vendor ("raw.nginx.>") or all of them
// (RawAll). Names come from outside the process, so build checked subjects
// from names that passed Check; a constructor replaces what a subject cannot
// carry rather than failing, which keeps it usable in an expression.
package subjects

import (
	"fmt"
	"strconv"
	"strings"
)

// Stream names.
const (
	// StreamRaw holds framed records as they were received.
	StreamRaw = "RAW"
	// StreamInbox holds what producers publish, before it is framed.
	StreamInbox = "INBOX"
	// StreamEvents holds blocks of normalised events, one family a message.
	StreamEvents = "EVENTS"
	// StreamSignals holds rule matches; correlation is a replay of it.
	StreamSignals = "SIGNALS"
	// StreamAlerts holds findings: raised, amended, retracted.
	StreamAlerts = "ALERTS"
	// StreamRuns holds playbook and step transitions (the audit log).
	StreamRuns = "RUNS"
	// StreamDead holds payloads that no retry can help, with the reason.
	StreamDead = "DEAD"
	// StreamLedger holds counts a stage wants to publish on its own.
	StreamLedger = "LEDGER"
)

// KV bucket names.
const (
	// BucketDecisions holds the decisions in force, keyed by entity.
	BucketDecisions = "decisions"
	// BucketRuns holds the state of playbook runs.
	BucketRuns = "runs"
	// BucketApprovals holds approvals that wait for a person.
	BucketApprovals = "approvals"
	// BucketCheckpoints holds consumers' plans and floors.
	BucketCheckpoints = "checkpoints"
	// BucketLists holds operators' allow and block lists.
	BucketLists = "lists"
	// BucketContent holds rules and playbooks that were changed at run time.
	BucketContent = "content"
	// BucketSilences holds what mutes alerts.
	BucketSilences = "silences"
	// BucketAssets holds the inventory: what is known of hosts, addresses,
	// workloads, keys and models.
	BucketAssets = "assets"
	// BucketInstances holds which instances of a service live and what each of
	// them owns. It is kept in memory: with the bus, it begins anew.
	BucketInstances = "instances"
	// StoreState is the object store for state too big for a KV value.
	StoreState = "state"
)

// RunsIncident stands for a playbook in subjects of RUNS: incidents are published
// there, beside the runs that answer them.
const RunsIncident = "_incident"

// RunsDisposition is the same for what analysts found alerts to be: the audit
// log has their verdicts too.
const RunsDisposition = "_disposition"

// SignalPartitions is the number of SIGNALS subjects, and so of instances that
// can share correlation. It is fixed: a group key must always land in the same
// partition. It is small because a block of events may give a message, with an
// fsync of its own, in each.
const SignalPartitions = 4

// SignalsTick is where the clocks of the sources are published. It belongs to
// the log of every partition: one message, one fsync, for all of them.
const SignalsTick = "signals.tick"

// DetectReports is where instances of detect tell their leader what they have
// matched: requests that no stream holds.
const DetectReports = "vagus.detect.reports"

// Wildcards that match every subject of a stream.
const (
	RawAll     = "raw.>"
	InboxAll   = "in.>"
	EventsAll  = "events.>"
	SignalsAll = "signals.>"
	AlertsAll  = "alerts.>"
	RunsAll    = "runs.>"
	DeadAll    = "dead.>"
	LedgerAll  = "ledger.>"
)

// Message headers. NATS delivers header names case-sensitively.
const (
	// HeaderMsgID makes a publish idempotent within the stream's window.
	HeaderMsgID = "Nats-Msg-Id"
	// HeaderSource names the source of the payload.
	HeaderSource = "Vagus-Source"
	// HeaderStage names the stage that wrote the message.
	HeaderStage = "Vagus-Stage"
	// HeaderReason is the short machine-readable reason of a dead letter.
	HeaderReason = "Vagus-Reason"
	// HeaderError is the readable error of a dead letter.
	HeaderError = "Vagus-Error"
	// HeaderOrigin is the subject a dead letter came from.
	HeaderOrigin = "Vagus-Origin"
	// HeaderOriginSeq is the stream sequence a dead letter came from.
	HeaderOriginSeq = "Vagus-Origin-Seq"
	// HeaderAuth names the token a sender authenticated with.
	HeaderAuth = "Vagus-Auth"
	// HeaderRemote is the sender's address.
	HeaderRemote = "Vagus-Remote"
	// HeaderEdge is where a message was at the edge that it came from:
	// name/stream/sequence.
	HeaderEdge = "Vagus-Edge"
	// HeaderTrace is the W3C trace context.
	HeaderTrace = "traceparent"
)

// MaxName is the longest name Check accepts, in bytes.
const MaxName = 128

// Check reports why name cannot be a source, family, level, stage or playbook
// name. A name is one or more dot-separated tokens of a-z, A-Z, 0-9, '_', '-'.
func Check(name string) error {
	if name == "" {
		return fmt.Errorf("name: empty")
	}
	if len(name) > MaxName {
		return fmt.Errorf("name %.20q…: %d bytes, at most %d", name, len(name), MaxName)
	}
	start := true
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c == '.':
			if start {
				return fmt.Errorf("name %q: empty token at byte %d", name, i)
			}
			start = true
		case plain(c):
			start = false
		default:
			return fmt.Errorf("name %q: byte %q at %d (allowed: letters, digits, '_', '-', '.')", name, c, i)
		}
	}
	if start {
		return fmt.Errorf("name %q: ends with a dot", name)
	}
	return nil
}

func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// Inbox is where producers publish records of a source; of "" the prefix.
func Inbox(source string) string {
	if source == "" {
		return "in."
	}
	return "in." + safe(source)
}

// safe returns name when it passes Check, else a form that does: bytes a
// subject cannot carry become '_', empty tokens become "_".
func safe(name string) string {
	if Check(name) == nil {
		return name
	}
	if len(name) > MaxName {
		name = name[:MaxName]
	}
	tokens := strings.Split(name, ".")
	for i, tok := range tokens {
		b := []byte(tok)
		for j, c := range b {
			if !plain(c) {
				b[j] = '_'
			}
		}
		if len(b) == 0 {
			b = []byte{'_'}
		}
		tokens[i] = string(b)
	}
	if s := strings.Join(tokens, "."); len(s) <= MaxName {
		return s
	}
	return "_"
}

// one is safe for names that must stay a single token: dots become '_'.
func one(name string) string { return strings.ReplaceAll(safe(name), ".", "_") }

// Raw returns raw.<source>.
func Raw(source string) string { return "raw." + safe(source) }

// Events returns events.<family>.
func Events(family string) string { return "events." + safe(family) }

// Signals returns signals.<partition>; partition is taken modulo
// SignalPartitions.
func Signals(partition int) string {
	return "signals." + strconv.Itoa(int(uint(partition)%SignalPartitions))
}

// SignalsSeed is where a partition's correlation is told what the stored events
// say of the time before it began. It is part of the partition's log.
func SignalsSeed(partition int) string { return Signals(partition) + ".seed" }

// Partition returns the SIGNALS partition of a 64-bit hash of (rule, group key).
func Partition(hash uint64) int { return int(hash % SignalPartitions) }

// Alerts returns alerts.<level>.
func Alerts(level string) string { return "alerts." + safe(level) }

// Runs returns runs.<playbook>.
func Runs(playbook string) string { return "runs." + safe(playbook) }

// Dead returns dead.<stage>.<source>. The stage is one token.
func Dead(stage, source string) string { return "dead." + one(stage) + "." + safe(source) }

// DeadStage returns the filter for every dead letter of one stage.
func DeadStage(stage string) string { return "dead." + one(stage) + ".>" }

// Ledger returns ledger.<stage>.
func Ledger(stage string) string { return "ledger." + safe(stage) }

// ParseRaw returns the source of a RAW subject.
func ParseRaw(subject string) (source string, ok bool) { return parse(subject, "raw.") }

// ParseEvents returns the family of an EVENTS subject.
func ParseEvents(subject string) (family string, ok bool) { return parse(subject, "events.") }

// ParseAlerts returns the level of an ALERTS subject.
func ParseAlerts(subject string) (level string, ok bool) { return parse(subject, "alerts.") }

// ParseRuns returns the playbook of a RUNS subject.
func ParseRuns(subject string) (playbook string, ok bool) { return parse(subject, "runs.") }

// ParseSignals returns the partition of a SIGNALS subject.
func ParseSignals(subject string) (partition int, ok bool) {
	s, ok := parse(subject, "signals.")
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	// Comparing with the canonical form rejects "+1" and "01".
	if err != nil || n < 0 || n >= SignalPartitions || strconv.Itoa(n) != s {
		return 0, false
	}
	return n, true
}

// ParseDead returns the stage and source of a DEAD subject.
func ParseDead(subject string) (stage, source string, ok bool) {
	s, ok := parse(subject, "dead.")
	if !ok {
		return "", "", false
	}
	stage, source, ok = strings.Cut(s, ".")
	if !ok || stage == "" || source == "" {
		return "", "", false
	}
	return stage, source, true
}

func parse(subject, prefix string) (string, bool) {
	s, ok := strings.CutPrefix(subject, prefix)
	if !ok || Check(s) != nil {
		return "", false
	}
	return s, true
}

// Stream returns the stream that holds subject, "" when none does.
func Stream(subject string) string {
	first, _, ok := strings.Cut(subject, ".")
	if !ok {
		return ""
	}
	switch first {
	case "raw":
		return StreamRaw
	case "events":
		return StreamEvents
	case "signals":
		return StreamSignals
	case "alerts":
		return StreamAlerts
	case "runs":
		return StreamRuns
	case "dead":
		return StreamDead
	case "ledger":
		return StreamLedger
	}
	return ""
}

// RawID is the message id of a chunk of a batch: a sender that repeats its
// batch id stores the batch once.
func RawID(source, batch string, chunk int) string {
	return source + ":" + batch + ":" + strconv.Itoa(chunk)
}

// EventsID is the message id of the events of one family made from one RAW
// message.
func EventsID(rawSeq uint64, family string) string {
	return "n:" + strconv.FormatUint(rawSeq, 10) + ":" + family
}

// AlertID is the message id of one status of an alert.
func AlertID(uid, status string) string { return uid + ":" + status }

// DeadID is the message id of the dead letter a stage writes for one message
// of a stream.
func DeadID(stage, stream string, seq uint64) string {
	return "d:" + stage + ":" + stream + ":" + strconv.FormatUint(seq, 10)
}
