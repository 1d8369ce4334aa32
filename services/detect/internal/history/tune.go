package history

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/match"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// Tuning is what exceptions would do to a rule, proved on history.
type Tuning struct {
	Rule    string    `json:"rule"`
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	Events  uint64    `json:"events"` // judged in the proof
	Verdict Precision `json:"verdicts"`
	// Proposals are the exceptions, the one that quiets most first. All of
	// them together were proved.
	Proposals []Proposal `json:"proposals"`
	// Quieted of the alerts found benign or false would not be raised with all
	// proposals; Kept of the true positives still would. Not one is lost: a
	// proposal that loses one is not made.
	Quieted int `json:"quieted"`
	Kept    int `json:"kept"`
	// Silent are true positives that the rule as it is does not raise again
	// (its text or the retention has changed since), so nothing is proved of
	// them.
	Silent int `json:"not_raised_again,omitempty"`
	// Unjudged is how many alerts without a verdict would go too.
	Unjudged int `json:"unjudged_quieted"`
}

// Proposal is one exception.
type Proposal struct {
	When    string `json:"when"`
	Quieted int    `json:"quieted"` // benign alerts all of whose events it takes out
}

// The bounds of tuning.
const (
	maxProposals = 5
	maxTerms     = 3
	maxTunedRows = 200_000 // matching events that are remembered
)

// ErrNothingToTune says that there is nothing to learn from.
var ErrNothingToTune = errors.New("no alert of the rule was found benign or false in that time (vagus alerts disposition says so)")

// term is a field with a value that an event has.
type term struct {
	col   event.ColumnID
	value string
}

func (t term) expr() string {
	path := event.Columns[t.col].Path
	if event.Columns[t.col].Kind == event.KindKeywords {
		return strconv.Quote(t.value) + " in " + path
	}
	return path + " == " + strconv.Quote(t.value)
}

// sample is a matching event.
type sample struct {
	terms map[term]bool
	uid   string
}

// Tune proposes exceptions for a rule from what analysts said of its alerts:
// the values that all events of alerts found benign have and no event of a true
// positive has, as few as cover most, narrowed by what else these events share.
func Tune(ctx context.Context, db Database, s *Set, r *rule.Rule, o Options) (*Tuning, error) {
	if r.When == nil {
		return nil, fmt.Errorf("rule %s only correlates others: tune the rules that it names", r.ID)
	}
	live, err := Alerts(ctx, db, []string{r.ID}, o.From, o.To, o.Verdicts)
	if err != nil {
		return nil, err
	}
	out := &Tuning{Rule: r.ID, From: o.From, To: o.To, Proposals: []Proposal{}}
	for i := range live {
		out.Verdict.count(live[i].Verdict)
	}
	if out.Verdict.Benign+out.Verdict.FalsePositive == 0 {
		return out, ErrNothingToTune
	}
	samples, err := samplesOf(ctx, db, s, r, o)
	if err != nil {
		return nil, err
	}
	l := newLearner(live, samples)
	var proposals []Proposal
	for len(proposals) < maxProposals {
		p, ok := l.next()
		if !ok {
			break
		}
		proposals = append(proposals, p)
	}
	for len(proposals) > 0 {
		proved, err := out.prove(ctx, db, s, r, proposals, live, o)
		if err != nil {
			return nil, err
		}
		if proved {
			out.Proposals = proposals
			return out, nil
		}
		proposals = proposals[:len(proposals)-1] // the one that quiets least
	}
	return out, nil
}

