package history

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/match"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// Hunt is a question about history without a rule.
type Hunt struct {
	When   *lang.Expr
	Source rule.Source
	// Columns are what is told of a matching event.
	Columns []lang.Field
	// Limit ends the hunt after that many events, the newest; 0 counts all and
	// tells none.
	Limit int
	// By counts matching events by the values of fields, rather than telling
	// them.
	By []lang.Field
}

// Found is the answer to a hunt.
type Found struct {
	From       time.Time `json:"from"`
	To         time.Time `json:"to"`
	Events     uint64    `json:"events"` // judged
	Candidates uint64    `json:"candidates"`
	Matches    uint64    `json:"matches"`
	Failures   uint64    `json:"failures,omitempty"`
	// Complete is false if the hunt ended at its limit.
	Complete bool `json:"complete"`
	// By has the counts, the greatest first; the values of several columns are
	// separated by blanks.
	By        []Count       `json:"by,omitempty"`
	Truncated bool          `json:"truncated,omitempty"` // there were more different values than are kept
	Elapsed   time.Duration `json:"elapsed_ns"`
}

// Event is a matching event.
type Event struct {
	Time   time.Time
	Values []string        // of the hunt's columns; "" is absent
	JSON   json.RawMessage // of all columns that were read
}

// maxValues bounds the different values that By counts.
const maxValues = 100_000

// Run calls found for the matching events, the newest first.
func (h Hunt) Run(ctx context.Context, db Database, o Options, found func(Event) error) (*Found, error) {
	begin := time.Now()
	r := &rule.Rule{ID: "hunt", When: h.When, Source: h.Source}
	q := Query{From: o.From, To: o.To, Sets: []*Set{NewSet([]*rule.Rule{r})}, NoPushdown: o.NoPushdown, Newest: true}
	for _, f := range slices.Concat(h.Columns, h.By) {
		q.Columns = append(q.Columns, f.Col)
	}
	out := &Found{From: o.From, To: o.To, Complete: true}
	counts := map[string]int{}
	told := 0
	p, err := Scan(ctx, db, q, func(m Match) error {
		out.Matches++
		if len(h.By) > 0 {
			values := make([]string, len(h.By))
			for i, f := range h.By {
				if values[i] = match.FieldValue(m.Block, f, m.Row); values[i] == "" {
					values[i] = "-"
				}
			}
			key := strings.Join(values, "  ")
			if _, ok := counts[key]; !ok && len(counts) == maxValues {
				out.Truncated = true
				return nil
			}
			counts[key]++
			return nil
		}
		if h.Limit <= 0 {
			return nil
		}
		e := Event{Time: time.UnixMilli(m.Time).UTC(), Values: make([]string, len(h.Columns)), JSON: m.Block.AppendJSON(nil, m.Row)}
		for i, f := range h.Columns {
			e.Values[i] = match.FieldValue(m.Block, f, m.Row)
		}
		if err := found(e); err != nil {
			return err
		}
		if told++; told == h.Limit {
			out.Complete = false
			return ErrStop
		}
		return nil
	}, o.Progress)
	if err != nil {
		return nil, fmt.Errorf("hunt: %w", err)
	}
	out.Events, out.Candidates, out.Failures, out.By, out.Elapsed = p.Events, p.Candidates, p.Failures, ranked(counts), time.Since(begin)
	return out, nil
}
