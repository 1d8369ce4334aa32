package silence

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/schemas/finding"
)

// Bounds of what is remembered.
const (
	maxSources = 4096
	maxFeeds   = 64               // kinds of event of a source
	forget     = 7 * 24 * hour    // after this long a silent source is gone for good
	pause      = 2 * minute       // without a tick for longer, nobody was watching
	window     = 10               // minutes that a collapse is measured over
	collapsed  = 0.1              // of the expected rate
	recovered  = 0.2              // of it: the collapse is over
	regularGap = 20 * minute      // longest gap of an hour that counts as regular
	weekHours  = 7 * 24           // slots of a source
	enough     = 2 * window       // records expected in a window, at least, to measure a collapse
	minute     = int64(60 * 1000) // in milliseconds, like all times here
	hour       = 60 * minute
)

// Feed is a kind of event that a source sends.
type Feed struct {
	Family uint8 // event.Family
	Class  uint32
}

// slot is what an hour of the week is like.
type slot struct {
	Hour int64   // hours since 1970 it was learned in last; 0: never
	Rate float32 // records a minute
	Low  float32 // records in the emptiest ten minutes
	Gap  int64   // longest time between arrivals
}

// source is the state of one source. Fields are exported for gob.
type source struct {
	Name        string
	First, Last int64 // of its arrivals
	Hour        int64 // the hour being counted, in hours since 1970
	Whole       bool  // the hour was watched from its beginning
	Tens        [6]uint32
	Gap         int64
	Minutes     [window + 2]uint32 // by minute modulo the length
	Minute      int64              // the newest of them, in minutes since 1970
	Week        [weekHours]slot
	Feeds       []Feed
	Back        int64 // when the last episode ended
	Episode     *Episode
}

// Episode is a silence that goes on.
type Episode struct {
	Collapse bool // sends, but next to nothing
	Since    int64
	Expected expectation
	Alert    finding.Alert
}

// Tracker holds the state of all sources. One goroutine at a time may use it.
type Tracker struct {
	cfg     Config
	sources map[string]*source
	asOf    int64 // what the last tick judged by
	tick    int64 // when it was
	resumed int64 // since when there were ticks without a pause
	newest  int64 // newest arrival
	refused uint64
}

// New makes a tracker that knows nothing yet; cfg has passed Check.
func New(cfg Config) *Tracker {
	return &Tracker{cfg: cfg.filled(), sources: map[string]*source{}}
}

// Refused counts arrivals of sources beyond the bound.
func (t *Tracker) Refused() uint64 { return t.refused }

// Newest is when the newest record arrived, in milliseconds since 1970.
func (t *Tracker) Newest() int64 { return t.newest }

// Add counts rows records of a source that arrived at at; now is the time of
// the clock, both in milliseconds since 1970.
func (t *Tracker) Add(name string, at, now int64, rows uint32) {
	if t.cfg.Off || rows == 0 || t.cfg.Sources[name].Off {
		return
	}
	at = min(at, now)
	t.newest = max(t.newest, at)
	s := t.sources[name]
	if s == nil {
		if len(t.sources) >= maxSources {
			t.refused++
			return
		}
		s = newSource(strings.Clone(name), at)
		t.sources[s.Name] = s
	}
	if s.First == 0 {
		s.First = at
	}
	if at >= s.Last {
		t.roll(s, at)
	}
	// What arrives late belongs to an hour that is over; only the present one
	// is counted, and the minutes of the window.
	if at/hour == s.Hour {
		s.Tens[at%hour/(10*minute)] += rows
		if at > s.Last && s.Last > 0 {
			s.Gap = max(s.Gap, at-max(s.Last, s.Hour*hour-regularGap))
		}
	}
	if m := at / minute; m > s.Minute {
		s.advance(m)
	}
	if m := at / minute; m > s.Minute-int64(len(s.Minutes)) {
		s.Minutes[m%int64(len(s.Minutes))] += rows
	}
	s.Last = max(s.Last, at)
}

