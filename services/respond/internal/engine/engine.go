package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/run"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/respond/internal/connector"
	"github.com/vagus-hub/vagus/services/respond/internal/kv"
	"github.com/vagus-hub/vagus/services/respond/internal/playbook"
)

// Publisher stores a message durably; the same id is stored once.
type Publisher interface {
	Publish(ctx context.Context, m bus.Msg) (bus.Ack, error)
}

// Actor does actions. Do must be idempotent by Call.Key; errors are
// *connector.Error.
type Actor interface {
	playbook.Operations
	Configured(name string) bool
	Do(ctx context.Context, c connector.Call) (connector.Result, error)
}

// Settings wires an Engine. All but Logger are required.
type Settings struct {
	Runs      kv.Store[Doc]
	Texts     kv.Store[string] // playbooks' texts by version
	Budgets   kv.Store[Budget]
	Approvals kv.Store[run.Approval]
	Publisher Publisher
	Actor     Actor
	Playbooks []*playbook.Playbook
	Vars      map[string]map[string]string // playbook id → variable → value
	Envelope  Envelope
	Workers   int // runs advanced at the same time; default 8
	Now       func() time.Time
	Logger    *slog.Logger
}

// Engine runs playbooks. Safe for concurrent use; one process at a time should
// own the runs of a bus.
type Engine struct {
	Settings
	qmu   sync.Mutex
	queue queue
	bell  chan struct{} // size 1
	mu    sync.Mutex
	locks map[string]*keyLock
	books map[string]*playbook.Playbook // by version, also older ones
	kept  map[string]bool               // versions whose text is stored
	stats stats
}

type keyLock struct {
	sync.Mutex
	users int
}

// ErrNotFound says there is no such run, step or question.
var ErrNotFound = errors.New("not found")

// ErrState says the run or step is not in a state that allows it.
var ErrState = errors.New("not possible now")

// New returns an engine. Call Run to have it work by itself, or Advance.
func New(s Settings) *Engine {
	if s.Workers <= 0 {
		s.Workers = 8
	}
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	return &Engine{Settings: s, queue: queue{pos: map[string]int{}}, bell: make(chan struct{}, 1), locks: map[string]*keyLock{}, books: map[string]*playbook.Playbook{}, kept: map[string]bool{}}
}

// RunUID is the run of a playbook for an alert: there is at most one.
func RunUID(playbookID, alertUID string) string { return finding.UID(playbookID, alertUID) }

func key(uid string) string { return "run." + uid }

// Start begins the runs that an alert asks for and returns their uids. It may
// be called again for the same alert: a run that exists is left alone. Only
// raised alerts start runs.
func (e *Engine) Start(ctx context.Context, a finding.Alert, incident string) ([]string, error) {
	if a.Status != finding.Raised {
		return nil, nil
	}
	var started []string
	for _, pb := range e.Playbooks {
		if !slices.Contains(pb.Lanes, string(a.Lane)) {
			continue
		}
		now := e.Now()
		d := Doc{
			UID: RunUID(pb.ID, a.UID), Playbook: pb.ID, Version: pb.Version, Vars: pb.VarsWith(e.Vars[pb.ID]),
			Alert: a, Incident: incident, State: run.Started, CreatedAt: now,
		}
		ok, err := pb.Trigger.Bool(d.env(now))
		if err != nil {
			e.Logger.Error("playbook condition failed", "playbook", pb.ID, "alert", a.UID, "error", err)
			continue
		}
		if !ok {
			continue
		}
		if err := e.keep(ctx, pb); err != nil {
			return started, fmt.Errorf("start run %s: %w", pb.ID, err)
		}
		e.note(&d, run.Transition{State: run.Started, Reason: "alert: " + a.Title})
		_, err = e.Runs.Create(ctx, key(d.UID), d)
		if err != nil && !errors.Is(err, bus.ErrExists) {
			return started, fmt.Errorf("start run %s: %w", pb.ID, err)
		}
		if err == nil {
			e.stats.runs.Add(1)
			e.Logger.Info("run started", "playbook", pb.ID, "run", d.UID, "alert", a.UID, "entity", d.entity())
		}
		started = append(started, d.UID)
		e.poke(d.UID, now)
	}
	return started, nil
}

