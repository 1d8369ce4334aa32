package mute

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

// maxComment bounds comments, in bytes.
const maxComment = 4096

// Keep is how long an ended silence is kept for people to look up.
const Keep = 5 * 24 * time.Hour

// Silence mutes the alerts that all its matchers match, from StartsAt until
// EndsAt.
type Silence struct {
	ID        string    `json:"id"`
	Matchers  []Matcher `json:"matchers"`
	StartsAt  time.Time `json:"starts_at"`
	EndsAt    time.Time `json:"ends_at"`
	CreatedBy string    `json:"created_by"`
	Comment   string    `json:"comment"`
	CreatedAt time.Time `json:"created_at"`
	// ExpiredBy is who ended it before its time.
	ExpiredBy string `json:"expired_by,omitempty"`
}

// NewID makes the id of a silence.
func NewID() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// State is what a silence does at a time.
func (s *Silence) State(now time.Time) string {
	switch {
	case !now.Before(s.EndsAt):
		return "expired"
	case now.Before(s.StartsAt):
		return "pending"
	}
	return "active"
}

// Matches says whether it mutes the alert, at whatever time.
func (s *Silence) Matches(a *finding.Alert) bool { return len(s.Matchers) > 0 && all(s.Matchers, a) }

// Check says what is wrong with a silence that somebody wants to add.
func (s *Silence) Check(now time.Time) error {
	switch {
	case len(s.Matchers) == 0:
		return errors.New("silence has no matchers")
	case len(s.Matchers) > maxMatchers:
		return fmt.Errorf("silence has %d matchers, at most %d are allowed", len(s.Matchers), maxMatchers)
	case !slices.ContainsFunc(s.Matchers, func(m Matcher) bool { return !m.empty() }):
		return errors.New("silence would mute every alert: at least one matcher must not match the empty text")
	case strings.TrimSpace(s.CreatedBy) == "":
		return errors.New("silence has no creator: say who you are")
	case strings.TrimSpace(s.Comment) == "":
		return errors.New("silence has no comment: say why, for those who wonder later")
	case len(s.Comment) > maxComment || len(s.CreatedBy) > maxText:
		return fmt.Errorf("comment or creator is too long (at most %d bytes)", maxComment)
	case !s.EndsAt.After(s.StartsAt):
		return errors.New("silence ends before it starts")
	case !s.EndsAt.After(now):
		return errors.New("silence would be over already")
	}
	return nil
}

// Reason is what a muted alert says of it.
func (s *Silence) Reason() string {
	return fmt.Sprintf("%s (%s, until %s)", s.Comment, s.CreatedBy, s.EndsAt.UTC().Format(time.RFC3339))
}

// Inhibition mutes the alerts that match all of Target while one fires that
// matches all of Source and has the same values for the labels in Equal. An
// alert that matches both sides is not inhibited by another one that does.
type Inhibition struct {
	Name   string    `yaml:"name" json:"name"`
	Source []Matcher `yaml:"source" json:"source"`
	Target []Matcher `yaml:"target" json:"target"`
	Equal  []string  `yaml:"equal" json:"equal,omitempty"`
}

// Check says what is wrong with it, beginning with the key that it is about.
func (i *Inhibition) Check() error {
	switch {
	case i.Name == "":
		return errors.New("name is missing")
	case len(i.Source) == 0:
		return errors.New("source is missing: the alerts that mute others, such as ['rule=\"host.ransomware\"']")
	case len(i.Target) == 0:
		return errors.New("target is missing: the alerts that are muted, such as ['level=~\"low|medium\"']")
	}
	for key, n := range map[string]int{"source": len(i.Source), "target": len(i.Target), "equal": len(i.Equal)} {
		if n > maxMatchers {
			return fmt.Errorf("%s has %d items, at most %d are allowed", key, n, maxMatchers)
		}
	}
	for j, name := range i.Equal {
		if !known(name) {
			return fmt.Errorf("equal[%d]: unknown label %s%s", j, name, lang.DidYouMean(name, allNames()))
		}
	}
	return nil
}

// inhibits says whether the source keeps the target quiet. Labels in Equal that
// both lack are equal, as with Alertmanager.
func (i *Inhibition) inhibits(source, target *finding.Alert) bool {
	if source.UID == target.UID || !together(source, target) {
		return false
	}
	if all(i.Source, target) && all(i.Target, source) {
		return false
	}
	for _, name := range i.Equal {
		if !slices.Equal(labels(source, name), labels(target, name)) {
			return false
		}
	}
	return true
}

// together says whether the source fires at the time of the target's newest
// event, or begins before the target is over.
func together(source, target *finding.Alert) bool {
	return !source.FirstSeen.After(until(target)) && !target.LastSeen.After(until(source))
}

// until is when an alert ceases to fire.
func until(a *finding.Alert) time.Time {
	if a.Until.After(a.LastSeen) {
		return a.Until
	}
	return a.LastSeen
}
