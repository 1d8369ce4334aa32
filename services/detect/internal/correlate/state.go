package correlate

import (
	"crypto/sha256"
	"encoding/hex"
	"sort"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// uid is an event uid in binary.
type uid [16]byte

func parseUID(s string) uid {
	var u uid
	if n, err := hex.Decode(u[:], []byte(strings.ReplaceAll(s, "-", ""))); n == 16 && err == nil {
		return u
	}
	sum := sha256.Sum256([]byte(s))
	return uid(sum[:16])
}

func (u uid) String() string {
	s := hex.EncodeToString(u[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// seen is an event in a window; for value_count the latest one with a value.
type seen struct {
	time  int64 // ms
	uid   uid
	value uint64 // hash of the value
}

// group is the state of one (rule, group key).
type group struct {
	key     string
	older   *group // neighbours in order of last arrival
	newer   *group
	last    int64  // newest event time
	window  []seen // in order of time
	episode *episode
}

// episode is the time after an alert in which matches amend it.
type episode struct {
	alert   finding.Alert // its last state, without EventUIDs
	until   int64         // ms, event time
	emitted int64         // count when it was last published
	uids    []uid         // newest last
	values  map[uint64]struct{}
}

// ruleState is the state of one rule.
type ruleState struct {
	rule   *rule.Rule
	key    string
	groups map[string]*group
	oldest *group
	newest *group
	clock  int64 // newest event time of the rule
}

func newRuleState(r *rule.Rule) *ruleState {
	return &ruleState{rule: r, key: r.StateKey(), groups: map[string]*group{}}
}

func (s *ruleState) timespan() int64 {
	if c := s.rule.Correlate; c != nil {
		return c.Timespan.Milliseconds()
	}
	return 0
}

func (s *ruleState) threshold() int {
	if c := s.rule.Correlate; c != nil {
		return c.Count()
	}
	return 1
}

// lateness is how much older than a group's newest event an event may be and
// still complete a window.
func (s *ruleState) lateness() int64 {
	return min(max(s.timespan(), time.Minute.Milliseconds()), 10*time.Minute.Milliseconds())
}

// horizon is the age at which a group cannot matter any more.
func (s *ruleState) horizon() int64 {
	return max(s.timespan()+s.lateness(), s.rule.Alert.Suppress.Milliseconds())
}

// touch returns the group of a key as the newest one.
func (s *ruleState) touch(key string) *group {
	g := s.groups[key]
	if g == nil {
		g = &group{key: strings.Clone(key)}
		s.groups[g.key] = g
	} else {
		s.unlink(g)
	}
	g.older = s.newest
	if s.newest != nil {
		s.newest.newer = g
	}
	s.newest = g
	if s.oldest == nil {
		s.oldest = g
	}
	return g
}

func (s *ruleState) unlink(g *group) {
	if g.older != nil {
		g.older.newer = g.newer
	} else {
		s.oldest = g.newer
	}
	if g.newer != nil {
		g.newer.older = g.older
	} else {
		s.newest = g.older
	}
	g.older, g.newer = nil, nil
}

func (s *ruleState) remove(g *group) {
	s.unlink(g)
	delete(s.groups, g.key)
}

// insert adds an event to the window in order of time and returns its place;
// false if the event (or, for value_count, a later one with its value) is there.
func (g *group) insert(e seen, byValue bool) (int, bool) {
	if byValue {
		for i := range g.window {
			if g.window[i].value != e.value {
				continue
			}
			if g.window[i].time >= e.time {
				return 0, false
			}
			g.window = append(g.window[:i], g.window[i+1:]...)
			break
		}
	}
	i := len(g.window)
	if i > 0 && g.window[i-1].time > e.time {
		i = sort.Search(i, func(i int) bool { return g.window[i].time > e.time })
	}
	for k := i - 1; k >= 0 && g.window[k].time == e.time; k-- {
		if g.window[k].uid == e.uid {
			return 0, false
		}
	}
	g.window = append(g.window, seen{})
	copy(g.window[i+1:], g.window[i:])
	g.window[i] = e
	return i, true
}

// full looks for n events around place i that lie within span.
func (g *group) full(i, n int, span int64) (first int, ok bool) {
	for first = max(0, i-n+1); first <= i && first+n <= len(g.window); first++ {
		if g.window[first+n-1].time-g.window[first].time <= span {
			return first, true
		}
	}
	return 0, false
}

// prune drops events that no window can hold any more.
func (g *group) prune(before int64) {
	n := 0
	for n < len(g.window) && g.window[n].time < before {
		n++
	}
	if n > 0 {
		g.window = append(g.window[:0], g.window[n:]...)
	}
}

func (e *episode) has(u uid) bool {
	for i := len(e.uids) - 1; i >= 0; i-- {
		if e.uids[i] == u {
			return true
		}
	}
	return false
}

// The bounds of an episode's memory.
const (
	maxUIDs   = 1024
	maxShown  = 100
	maxValues = 10_000
)

func (e *episode) note(u uid) {
	if len(e.uids) >= maxUIDs {
		e.uids = append(e.uids[:0], e.uids[len(e.uids)-maxShown:]...)
	}
	e.uids = append(e.uids, u)
}
