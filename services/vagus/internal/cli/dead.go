package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

// deadGroup counts dead letters of one kind.
type deadGroup struct {
	Stage   string    `json:"stage"`
	Source  string    `json:"source"`
	Reason  string    `json:"reason"`
	Records int       `json:"records"`
	Newest  time.Time `json:"newest"`
	Error   string    `json:"error"`  // of one of them
	Sample  string    `json:"sample"` // the beginning of one of them
}

func (a *app) deadCommand() *cobra.Command {
	c := &cobra.Command{Use: "dead", Short: "Look at dead letters and send them again"}
	c.AddCommand(a.deadListCommand(), a.deadReplayCommand())
	return c
}

func (a *app) deadListCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{Use: "list", Short: "Count dead letters by stage, source and reason, with an example of each", Args: cobra.NoArgs}
	jsonFlag(c, &asJSON)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		b, err := a.bus(cmd.Context())
		if err != nil {
			return err
		}
		defer b.Close()
		groups, index := []*deadGroup{}, map[string]*deadGroup{}
		for rec, err := range b.ReadFrom(cmd.Context(), subjects.StreamDead, nil, 1, 0) {
			if err != nil {
				return err
			}
			stage, source, _ := subjects.ParseDead(rec.Subject)
			add := func(reason, problem string, record []byte) {
				g := index[stage+"\x00"+source+"\x00"+reason]
				if g == nil {
					g = &deadGroup{Stage: stage, Source: source, Reason: reason, Error: problem, Sample: cut(string(record[:min(len(record), 400)]), 200)}
					index[stage+"\x00"+source+"\x00"+reason] = g
					groups = append(groups, g)
				}
				g.Records++
				g.Newest = rec.Time
			}
			var raw block.Raw
			if block.DecodeRaw(rec.Data, &raw) != nil { // a message that was no block at all
				add(rec.Header.Get(subjects.HeaderReason), rec.Header.Get(subjects.HeaderError), rec.Data)
				continue
			}
			for i := range raw.Len() {
				add(raw.Reason(i), raw.Error(i), raw.Record(i))
			}
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), groups)
		}
		t := newTable(cmd.OutOrStdout(), "RECORDS", "STAGE", "SOURCE", "REASON", "NEWEST", "ERROR", "EXAMPLE")
		for _, g := range groups {
			t.row(g.Records, g.Stage, g.Source, g.Reason, short(g.Newest), cut(g.Error, 70), cut(g.Sample, 60))
		}
		return t.flush()
	}
	return c
}

