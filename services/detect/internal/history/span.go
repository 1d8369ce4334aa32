package history

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/vagus-hub/vagus/schemas/event"
)

// Span is a stretch of event time, To excluded, with the events in it.
type Span struct {
	From, To time.Time
	Events   uint64
}

func (s Span) sql() string {
	t := name(event.Time)
	return "(" + t + " >= " + millis(s.From.UnixMilli()) + ") AND (" + t + " < " + millis(s.To.UnixMilli()) + ")"
}

// Events wanted in a span: what the server sorts at once. Without a condition
// all of them come back.
const (
	narrowSpan = 4_000_000
	wideSpan   = 400_000
)

// spans divides the query's time so that each part has about as many events as
// may be sorted at once. It counts by day, which ClickHouse knows without
// reading (tables are partitioned by day).
func (q *Query) spans(ctx context.Context, db Database, tables []table) ([]Span, error) {
	want := uint64(narrowSpan)
	days := map[time.Time]uint64{}
	whole := Span{From: q.From, To: q.To}
	for _, t := range tables {
		if !t.narrow {
			want = wideSpan
		}
		rows, err := db.Query(ctx, "SELECT toDate("+name(event.Time)+") AS day, count() FROM "+t.name()+" WHERE "+whole.sql()+" GROUP BY day")
		if err != nil {
			return nil, err
		}
		if err := addDays(rows, days); err != nil {
			return nil, fmt.Errorf("count events of %s: %w", t.family, err)
		}
	}
	var out []Span
	for day := q.From.UTC().Truncate(24 * time.Hour); day.Before(q.To); day = day.AddDate(0, 0, 1) {
		n := days[day]
		if n == 0 {
			continue
		}
		from, to := later(day, q.From), earlier(day.AddDate(0, 0, 1), q.To)
		if k := len(out) - 1; k >= 0 && out[k].Events+n <= want {
			out[k].To, out[k].Events = to, out[k].Events+n
			continue
		}
		out = append(out, divide(Span{from, to, n}, int((n+want-1)/want))...)
	}
	if q.Newest {
		slices.Reverse(out)
	}
	return out, nil
}

func addDays(rows driver.Rows, days map[time.Time]uint64) error {
	defer func() { _ = rows.Close() }() // read whole, or failed
	for rows.Next() {
		var day time.Time
		var n uint64
		if err := rows.Scan(&day, &n); err != nil {
			return err
		}
		days[day.UTC().Truncate(24*time.Hour)] += n
	}
	return rows.Err()
}

// divide cuts a span into n parts, at full minutes.
func divide(s Span, n int) []Span {
	step := (s.To.Sub(s.From)/time.Duration(n) + time.Minute).Truncate(time.Minute)
	out := []Span{}
	for from := s.From; from.Before(s.To); from = from.Add(step) {
		out = append(out, Span{From: from, To: earlier(from.Add(step), s.To)})
	}
	for i := range out { // about
		out[i].Events = s.Events / uint64(len(out))
	}
	out[len(out)-1].Events += s.Events % uint64(len(out))
	return out
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// Sources lists the sources of the events that are stored.
func Sources(ctx context.Context, db Database) ([]string, error) {
	rows, err := db.Query(ctx, "SELECT DISTINCT "+name(event.Source)+" FROM events ORDER BY 1")
	if err != nil {
		return nil, fmt.Errorf("list the sources of stored events: %w", err)
	}
	defer func() { _ = rows.Close() }() // read whole, or failed
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, fmt.Errorf("list the sources of stored events: %w", err)
		}
		out = append(out, s)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list the sources of stored events: %w", err)
	}
	return out, nil
}