// samplesOf reads the events that match the rule, with the fields that can be
// told in an exception.
func samplesOf(ctx context.Context, db Database, s *Set, r *rule.Rule, o Options) ([]sample, error) {
	var columns []event.ColumnID
	for i := range event.Columns {
		c := &event.Columns[i]
		usable := c.Kind == event.KindKeyword || c.Kind == event.KindIP || c.Kind == event.KindKeywords
		if usable && c.Families&r.Source.Families != 0 && !volatile[c.ID] {
			columns = append(columns, c.ID)
		}
	}
	var out []sample
	q := Query{From: o.From.Add(-s.warmUp()), To: o.To, Sets: []*Set{NewSet([]*rule.Rule{r})}, Columns: columns, NoPushdown: o.NoPushdown}
	_, err := Scan(ctx, db, q, func(m Match) error {
		if len(out) == maxTunedRows {
			return fmt.Errorf("more than %d events match the rule: choose a shorter time", maxTunedRows)
		}
		x := sample{uid: match.Value(m.Block, event.EventUID, m.Row), terms: map[term]bool{}}
		for _, id := range columns {
			c := m.Block.Column(id)
			if c == nil || c.Absent(m.Row) {
				continue
			}
			values := []string{}
			if event.Columns[id].Kind == event.KindKeywords {
				values = match.Texts(c, m.Row)
			} else {
				values = append(values, match.Value(m.Block, id, m.Row))
			}
			for _, v := range values {
				if v != "" && len(v) <= 256 && utf8.ValidString(v) {
					x.terms[term{id, v}] = true
				}
			}
		}
		out = append(out, x)
		return nil
	}, o.Progress)
	return out, err
}

// volatile lists what says where an event came from rather than what it was.
var volatile = map[event.ColumnID]bool{
	event.Source: true, event.TimeQuality: true, event.MetadataLogName: true, event.ActivityName: true, event.Enrichments: true,
}

// identity ranks fields that tell who or what: among equals they come first.
var identity = []event.ColumnID{
	event.ActorUserCredentialUID, event.ActorUserName, event.ActorUserUID, event.SrcEndpointIP, event.K8sNamespace, event.ServiceName,
	event.AIAgentUID, event.ProcessPath, event.DeviceHostname, event.ActorAppName,
}

// claimed lists what a client may say of itself: an exception that asks for
// nothing else would be a way past the rule.
var claimed = map[event.ColumnID]bool{
	event.HTTPRequestUserAgent: true, event.ActorUserEndUser: true, event.ActorAppName: true, event.HTTPRequestHostname: true, event.HTTPRequestPath: true,
	event.HTTPRequestMethod: true, event.AIModelName: true, event.AISystemText: true,
}

// learner finds what unwanted alerts have in common.
type learner struct {
	samples  []sample
	unwanted []alertSamples // of alerts that are not covered yet
	wanted   []alertSamples
	all      []alertSamples // every alert, for what would go besides
}

// alertSamples are the events of an alert, as places in the samples.
type alertSamples struct {
	alert  *Judged
	events []int
}

func newLearner(live []Judged, samples []sample) *learner {
	l := &learner{samples: samples}
	byUID := map[string]int{}
	for i, x := range samples {
		byUID[x.uid] = i
	}
	for i := range live {
		a := alertSamples{alert: &live[i]}
		for _, uid := range live[i].Events {
			if n, ok := byUID[uid]; ok {
				a.events = append(a.events, n)
			}
		}
		if len(a.events) == 0 {
			continue
		}
		l.all = append(l.all, a)
		switch live[i].Verdict {
		case finding.TruePositive:
			l.wanted = append(l.wanted, a)
		case finding.Benign, finding.FalsePositive:
			l.unwanted = append(l.unwanted, a)
		}
	}
	return l
}

// has says that every event of an alert has all of the terms.
func (l *learner) has(a alertSamples, terms ...term) bool {
	for _, n := range a.events {
		for _, t := range terms {
			if !l.samples[n].terms[t] {
				return false
			}
		}
	}
	return true
}

// touches says that some event of an alert has all of the terms.
func (l *learner) touches(a alertSamples, terms ...term) bool {
	return slices.ContainsFunc(a.events, func(n int) bool {
		return !slices.ContainsFunc(terms, func(t term) bool { return !l.samples[n].terms[t] })
	})
}

func (l *learner) covers(list []alertSamples, terms ...term) int {
	n := 0
	for _, a := range list {
		if l.has(a, terms...) {
			n++
		}
	}
	return n
}

// safe says that no event of a true positive has all of the terms.
func (l *learner) safe(terms ...term) bool {
	return !slices.ContainsFunc(l.wanted, func(a alertSamples) bool { return l.touches(a, terms...) })
}