// deadReplayCommand publishes records again as RAW with their old uids; they
// are marked as replayed, so that the raw table does not get them twice.
func (a *app) deadReplayCommand() *cobra.Command {
	var source, reason string
	var dryRun bool
	c := &cobra.Command{
		Use: "replay", Short: "Send dead letters through the pipeline again, after the cause is mended", Args: cobra.NoArgs,
		Long: "Sends dead letters through the pipeline again, after the mapping or whatever else was wrong\nis mended. Those that still fail become dead letters again, which can be replayed again. Each\ndead letter is replayed once. Records that were too long are kept cut off: they are not replayed,\nsend them again from where they came from.",
	}
	c.Flags().StringVar(&source, "source", "", "only this source")
	c.Flags().StringVar(&reason, "reason", "", "only this reason")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "only count")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		b, err := a.bus(cmd.Context())
		if err != nil {
			return err
		}
		defer b.Close()
		if isCut(reason) {
			return fmt.Errorf("replay dead letters: those with the reason %s hold only the beginning of a record; raise the limit of a record and send them again from their source", reason)
		}
		done, err := loadReplayed(cmd.Context(), b)
		if err != nil {
			return err
		}
		records, messages, first, refused := 0, 0, uint64(0), 0
		var sources, reasons []string // that dead letters have
		for rec, err := range b.ReadFrom(cmd.Context(), subjects.StreamDead, nil, 1, 0) {
			if err != nil {
				return err
			}
			if first == 0 {
				first = rec.Seq
			}
			_, from, _ := subjects.ParseDead(rec.Subject)
			if !slices.Contains(sources, from) {
				sources = append(sources, from)
			}
			var raw block.Raw
			if source != "" && from != source || block.DecodeRaw(rec.Data, &raw) != nil {
				continue
			}
			out := block.NewRawBuilder()
			for i := range raw.Len() {
				if !slices.Contains(reasons, raw.Reason(i)) {
					reasons = append(reasons, raw.Reason(i))
				}
				if reason == "" && isCut(raw.Reason(i)) {
					refused++
					continue
				}
				if (reason == "" || raw.Reason(i) == reason) && !done.has(rec.Seq, raw.Reason(i)) {
					out.Append(raw.UID(i), raw.Received(i), raw.Record(i))
				}
			}
			if out.Rows() == 0 {
				continue
			}
			records += out.Rows()
			messages++
			if dryRun {
				continue
			}
			h := block.Header{Source: raw.Header.Source, Envelope: raw.Header.Envelope, Received: raw.Header.Received, Replay: true}
			_, err = b.Publish(cmd.Context(), bus.Msg{
				Subject: subjects.Raw(raw.Header.Source), ID: fmt.Sprintf("replay:%d:%s", rec.Seq, reason), Data: out.AppendTo(nil, h),
			})
			if err != nil {
				return fmt.Errorf("replay dead letter %d: %w", rec.Seq, err)
			}
			done[rec.Seq] = append(done[rec.Seq], reason)
			// What is not noted yet when this ends early is known by its message
			// id for some minutes.
			if messages%256 == 0 {
				if err := done.save(cmd.Context(), b, first); err != nil {
					return err
				}
			}
		}
		if source != "" && !slices.Contains(sources, source) {
			fmt.Fprintf(cmd.ErrOrStderr(), "there are no dead letters of the source %s%s (`vagus dead list` counts them)\n", source, didYouMean(source, sources))
		}
		if reason != "" && !slices.Contains(reasons, reason) {
			fmt.Fprintf(cmd.ErrOrStderr(), "there are no dead letters with the reason %s%s (`vagus dead list` counts them)\n", reason, didYouMean(reason, reasons))
		}
		if messages > 0 && !dryRun {
			if err := done.save(cmd.Context(), b, first); err != nil {
				return err
			}
		}
		verb := "sent again"
		if dryRun {
			verb = "would be sent again"
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%d records in %d messages %s\n", records, messages, verb)
		if refused > 0 {
			fmt.Fprintf(cmd.OutOrStdout(), "%d records were left: they were too long and only their beginning is kept; send them again from their source\n", refused)
		}
		return nil
	}
	return c
}

// isCut reports whether dead letters of a reason hold only the beginning of the
// record: sent again, it would pass for the whole.
func isCut(reason string) bool { return reason == "line_too_long" }

// replayed says which dead letters were sent again: the sequence of the
// message in DEAD and the reasons, "" for all of them.
type replayed map[uint64][]string

const replayedName = "dead-replay"

func loadReplayed(ctx context.Context, b *bus.Bus) (replayed, error) {
	_, text, err := b.LoadCheckpoint(ctx, replayedName)
	r := replayed{}
	if errors.Is(err, bus.ErrNotFound) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("read what was replayed before: %w", err)
	}
	return r, nil
}

func (r replayed) has(seq uint64, reason string) bool {
	return slices.Contains(r[seq], "") || slices.Contains(r[seq], reason)
}

// save forgets those before first: they are no longer kept.
func (r replayed) save(ctx context.Context, b *bus.Bus, first uint64) error {
	maps.DeleteFunc(r, func(seq uint64, _ []string) bool { return seq < first })
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return b.SaveCheckpoint(ctx, replayedName, first, text)
}
