package history

import (
	"context"
	"errors"
	"io"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/match"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// Database is what reading history needs of ClickHouse
// (services/internal/clickhouse).
type Database interface {
	SelectNative(ctx context.Context, sql string, params map[string]string) (io.ReadCloser, error)
	Query(ctx context.Context, sql string, args ...any) (driver.Rows, error)
}

// Match is the match of a rule on an event. It is valid during the call that
// gets it.
type Match struct {
	Set   *Set
	Rule  *rule.Rule
	Block *block.Block
	Row   int
	Time  int64 // ms since 1970
}

// Progress is how far a scan is.
type Progress struct {
	Events     uint64 // of the families and time that were asked for, judged so far
	Total      uint64 // … in all
	Candidates uint64 // sent by ClickHouse
	Matches    uint64
	Failures   uint64 // evaluations that ended in an error, which is no match
}

// ErrStop ends a scan early without an error, when a caller of Scan has enough.
var ErrStop = errors.New("stop")

// Scan calls match for every match of the query's rules in order of event time,
// and progress, which may be nil, now and then. An error of match ends it.
// Ending ctx cancels the statements that run.
func Scan(ctx context.Context, db Database, q Query, matched func(Match) error, progress func(Progress)) (Progress, error) {
	ctx, cancel := context.WithCancel(ctx)
	s := &scan{q: q, db: db, tables: q.tables(), matched: matched, sets: map[*rule.Rule]*Set{}}
	var rules []*rule.Rule
	for _, set := range q.Sets {
		for _, r := range set.matched {
			rules = append(rules, r)
			s.sets[r] = set
		}
	}
	s.matcher = match.New(rules)
	if progress == nil {
		progress = func(Progress) {}
	}
	spans, err := q.spans(ctx, db, s.tables)
	for _, sp := range spans {
		s.p.Total += sp.Events
	}
	progress(s.p)
	var next []*stream
	for i := range spans {
		now := next
		if i == 0 {
			now = s.open(ctx, spans[0])
		}
		if next = nil; i+1 < len(spans) {
			next = s.open(ctx, spans[i+1]) // the server need not wait for us
		}
		if err = s.merge(now); err != nil {
			cancel()
		}
		if err = errors.Join(err, closeAll(now)); err != nil {
			break
		}
		s.p.Events += spans[i].Events
		progress(s.p)
	}
	cancel()
	if closed := closeAll(next); err == nil {
		err = closed
	}
	s.p.Failures = s.matcher.Failures()
	if errors.Is(err, ErrStop) {
		err = nil
	}
	return s.p, err
}

type scan struct {
	q       Query
	db      Database
	tables  []table
	matcher *match.Matcher
	sets    map[*rule.Rule]*Set
	matched func(Match) error
	p       Progress
}

// stream is the result of one statement: the candidates of one family.
type stream struct {
	family event.Family
	opened chan struct{}
	body   io.ReadCloser
	err    error
	blocks *block.NativeReader
	block  block.Block
	hits   []hit // of the block at hand
	next   int   // the first of hits that was not given yet
}

type hit struct {
	rule *rule.Rule
	row  int
	time int64
}

func (st *stream) head() hit { return st.hits[st.next] }

// open starts the statements of a span.
func (s *scan) open(ctx context.Context, sp Span) []*stream {
	out := make([]*stream, len(s.tables))
	for i := range s.tables {
		t := &s.tables[i]
		st := &stream{family: t.family, opened: make(chan struct{})}
		out[i] = st
		go func() {
			defer close(st.opened)
			if st.body, st.err = s.db.SelectNative(ctx, t.sql(sp, s.q.Newest), nil); st.err == nil {
				st.blocks = block.NewNativeReader(st.body, block.Header{Family: uint8(t.family)})
			}
		}()
	}
	return out
}

func closeAll(streams []*stream) error {
	var errs []error
	for _, st := range streams {
		<-st.opened
		if st.body != nil {
			errs = append(errs, st.body.Close())
		}
	}
	return errors.Join(errs...)
}

// merge gives the matches of all families in order of time.
func (s *scan) merge(streams []*stream) error {
	live := make([]*stream, 0, len(streams))
	for _, st := range streams {
		more, err := s.advance(st)
		if err != nil {
			return err
		}
		if more {
			live = append(live, st)
		}
	}
	for len(live) > 0 {
		first := 0
		for i, st := range live {
			if d := st.head().time - live[first].head().time; d != 0 && d < 0 != s.q.Newest {
				first = i
			}
		}
		st := live[first]
		h := st.head()
		st.next++
		s.p.Matches++
		if err := s.matched(Match{s.sets[h.rule], h.rule, &st.block, h.row, h.time}); err != nil {
			return err
		}
		if st.next < len(st.hits) {
			continue
		}
		more, err := s.advance(st)
		if err != nil {
			return err
		}
		if !more {
			live = append(live[:first], live[first+1:]...)
		}
	}
	return nil
}

// advance reads on to the next block with a match; false at the end.
func (s *scan) advance(st *stream) (bool, error) {
	if <-st.opened; st.err != nil {
		return false, st.err
	}
	st.hits, st.next = st.hits[:0], 0
	for len(st.hits) == 0 {
		err := st.blocks.Next(&st.block)
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		s.p.Candidates += uint64(st.block.Rows())
		s.matcher.Match(&st.block, func(r *rule.Rule, row int) {
			st.hits = append(st.hits, hit{r, row, match.Time(&st.block, row)})
		})
	}
	return true, nil
}