// note adds a transition to the outbox.
func (e *Engine) note(d *Doc, t run.Transition) {
	d.Seq++
	t.Run, t.Seq, t.At, t.Playbook, t.Version = d.UID, d.Seq, e.Now(), d.Playbook, d.Version
	t.Alert, t.Incident, t.Entity = d.Alert.UID, d.Incident, d.entity()
	if t.By == "" {
		t.By = "engine"
	}
	d.Outbox = append(d.Outbox, t)
	d.UpdatedAt = t.At
}

// keep stores a playbook's text before its first run: files change, runs that
// began with the old text end with it.
func (e *Engine) keep(ctx context.Context, pb *playbook.Playbook) error {
	e.mu.Lock()
	done := e.kept[pb.Version]
	e.mu.Unlock()
	if done {
		return nil
	}
	if _, err := e.Texts.Create(ctx, textKey(pb.Version), pb.Text); err != nil && !errors.Is(err, bus.ErrExists) {
		return err
	}
	e.mu.Lock()
	e.kept[pb.Version] = true
	e.mu.Unlock()
	return nil
}

func textKey(version string) string { return "text." + version }

// book returns the playbook a run began with.
func (e *Engine) book(ctx context.Context, d *Doc) (*playbook.Playbook, error) {
	for _, pb := range e.Playbooks {
		if pb.ID == d.Playbook && pb.Version == d.Version {
			return pb, nil
		}
	}
	e.mu.Lock()
	pb := e.books[d.Version]
	e.mu.Unlock()
	if pb != nil {
		return pb, nil
	}
	text, err := e.Texts.Get(ctx, textKey(d.Version))
	if err != nil {
		return nil, err
	}
	if pb, err = playbook.Parse(d.Playbook+".yml", []byte(text.Value), e.Actor); err != nil {
		return nil, fmt.Errorf("%w: %w", errBook, err)
	}
	e.mu.Lock()
	e.books[d.Version] = pb
	e.mu.Unlock()
	return pb, nil
}

// errBook says a stored playbook cannot be read any more, for example because
// an operation it uses is gone.
var errBook = errors.New("stored playbook")

// lock serialises work on one run within this process.
func (e *Engine) lock(uid string) (unlock func()) {
	e.mu.Lock()
	l := e.locks[uid]
	if l == nil {
		l = &keyLock{}
		e.locks[uid] = l
	}
	l.users++
	e.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		e.mu.Lock()
		if l.users--; l.users == 0 {
			delete(e.locks, uid)
		}
		e.mu.Unlock()
	}
}

// session is one process's work on one run.
type session struct {
	*Engine
	d   *Doc
	rev uint64
	pb  *playbook.Playbook
	// stored says that the stored document still has transitions in its outbox.
	stored bool
}

// Advance takes a run as far as it goes now. It returns when the run wants to
// be advanced again (zero: only when somebody acts, or never).
func (e *Engine) Advance(ctx context.Context, uid string) (next time.Time, err error) {
	defer e.lock(uid)()
	s, err := e.open(ctx, uid)
	if err != nil {
		return time.Time{}, err
	}
	// What the last process may not have got out.
	if err := s.publish(ctx); err != nil {
		return time.Time{}, err
	}
	if s.pb == nil {
		if s.d.over() {
			return time.Time{}, s.settle(ctx)
		}
		s.d.State, s.d.Reason = run.Failed, "the playbook of this run can no longer be read"
		s.note(s.d, run.Transition{State: run.Failed, Reason: s.d.Reason})
		if err := s.commit(ctx); err != nil {
			return time.Time{}, err
		}
		return time.Time{}, s.settle(ctx)
	}
	if err := s.undos(ctx); err != nil {
		return time.Time{}, err
	}
	if !s.d.over() && s.d.Outcome == "" {
		if err := s.forward(ctx); err != nil {
			return time.Time{}, err
		}
	}
	if err := s.finish(ctx); err != nil {
		return time.Time{}, err
	}
	return s.next(), s.settle(ctx)
}

