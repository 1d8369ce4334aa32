package detect

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/match"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// equivCommand is `rules equiv`: the index against a full scan.
func (a *author) equivCommand() *cobra.Command {
	var events, source string
	var limit int
	c := &cobra.Command{
		Use: "equiv [PATH…] --events FILE", Short: "Prove that the index loses nothing: compare it with evaluating every rule on every event", SilenceUsage: true,
		Long: "Maps the records of FILE (- for standard input) and matches each event twice: through the index, as the running hub\n" +
			"does, and by evaluating every rule of the event's source in the virtual machine of the language. Any difference is\n" +
			"an error in the hub.",
		Example: "  vagus rules equiv sigma/rules --events events.ndjson\n  head -100000 events.ndjson | vagus rules equiv sigma/rules --events - --json",
	}
	c.Flags().StringVar(&events, "events", "", "file of records, a line each; - for standard input")
	c.Flags().StringVar(&source, "source", "auto", "their source")
	c.Flags().IntVar(&limit, "limit", 0, "events at most; 0 for all")
	c.RunE = func(c *cobra.Command, args []string) error {
		if events == "" {
			return errors.New("equiv: which events? give --events FILE")
		}
		if a.Normalize == nil {
			return errors.New("equiv: the mappings of sources are not at hand in this program; use vagus rules equiv")
		}
		in := c.InOrStdin()
		if events != "-" {
			f, err := os.Open(events)
			if err != nil {
				return fmt.Errorf("equiv: %w", err)
			}
			defer f.Close()
			in = f
		}
		rules, _, err := a.load(args)
		if err != nil {
			return err
		}
		return a.equiv(c.OutOrStdout(), rules, in, source, limit)
	}
	return c
}

// compared is what `rules equiv` found.
type compared struct {
	Rules      int      `json:"rules"`
	Events     int      `json:"events"`
	Unmapped   int      `json:"unmapped_chunks,omitempty"` // parts of the file with records that no mapping takes
	Matches    int      `json:"matches"`                   // of the full scan
	Missed     int      `json:"missed"`                    // by the index
	Surplus    int      `json:"surplus"`                   // only the index has them
	Candidates uint64   `json:"candidates"`
	Differ     []string `json:"differ,omitempty"`
	Seconds    float64  `json:"index_seconds"`
	Full       float64  `json:"full_scan_seconds"`
}

// maxChunk bounds what is mapped at once, in bytes.
const maxChunk = 1 << 20

var errEnough = errors.New("enough events")

