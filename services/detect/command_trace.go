package detect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/author/sample"
	"github.com/vagus-hub/vagus/services/detect/internal/author/trace"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/ruletest"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/internal/clickhouse"
)

// fromEvent is how explain and new find an event.
type fromEvent struct {
	event  string // file, - or uid
	source string // of the records in the file
}

var uidForm = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// blocks reads the events and calls use with them.
func (a *author) blocks(c *cobra.Command, from fromEvent, use func(*block.Block) error) error {
	if _, err := os.Stat(from.event); err != nil && uidForm.MatchString(from.event) {
		return a.stored(c.Context(), from.event, use)
	}
	data, err := readSample(c.InOrStdin(), from.event)
	if err != nil {
		return err
	}
	if from.source == "" {
		err := eventBlocks(data, use)
		if err == nil || a.Normalize == nil {
			return err
		}
		if recorded := a.normalized("auto", data, use); recorded != nil {
			return fmt.Errorf("%s holds neither events (%w) nor records of a known source (%w)", from.event, err, recorded)
		}
		return nil
	}
	if a.Normalize == nil {
		return errors.New("records cannot be mapped by this program: use vagus")
	}
	return a.normalized(from.source, data, use)
}

func (a *author) normalized(source string, data []byte, use func(*block.Block) error) error {
	return a.Normalize(source, data, time.Now().UnixMilli(), func(payload []byte) error {
		var b block.Block
		if err := block.Decode(bytes.Clone(payload), &b); err != nil {
			return err
		}
		return use(&b)
	})
}

// eventBlocks brings events in JSON into blocks.
func eventBlocks(data []byte, use func(*block.Block) error) error {
	events, err := sample.FromJSON(data)
	if err != nil {
		return err
	}
	var failed error
	if err := ruletest.Blocks(events, func(b *block.Block) {
		if failed == nil {
			failed = use(b)
		}
	}); err != nil {
		return err
	}
	return failed
}

func readSample(stdin io.Reader, name string) ([]byte, error) {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("read events: %w", err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, sample.MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read events %s: %w", name, err)
	}
	if len(data) > sample.MaxBytes {
		return nil, fmt.Errorf("read events: %s is longer than %d MiB; give a part of it", name, sample.MaxBytes>>20)
	}
	return data, nil
}

// stored reads an event from the running hub.
func (a *author) stored(ctx context.Context, uid string, use func(*block.Block) error) error {
	if a.ClickHouse == nil {
		return errors.New("stored events cannot be read by this program: use vagus")
	}
	db, err := a.ClickHouse(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	for f, name := range event.FamilyNames {
		found, err := storedIn(ctx, db, event.Family(f), name, uid, use)
		if found || err != nil {
			return err
		}
	}
	return fmt.Errorf("no stored event has the id %s", uid)
}

func storedIn(ctx context.Context, db *clickhouse.Client, f event.Family, name, uid string, use func(*block.Block) error) (bool, error) {
	rows, err := db.SelectNative(ctx, "SELECT * FROM events_"+name+" WHERE event_uid = {uid:UUID} LIMIT 1", map[string]string{"uid": uid})
	if err != nil {
		return false, err
	}
	defer rows.Close()
	var b block.Block
	err = block.NewNativeReader(rows, block.Header{Kind: block.KindEvents, Family: uint8(f)}).Next(&b)
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, use(&b)
}

// tracedEvent is an event with what became of rules.
type tracedEvent struct {
	Event string         `json:"event"`
	Rules []*trace.Trace `json:"rules"`
}

// traceOptions are the flags of explain that are about events.
type traceOptions struct {
	fromEvent
	all   bool
	limit int
}

func (a *author) trace(c *cobra.Command, o traceOptions, args []string) error {
	var rules []*rule.Rule
	var err error
	if o.all || len(args) == 0 {
		if rules, _, err = a.load(args); err == nil {
			o.all = true
		}
	} else {
		rules, err = a.named(args, a.builtIn)
	}
	if err != nil {
		return fmt.Errorf("explain: %w", err)
	}
	matched := rule.Matched(rules)
	if len(matched) == 0 {
		return errors.New("explain: the rules have no condition on events; name the rules that they correlate")
	}
	out := []tracedEvent{}
	events := 0
	err = a.blocks(c, o.fromEvent, func(b *block.Block) error {
		for row := range b.Rows() {
			if events++; events > o.limit && o.limit > 0 {
				continue
			}
			e := tracedEvent{Event: describe(b, row)}
			for _, r := range matched {
				t, err := trace.Rule(r, b, row)
				if err != nil {
					return err
				}
				e.Rules = append(e.Rules, t)
			}
			trace.Sort(e.Rules)
			if o.all {
				e.Rules = nearestRules(e.Rules)
			}
			out = append(out, e)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("explain: %w", err)
	}
	w := c.OutOrStdout()
	if a.json {
		return a.print(w, out)
	}
	for i, e := range out {
		fmt.Fprintf(w, "event %d: %s\n\n", i+1, e.Event)
		if len(e.Rules) == 0 {
			fmt.Fprint(w, "no rule reads such events\n\n")
		}
		for _, t := range e.Rules {
			t.Write(w)
		}
	}
	if n := events - len(out); n > 0 {
		fmt.Fprintf(w, "%d more events; --limit 0 for all\n", n)
	}
	return nil
}

// maxNear is how many rules that do not match --all shows.
const maxNear = 5

// nearestRules keeps what matches and the nearest of what does not.
func nearestRules(traces []*trace.Trace) []*trace.Trace {
	near := 0
	return slices.DeleteFunc(traces, func(t *trace.Trace) bool {
		if t.Matches {
			return false
		}
		near++
		return near > maxNear || t.Unrouted != ""
	})
}

// describe names an event in a line.
func describe(b *block.Block, row int) string {
	parts := []string{event.Family(b.Header.Family).String()}
	if col := b.Column(event.ClassUID); col != nil {
		if c, ok := event.ClassByUID(uint32(col.Int(row))); ok {
			parts = append(parts, c.Name)
		}
	}
	for _, id := range []event.ColumnID{event.Source, event.ActivityName} {
		if col := b.Column(id); col != nil && !col.Absent(row) {
			parts = append(parts, trace.Cut(col.Text(row)))
		}
	}
	return strings.Join(parts, ", ")
}
