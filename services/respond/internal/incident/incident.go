// Package incident groups alerts: those of one entity that follow each other
// within half an hour are one incident.
package incident

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/run"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/respond/internal/kv"
)

// Subject is where every revision of an incident is published.
const Subject = "runs." + subjects.RunsIncident

// Gap is how long after its last alert an incident still takes new ones.
const Gap = 30 * time.Minute

// maxList bounds the lists of an incident.
const maxList = 200

// Publisher stores a message durably.
type Publisher interface {
	Publish(ctx context.Context, m bus.Msg) (bus.Ack, error)
}

// Book keeps the incidents. Safe for concurrent use; one process at a time
// should own it.
type Book struct {
	store kv.Store[run.Incident]
	pub   Publisher

	mu     sync.Mutex
	latest map[string]run.Incident // entity → the one with the latest alert
}

// Open loads what is stored.
func Open(ctx context.Context, store kv.Store[run.Incident], pub Publisher) (*Book, error) {
	b := &Book{store: store, pub: pub, latest: map[string]run.Incident{}}
	entries, err := store.List(ctx, "incident.*")
	if err != nil {
		return nil, fmt.Errorf("load incidents: %w", err)
	}
	for _, e := range entries {
		b.remember(e.Value)
	}
	return b, nil
}

func (b *Book) remember(in run.Incident) {
	if was, ok := b.latest[in.Entity]; !ok || !in.LastSeen.Before(was.LastSeen) {
		b.latest[in.Entity] = in
	}
}

func key(uid string) string { return "incident." + uid }

// Add puts a raised or amended alert into its incident, making one if needed,
// and returns the incident's uid ("" for an alert without an entity). Adding
// the same alert again changes nothing. Time is the alerts' own, so a replay
// gives the same incidents.
func (b *Book) Add(ctx context.Context, a finding.Alert) (string, error) {
	if a.Entity.Type == "" || a.Status == finding.Retracted {
		return "", nil
	}
	entity := a.Entity.Type + ":" + a.Entity.Value
	b.mu.Lock()
	defer b.mu.Unlock()
	in, ok := b.latest[entity]
	known := ok && slices.Contains(in.Alerts, a.UID)
	switch {
	case known && !a.LastSeen.After(in.LastSeen):
		// A repeat. Publish again: the last time may not have got that far.
		return in.UID, b.publish(ctx, in)
	case !known && a.Status == finding.Amended:
		// Its incident is not the latest any more; nothing to extend.
		return "", nil
	case !ok || !known && a.FirstSeen.Sub(in.LastSeen) > Gap:
		in = run.Incident{
			UID: finding.UID("incident", a.UID, entity), Entity: entity, Title: a.Title, Level: string(a.Level),
			Status: "open", FirstSeen: a.FirstSeen,
		}
	}
	in.Revision++
	if a.Level.SeverityID() > finding.Level(in.Level).SeverityID() {
		in.Level, in.Title = string(a.Level), a.Title
	}
	if a.LastSeen.After(in.LastSeen) {
		in.LastSeen = a.LastSeen
	}
	if a.FirstSeen.Before(in.FirstSeen) {
		in.FirstSeen = a.FirstSeen
	}
	if !known {
		in.Count++
		in.Alerts = add(in.Alerts, a.UID)
		in.Rules = add(in.Rules, a.Rule)
		in.Sources = add(in.Sources, a.Sources...)
		in.Tags = add(in.Tags, a.Tags...)
	}
	_, err := kv.Change(ctx, b.store, key(in.UID), func(was run.Incident, found bool) (run.Incident, error) {
		if found && was.Revision >= in.Revision {
			return was, kv.ErrKeep
		}
		return in, nil
	})
	if err != nil {
		return "", fmt.Errorf("store incident: %w", err)
	}
	b.latest[entity] = in
	return in.UID, b.publish(ctx, in)
}

func (b *Book) publish(ctx context.Context, in run.Incident) error {
	data, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("publish incident: %w", err)
	}
	_, err = b.pub.Publish(ctx, bus.Msg{Subject: Subject, ID: in.UID + ":" + strconv.Itoa(in.Revision), Data: data})
	if err != nil {
		return fmt.Errorf("publish incident: %w", err)
	}
	return nil
}

// add appends what is new, into a fresh list, up to maxList.
func add(list []string, more ...string) []string {
	list = slices.Clone(list)
	for _, s := range more {
		if len(list) < maxList && s != "" && !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

// List returns all incidents, the latest first.
func (b *Book) List(ctx context.Context) ([]run.Incident, error) {
	entries, err := b.store.List(ctx, "incident.*")
	if err != nil {
		return nil, fmt.Errorf("list incidents: %w", err)
	}
	out := make([]run.Incident, 0, len(entries))
	for _, e := range entries {
		out = append(out, e.Value)
	}
	slices.SortFunc(out, func(x, y run.Incident) int { return y.LastSeen.Compare(x.LastSeen) })
	return out, nil
}

// Prune deletes incidents whose last alert was before the time.
func (b *Book) Prune(ctx context.Context, before time.Time) error {
	list, err := b.List(ctx)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, in := range list {
		if in.LastSeen.Before(before) {
			if err := b.store.Delete(ctx, key(in.UID)); err != nil && !errors.Is(err, bus.ErrNotFound) {
				return fmt.Errorf("prune incidents: %w", err)
			}
			if b.latest[in.Entity].UID == in.UID {
				delete(b.latest, in.Entity)
			}
		}
	}
	return nil
}
