package detect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/services/detect/internal/history"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/clickhouse"
)

// span is the part of history that a command looks at.
type span struct {
	since, until string
	noPushdown   bool
}

func (s *span) flags(c *cobra.Command, since string) {
	c.Flags().StringVar(&s.since, "since", since, "from when: a duration before now (90m, 36h, 30d, 2w), a date or an RFC 3339 time")
	c.Flags().StringVar(&s.until, "until", "", "until when, likewise (default: now)")
	c.Flags().BoolVar(&s.noPushdown, "no-pushdown", false, "let ClickHouse send every event of the rules' sources: slow, and never another result")
}

// options reads the flags.
func (s *span) options(now time.Time) (history.Options, error) {
	o := history.Options{To: now, NoPushdown: s.noPushdown}
	var err error
	if o.From, err = moment(s.since, now); err != nil {
		return o, fmt.Errorf("--since: %w", err)
	}
	if s.until != "" {
		if o.To, err = moment(s.until, now); err != nil {
			return o, fmt.Errorf("--until: %w", err)
		}
	}
	if !o.From.Before(o.To) {
		return o, fmt.Errorf("--since %s is not before --until %s", o.From.Format(time.RFC3339), o.To.Format(time.RFC3339))
	}
	return o, nil
}

// moment reads a duration before now, a date or a time.
func moment(s string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil && len(s) > 1 {
		if n, bad := strconv.ParseFloat(s[:len(s)-1], 64); bad == nil && n > 0 && n < 1e6 {
			if unit, ok := map[byte]time.Duration{'d': 24 * time.Hour, 'w': 7 * 24 * time.Hour}[s[len(s)-1]]; ok {
				d, err = time.Duration(n*float64(unit)), nil
			}
		}
	}
	if err != nil || d <= 0 {
		return time.Time{}, fmt.Errorf("%q is neither a duration such as 36h or 30d nor a time such as 2026-03-01 or 2026-03-01T10:00:00Z", s)
	}
	return now.Add(-d), nil
}

// events opens the events stored so far.
func (o *CommandOptions) events(ctx context.Context) (*clickhouse.Client, error) {
	if o.ClickHouse == nil {
		return nil, errors.New("this program has no ClickHouse to read history from")
	}
	db, err := o.ClickHouse(ctx)
	if err != nil {
		return nil, fmt.Errorf("history is read from a running hub's ClickHouse: %w", err)
	}
	return db, nil
}

// withBases adds to rules those that their correlations name, from the same
// files or from the rules that are known, and so on.
func (a *author) withBases(rules []*rule.Rule, list func() ([]*rule.Rule, error)) ([]*rule.Rule, error) {
	named := func(r *rule.Rule) []string {
		var ids []string
		if r.Correlate != nil {
			for _, s := range r.Correlate.Steps {
				if s.ID != "" {
					ids = append(ids, s.ID)
				}
			}
		}
		return ids
	}
	out, have := slices.Clone(rules), map[string]bool{}
	for _, r := range rules {
		have[r.ID] = true
	}
	var known map[string]*rule.Rule
	for i := 0; i < len(out); i++ {
		for _, id := range named(out[i]) {
			if have[id] {
				continue
			}
			if known == nil {
				built, err := list()
				if err != nil {
					return nil, err
				}
				known = map[string]*rule.Rule{}
				for _, r := range built {
					known[r.ID] = r
				}
			}
			base := known[id]
			if base == nil {
				return nil, fmt.Errorf("%s correlates the rule %s, which is neither known nor in the files given: name its file too", out[i].ID, id)
			}
			have[id] = true
			out = append(out, base)
		}
	}
	return out, nil
}

// bar shows how far a scan is, on a terminal; elsewhere it is silent.
type bar struct {
	w     io.Writer
	what  string
	begin time.Time
	drawn time.Time
	off   bool
}

func newBar(w io.Writer, what string) *bar {
	b := &bar{w: w, what: what, begin: time.Now(), off: true}
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil {
			b.off = info.Mode()&os.ModeCharDevice == 0
		}
	}
	return b
}

func (b *bar) show(p history.Progress) {
	if b.off || p.Total == 0 || time.Since(b.drawn) < 100*time.Millisecond {
		return
	}
	b.drawn = time.Now()
	const width = 30
	full := int(p.Events * width / p.Total)
	seconds := max(time.Since(b.begin).Seconds(), 0.001)
	left := ""
	if p.Events > 0 && p.Events < p.Total {
		left = ", " + (time.Duration(float64(p.Total-p.Events)/float64(p.Events)*seconds) * time.Second).String() + " left"
	}
	fmt.Fprintf(b.w, "\r\x1b[K%s [%s%s] %3d %%, %s of %s events, %s/s, %s matches%s", b.what, strings.Repeat("=", full), strings.Repeat(" ", width-full),
		p.Events*100/p.Total, thousands(p.Events), thousands(p.Total), thousands(uint64(float64(p.Events)/seconds)), thousands(p.Matches), left)
}

// clear takes the bar away.
func (b *bar) clear() {
	if !b.off {
		fmt.Fprint(b.w, "\r\x1b[K")
	}
}

// thousands writes a number with commas.
func thousands(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// plain makes a value of an event, which an attacker may have written, fit for
// a terminal, and cuts it at n characters.
func plain(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u202e' || r >= '\u2066' && r <= '\u2069' {
			return '·'
		}
		return r
	}, s)
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
