package detect

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/history"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// hunting are the flags of `hunt`.
type hunting struct {
	span
	classes, sources, families, fields, by []string
	limit                                  int
	count, json                            bool
}

// HuntCommand returns `hunt`: a condition over the events that are stored,
// without a rule.
func HuntCommand(opts CommandOptions) *cobra.Command {
	var h hunting
	c := &cobra.Command{
		Use: "hunt EXPR", Short: "Find stored events by a condition, as rules write it", SilenceUsage: true, Args: cobra.ExactArgs(1),
		Long: "Finds the stored events that fulfil a condition (docs/rules.md has the language), the newest first,\n" +
			"with the code that runs rules. What is found here, a rule with the same condition would find live.",
		Example: "  vagus hunt 'icontains(message_context.prompt_text, \"ignore previous\")' --since 7d\n" +
			"  vagus hunt 'http_response.code == 401' --class http_activity --by src_endpoint.ip --limit 10\n" +
			"  vagus hunt 'icontains(event.text, \"mimikatz\")' --since 30d --count\n" +
			"  vagus hunt 'exists(tool.name)' --fields time,actor.user.name,tool.name --json | jq -c .",
	}
	h.flags(c, "24h")
	c.Flags().StringSliceVar(&h.classes, "class", nil, "only these OCSF classes")
	c.Flags().StringSliceVar(&h.sources, "source", nil, "only these sources")
	c.Flags().StringSliceVar(&h.families, "family", nil, "only these families: ai, api, host, network, identity, data")
	c.Flags().StringSliceVar(&h.fields, "fields", nil, "which fields are shown, columns or keys of unmapped such as unmapped.Name (default: who and where, and those of the condition)")
	c.Flags().StringSliceVar(&h.by, "by", nil, "count by the values of these fields instead")
	c.Flags().IntVar(&h.limit, "limit", 20, "how many events or values are shown")
	c.Flags().BoolVar(&h.count, "count", false, "only count")
	c.Flags().BoolVar(&h.json, "json", false, "print JSON: a line per event, or the counts")
	c.RunE = func(c *cobra.Command, args []string) error {
		q, err := h.question(args[0])
		if err != nil {
			return fmt.Errorf("hunt: %w", err)
		}
		o, err := h.options(time.Now().UTC())
		if err != nil {
			return fmt.Errorf("hunt: %w", err)
		}
		db, err := opts.events(c.Context())
		if err != nil {
			return fmt.Errorf("hunt: %w", err)
		}
		defer func() { _ = db.Close() }()
		if err := opts.checkSources(c.Context(), db, h.sources); err != nil {
			return fmt.Errorf("hunt: %w", err)
		}
		b := newBar(c.ErrOrStderr(), "hunt")
		o.Progress = b.show
		var events []history.Event
		found, err := q.Run(c.Context(), db, o, func(e history.Event) error {
			if h.json {
				b.clear()
				_, err := fmt.Fprintf(c.OutOrStdout(), "%s\n", e.JSON)
				return err
			}
			events = append(events, e)
			return nil
		})
		b.clear()
		if err != nil {
			return err
		}
		return h.write(c.OutOrStdout(), q, found, events)
	}
	return c
}

// question checks the condition and the flags.
func (h *hunting) question(expr string) (history.Hunt, error) {
	q := history.Hunt{Limit: h.limit}
	if h.limit <= 0 {
		return q, errors.New("--limit must be above 0 (--count counts only)")
	}
	var err error
	if q.Source, err = rule.Routing(h.classes, h.families, h.sources); err != nil {
		return q, err
	}
	if q.When, err = lang.Compile(expr, q.Source.Families); err != nil {
		var problems lang.Problems
		if errors.As(err, &problems) {
			return q, fmt.Errorf("in the condition at %w", problems)
		}
		return q, err
	}
	if q.Columns, err = columnsOf("--fields", h.fields); err != nil {
		return q, err
	}
	if q.By, err = columnsOf("--by", h.by); err != nil {
		return q, err
	}
	if h.count {
		q.Limit = 0
	}
	if len(q.Columns) == 0 {
		q.Columns = usualFields(q.When)
	}
	return q, nil
}