func (a *author) equiv(w io.Writer, rules []*rule.Rule, in io.Reader, source string, limit int) error {
	rules = slices.DeleteFunc(rule.Matched(rules), func(r *rule.Rule) bool { return r.Disabled })
	e := &equivalence{m: match.New(rules), full: newFullScan(rules)}
	e.out.Rules = len(rules)
	var b block.Block
	err := chunks(in, func(chunk []byte) error {
		err := a.Normalize(source, chunk, time.Now().UnixMilli(), func(payload []byte) error {
			if err := block.Decode(payload, &b); err != nil {
				return err
			}
			if err := e.block(&b); err != nil {
				return err
			}
			if limit > 0 && e.out.Events >= limit {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			e.out.Unmapped++
			return nil
		}
		return err
	})
	if err != nil && !errors.Is(err, errEnough) {
		return fmt.Errorf("equiv: %w", err)
	}
	e.out.Candidates = e.m.Stats().Candidates
	if a.json {
		if err := a.print(w, e.out); err != nil {
			return err
		}
	} else {
		for _, d := range e.out.Differ {
			fmt.Fprintln(w, d)
		}
		fmt.Fprintf(w, "%d rules, %d events, %d matches: %d missed, %d too many (index %.2fs, full scan %.2fs)\n",
			e.out.Rules, e.out.Events, e.out.Matches, e.out.Missed, e.out.Surplus, e.out.Seconds, e.out.Full)
		if e.out.Unmapped > 0 {
			fmt.Fprintf(w, "%d parts of the file have records that cannot be mapped\n", e.out.Unmapped)
		}
	}
	if e.out.Missed+e.out.Surplus > 0 {
		return errProblems
	}
	return nil
}

// chunks cuts lines into parts of about a megabyte.
func chunks(in io.Reader, use func([]byte) error) error {
	r := bufio.NewReaderSize(in, 64<<10)
	var buf bytes.Buffer
	for {
		line, err := r.ReadBytes('\n')
		buf.Write(line)
		if buf.Len() >= maxChunk || err != nil && buf.Len() > 0 {
			if err := use(buf.Bytes()); err != nil {
				return err
			}
			buf.Reset()
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

type hit struct {
	rule string
	row  int
}

type equivalence struct {
	m    *match.Matcher
	full *fullScan
	out  compared
}

func (e *equivalence) block(b *block.Block) error {
	e.out.Events += b.Rows()
	start := time.Now()
	index := map[hit]bool{}
	e.m.Match(b, func(r *rule.Rule, row int) { index[hit{r.ID, row}] = true })
	e.out.Seconds += time.Since(start).Seconds()
	start = time.Now()
	differ := func(h hit, what string) {
		if len(e.out.Differ) < 20 {
			e.out.Differ = append(e.out.Differ, fmt.Sprintf("%s: %s: %s", h.rule, what, b.AppendJSON(nil, h.row)))
		}
	}
	err := e.full.run(b, func(h hit) {
		e.out.Matches++
		if !index[h] {
			e.out.Missed++
			differ(h, "the index misses")
		}
		delete(index, h)
	})
	e.out.Full += time.Since(start).Seconds()
	for h := range index {
		e.out.Surplus++
		differ(h, "only the index has")
	}
	return err
}

// fullScan evaluates every rule on every event of its source.
type fullScan struct {
	rules   []*rule.Rule
	machine lang.Machine
}

func newFullScan(rules []*rule.Rule) *fullScan { return &fullScan{rules: rules} }

func (f *fullScan) run(b *block.Block, emit func(hit)) error {
	classes, sources := b.Column(event.ClassUID), b.Column(event.Source)
	for row := range b.Rows() {
		class, source := uint32(0), b.Header.Source
		if classes != nil {
			class = uint32(classes.Int(row))
		}
		if sources != nil {
			source = sources.Text(row)
		}
		env, filled := map[string]any{}, map[event.ColumnID]bool{}
		for _, r := range f.rules {
			s := &r.Source
			if !s.Families.Has(event.Family(b.Header.Family)) || len(s.Classes) > 0 && !slices.Contains(s.Classes, class) || len(s.Products) > 0 && !slices.Contains(s.Products, source) {
				continue
			}
			ok, err := f.holds(r, b, row, env, filled)
			if err == nil && ok {
				emit(hit{r.ID, row})
			}
		}
	}
	return nil
}

func (f *fullScan) holds(r *rule.Rule, b *block.Block, row int, env map[string]any, filled map[event.ColumnID]bool) (bool, error) {
	ok, err := f.eval(r.When, b, row, env, filled)
	if !ok || err != nil {
		return false, err
	}
	for _, x := range r.Exceptions {
		if !x.Expires.IsZero() && match.Time(b, row) >= x.Expires.UnixMilli() {
			continue
		}
		if ok, err := f.eval(x.When, b, row, env, filled); ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

func (f *fullScan) eval(e *lang.Expr, b *block.Block, row int, env map[string]any, filled map[event.ColumnID]bool) (bool, error) {
	_, keys := env[lang.EnvKeys]
	_, texts := env[lang.EnvText]
	need := len(e.Keys) > 0 && !keys || e.AnyText && !texts
	for _, id := range e.Columns {
		need = need || !filled[id]
		filled[id] = true
	}
	if need {
		match.FillEnv(env, b, row, e)
	}
	return f.machine.Eval(e, env)
}