// common lists the terms that all events of some unwanted alert have, those of
// most alerts first.
func (l *learner) common() []term {
	counts := map[term]int{}
	for _, a := range l.unwanted {
		for t := range l.samples[a.events[0]].terms {
			if l.has(a, t) {
				counts[t]++
			}
		}
	}
	out := make([]term, 0, len(counts))
	for t := range counts {
		out = append(out, t)
	}
	rank := func(t term) int {
		if i := slices.Index(identity, t.col); i >= 0 {
			return i
		}
		return len(identity) + int(t.col)
	}
	slices.SortFunc(out, func(a, b term) int {
		return cmp.Or(counts[b]-counts[a], rank(a)-rank(b), strings.Compare(a.value, b.value))
	})
	return out[:min(len(out), 200)]
}

// next proposes an exception for what is not covered yet.
func (l *learner) next() (Proposal, bool) {
	terms := l.common()
	best, cover := []term(nil), 0
	consider := func(candidate ...term) {
		if !slices.ContainsFunc(candidate, func(t term) bool { return !claimed[t.col] }) {
			return
		}
		if n := l.covers(l.unwanted, candidate...); n > cover && l.safe(candidate...) {
			best, cover = slices.Clone(candidate), n
		}
	}
	for _, t := range terms {
		consider(t)
	}
	if best == nil {
		// One value alone would take true positives too: two together.
		for i := range terms {
			for j := range i {
				consider(terms[j], terms[i])
			}
		}
	}
	if best == nil {
		return Proposal{}, false
	}
	// What else they share makes the exception narrower: it takes fewer of the
	// alerts that nobody has judged.
	for len(best) < maxTerms {
		others := l.covers(l.all, best...)
		add, fewest := term{}, others
		for _, t := range terms {
			if slices.Contains(best, t) {
				continue
			}
			with := append(slices.Clone(best), t)
			if n := l.covers(l.all, with...); n < fewest && l.covers(l.unwanted, with...) == cover {
				add, fewest = t, n
			}
		}
		if fewest == others {
			break
		}
		best = append(best, add)
	}
	l.unwanted = slices.DeleteFunc(l.unwanted, func(a alertSamples) bool { return l.has(a, best...) })
	parts := make([]string, len(best))
	for i, t := range best {
		parts[i] = t.expr()
	}
	return Proposal{strings.Join(parts, " and "), cover}, true
}

// prove runs the rule with and without the proposals; false if a true positive
// is lost.
func (out *Tuning) prove(ctx context.Context, db Database, s *Set, r *rule.Rule, proposals []Proposal, live []Judged, o Options) (bool, error) {
	tuned := *r
	tuned.Exceptions = slices.Clone(r.Exceptions)
	for _, p := range proposals {
		e, err := lang.Compile(p.When, r.Source.Families)
		if err != nil {
			return false, fmt.Errorf("exception %s: %w", p.When, err)
		}
		tuned.Exceptions = append(tuned.Exceptions, rule.Exception{When: e})
	}
	others := slices.DeleteFunc(slices.Clone(s.Rules), func(x *rule.Rule) bool { return x.ID == r.ID })
	before := Side{s, []*rule.Rule{r}}
	after := Side{NewSet(append(others, &tuned)), []*rule.Rule{&tuned}}
	c, old, now, err := compared(ctx, db, before, after, o)
	if err != nil {
		return false, err
	}
	out.Events, out.Quieted, out.Kept, out.Silent, out.Unjudged = c.Events, 0, 0, 0, 0
	raised, still := raisedLive(old, live), raisedLive(now, live)
	for i := range live {
		uid := live[i].UID
		switch {
		case live[i].Verdict == finding.TruePositive && !raised[uid]:
			out.Silent++
		case live[i].Verdict == finding.TruePositive && !still[uid]:
			return false, nil
		case live[i].Verdict == finding.TruePositive:
			out.Kept++
		case !raised[uid] || still[uid]:
		case live[i].Verdict == "":
			out.Unjudged++
		default:
			out.Quieted++
		}
	}
	return true, nil
}

// raisedLive tells which live alerts have a counterpart among those of a run.
func raisedLive(alerts []finding.Alert, live []Judged) map[string]bool {
	c := newCounterparts(live)
	out := map[string]bool{}
	for i := range alerts {
		if j := c.of(&alerts[i]); j != nil {
			out[j.UID] = true
		}
	}
	return out
}