// validID reports whether s can be the uid of a run: uids also come from
// outside, and become keys.
func validID(s string) bool {
	return len(s) == 32 && strings.Trim(s, "0123456789abcdef") == ""
}

func (e *Engine) open(ctx context.Context, uid string) (*session, error) {
	if !validID(uid) {
		return nil, fmt.Errorf("run %.40q: %w", uid, ErrNotFound)
	}
	entry, err := e.Runs.Get(ctx, key(uid))
	if errors.Is(err, bus.ErrNotFound) {
		return nil, fmt.Errorf("run %s: %w", uid, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	s := &session{Engine: e, d: &entry.Value, rev: entry.Revision, stored: len(entry.Value.Outbox) > 0}
	if s.pb, err = e.book(ctx, s.d); err != nil {
		if !errors.Is(err, errBook) && !errors.Is(err, bus.ErrNotFound) {
			return nil, fmt.Errorf("run %s: %w", uid, err)
		}
		e.Logger.Error("playbook of a run cannot be read", "run", uid, "playbook", s.d.Playbook, "error", err)
		s.pb = nil
	}
	return s, nil
}

// commit stores the document and then publishes what changed.
func (s *session) commit(ctx context.Context) error {
	rev, err := s.Runs.Update(ctx, key(s.d.UID), *s.d, s.rev)
	if err != nil {
		return fmt.Errorf("store run %s: %w", s.d.UID, err)
	}
	s.rev, s.stored = rev, len(s.d.Outbox) > 0
	return s.publish(ctx)
}

// settle makes the stored document forget what was published, so that a much
// later change, beyond the stream's window for duplicates, does not publish it
// again.
func (s *session) settle(ctx context.Context) error {
	if !s.stored {
		return nil
	}
	return s.commit(ctx)
}

// publish empties the outbox; the stored document forgets it with its next
// change.
func (s *session) publish(ctx context.Context) error {
	for _, t := range s.d.Outbox {
		data, err := json.Marshal(t)
		if err != nil {
			return fmt.Errorf("publish run %s: %w", s.d.UID, err)
		}
		m := bus.Msg{Subject: subjects.Runs(s.d.Playbook), ID: s.d.UID + ":" + strconv.Itoa(t.Seq), Data: data}
		if tp := s.d.Alert.Traceback; tp != "" {
			m.Header = bus.Header{subjects.HeaderTrace: {tp}}
		}
		if _, err := s.Publisher.Publish(ctx, m); err != nil {
			return fmt.Errorf("publish run %s: %w", s.d.UID, err)
		}
		s.stats.transitions.Add(1)
	}
	s.d.Outbox = nil
	return nil
}

// finish ends the run, or tells what it waits for.
func (s *session) finish(ctx context.Context) error {
	d := s.d
	if d.over() || d.Outcome == "" {
		return nil
	}
	if due, id := s.nextUndo(); due != nil {
		if d.State == run.Waiting && d.DueAt != nil && d.DueAt.Equal(*due) {
			return nil
		}
		d.State, d.DueAt = run.Waiting, due
		d.Reason = fmt.Sprintf("steps done (%s); %s is taken back at %s", d.Outcome, id, due.UTC().Format(time.RFC3339))
		s.note(d, run.Transition{State: run.Waiting, Reason: d.Reason, DueAt: due})
		return s.commit(ctx)
	}
	d.State, d.Reason, d.DueAt = d.Outcome, d.OutcomeReason, nil
	s.note(d, run.Transition{State: d.State, Reason: d.Reason})
	s.stats.finished.Add(1)
	s.Logger.Info("run finished", "playbook", d.Playbook, "run", d.UID, "state", string(d.State), "reason", d.Reason)
	return s.commit(ctx)
}

// next is the earliest time anything is due.
func (s *session) next() time.Time {
	var at time.Time
	min := func(t *time.Time) {
		if t != nil && (at.IsZero() || t.Before(at)) {
			at = *t
		}
	}
	for _, sd := range s.d.Steps {
		if sd.State == run.Waiting {
			min(sd.DueAt)
		}
		if sd.Undo != nil && sd.Undo.State == run.Waiting {
			min(sd.Undo.At)
		}
	}
	return at
}