// usualFields are shown unless others are asked for.
func usualFields(e *lang.Expr) []lang.Field {
	var out []lang.Field
	add := func(f lang.Field) {
		if len(out) < 10 && !slices.Contains(out, f) {
			out = append(out, f)
		}
	}
	for _, id := range []event.ColumnID{event.Time, event.Source, event.ActorUserName, event.SrcEndpointIP, event.DeviceHostname} {
		add(lang.Field{Col: id})
	}
	for _, id := range e.Columns {
		if id != event.Unmapped && !e.AnyText {
			add(lang.Field{Col: id})
		}
	}
	e.Root.Walk(func(n *lang.Node) {
		if n.View == lang.Key {
			add(n.Field)
		}
	})
	return out
}

// columnsOf reads paths of columns and keys of unmapped.
func columnsOf(flag string, paths []string) ([]lang.Field, error) {
	var out []lang.Field
	for _, p := range paths {
		p = strings.TrimSpace(p)
		if key, ok, err := lang.ParseKey(p); err != nil {
			return nil, fmt.Errorf("%s: %w", flag, err)
		} else if ok {
			out = append(out, key)
			continue
		}
		c, ok := event.ByPath(p)
		if !ok {
			names := make([]string, len(event.Columns))
			for i := range event.Columns {
				names[i] = event.Columns[i].Path
			}
			return nil, fmt.Errorf("%s: unknown field %s%s", flag, p, lang.DidYouMean(p, names))
		}
		out = append(out, lang.Field{Col: c.ID})
	}
	return out, nil
}

func (h *hunting) write(w io.Writer, q history.Hunt, f *history.Found, events []history.Event) error {
	if h.json {
		if h.count || len(q.By) > 0 {
			return printJSON(w, f)
		}
		return nil
	}
	if len(q.By) > 0 {
		writeCounts(w, "by "+strings.Join(h.by, ", "), f.By, h.limit)
	} else if len(events) > 0 {
		writeEvents(w, q.Columns, events)
	}
	span := fmt.Sprintf("from %s to %s", f.From.Format("2006-01-02 15:04"), f.To.Format("2006-01-02 15:04"))
	var err error
	if f.Complete {
		_, err = fmt.Fprintf(w, "%s matching events; %s judged in %s, %s\n", thousands(f.Matches), thousands(f.Events), f.Elapsed.Round(time.Millisecond), span)
	} else {
		_, err = fmt.Fprintf(w, "the newest %d matching events (--limit; --count counts all), %s\n", h.limit, span)
	}
	if f.Failures > 0 && err == nil {
		_, err = fmt.Fprintf(w, "%s evaluations ended in an error and count as no match\n", thousands(f.Failures))
	}
	return err
}

// writeEvents prints a table of the columns that one of the events has.
func writeEvents(w io.Writer, columns []lang.Field, events []history.Event) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(cell func(i int) string) {
		first := true
		for i := range columns {
			if !slices.ContainsFunc(events, func(e history.Event) bool { return e.Values[i] != "" }) {
				continue
			}
			if !first {
				fmt.Fprint(tw, "\t")
			}
			first = false
			fmt.Fprint(tw, cell(i))
		}
		fmt.Fprintln(tw)
	}
	line(func(i int) string {
		if columns[i].View == lang.Key {
			return columns[i].Path() // whose case matters
		}
		return strings.ToUpper(columns[i].Path())
	})
	for _, e := range events {
		line(func(i int) string {
			if columns[i].Col == event.Time {
				return e.Time.Format("2006-01-02 15:04:05.000")
			}
			return plain(e.Values[i], 60)
		})
	}
	_ = tw.Flush() // what is written to fails again with the next line
}