// Feed notes that a source sends a kind of event.
func (t *Tracker) Feed(name string, f Feed) {
	s := t.sources[name]
	if s == nil || slices.Contains(s.Feeds, f) || len(s.Feeds) >= maxFeeds {
		return
	}
	s.Feeds = append(s.Feeds, f)
}

func newSource(name string, at int64) *source {
	return &source{Name: name, First: at, Last: at, Hour: at / hour, Minute: at / minute}
}

// advance makes m the newest minute.
func (s *source) advance(m int64) {
	n := int64(len(s.Minutes))
	for i := max(s.Minute+1, m-n+1); i <= m; i++ {
		s.Minutes[i%n] = 0
	}
	s.Minute = m
}

// recent is the number of records in the window of whole minutes before at.
func (s *source) recent(at int64) float64 {
	n, sum := int64(len(s.Minutes)), uint32(0)
	for m := at/minute - window; m < at/minute; m++ {
		if m <= s.Minute && m > s.Minute-n && m >= 0 {
			sum += s.Minutes[m%n]
		}
	}
	return float64(sum)
}

// roll ends the hours before at: what was seen in them is learned.
func (t *Tracker) roll(s *source, at int64) {
	for now := at / hour; s.Hour < now; {
		end := (s.Hour + 1) * hour
		// A hour in which nobody watched, or the source was known to be ill, says
		// nothing about what is usual.
		if s.Whole && s.Episode == nil {
			s.learn(max(s.Gap, end-max(s.Last, s.Hour*hour-regularGap)))
		}
		s.Hour++
		s.Tens, s.Gap, s.Whole = [6]uint32{}, 0, true
		if now-s.Hour > weekHours {
			s.Hour = now // nothing to be learned from more than a week of nothing
		}
		if t.resumed > s.Hour*hour || t.tick > 0 && at-t.tick > pause {
			s.Whole = false
		}
	}
}

func (s *source) learn(gap int64) {
	sum, low := uint32(0), s.Tens[0]
	for _, n := range s.Tens {
		sum += n
		low = min(low, n)
	}
	seen := slot{Hour: s.Hour, Rate: float32(sum) / 60, Low: float32(low), Gap: gap}
	at := &s.Week[s.Hour%weekHours]
	if at.Hour > 0 {
		// Half of what the weeks before were like; the careful end of both.
		seen.Rate = (at.Rate + seen.Rate) / 2
		seen.Low = min(seen.Low, (at.Low+seen.Low)/2)
		seen.Gap = max(seen.Gap, (at.Gap+seen.Gap)/2)
	}
	*at = seen
}

// Silent lists the sources with an episode, by name.
func (t *Tracker) Silent() []Silence {
	out := []Silence{}
	for _, s := range t.sources {
		if s.Episode != nil {
			out = append(out, Silence{
				Source: s.Name, Collapse: s.Episode.Collapse, Since: time.UnixMilli(s.Episode.Since).UTC(), Alert: s.Episode.Alert.UID,
				Reason: s.Episode.Alert.Reason,
			})
		}
	}
	slices.SortFunc(out, func(a, b Silence) int { return cmp.Compare(a.Source, b.Source) })
	return out
}

// Silence is a source that is silent or has collapsed.
type Silence struct {
	Source   string    `json:"source"`
	Collapse bool      `json:"collapse,omitempty"` // sends, but less than a tenth of what is usual
	Since    time.Time `json:"since"`
	Alert    string    `json:"alert"`
	Reason   string    `json:"reason"`
}

// Blind returns the silent sources if all that feed what accepts describes are
// silent; nil if one sends, or none is known. A collapsed source still sends.
func (t *Tracker) Blind(products []string, accepts func(Feed) bool) []string {
	var out []string
	for _, s := range t.sources {
		named := slices.Contains(products, s.Name)
		if len(products) > 0 && !named {
			continue
		}
		if !slices.ContainsFunc(s.Feeds, accepts) && !(named && s.First == 0) {
			continue
		}
		if s.Episode == nil || s.Episode.Collapse {
			return nil
		}
		out = append(out, s.Name)
	}
	slices.Sort(out)
	return out
}
