package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/run"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

var tailStreams = map[string]string{
	"events": subjects.StreamEvents, "raw": subjects.StreamRaw, "alerts": subjects.StreamAlerts,
	"runs": subjects.StreamRuns, "signals": subjects.StreamSignals, "dead": subjects.StreamDead,
}

func (a *app) tailCommand() *cobra.Command {
	var asJSON, all bool
	var source string
	c := &cobra.Command{
		Use: "tail [events|alerts|runs|raw|signals|dead]", Short: "Follow what flows over the bus", Args: cobra.MaximumNArgs(1),
		ValidArgs: []string{"events", "alerts", "runs", "raw", "signals", "dead"},
	}
	jsonFlag(c, &asJSON)
	c.Flags().BoolVar(&all, "all", false, "begin with what is there already")
	c.Flags().StringVar(&source, "source", "", "only this source (events, raw, dead)")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		what := "events"
		if len(args) == 1 {
			what = args[0]
		}
		stream, ok := tailStreams[what]
		if !ok {
			return fmt.Errorf("tail: %q is none of events, alerts, runs, raw, signals, dead", what)
		}
		if source != "" && !slices.Contains([]string{"events", "raw", "dead"}, what) {
			return fmt.Errorf("tail: --source chooses among events, raw and dead; %s have none", what)
		}
		b, err := a.bus(cmd.Context())
		if err != nil {
			return err
		}
		defer b.Close()
		if source != "" {
			// What is sent as a source that nothing is known of can be followed, too.
			if err := a.unknownSource(cmd.Context(), source); err != nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "tail: %v\n", err)
			}
		}
		first := uint64(1)
		if !all {
			states, err := b.Streams(cmd.Context())
			if err != nil {
				return err
			}
			i := slices.IndexFunc(states, func(s bus.StreamState) bool { return s.Name == stream })
			if i >= 0 {
				first = states[i].Last + 1
			}
		}
		p := printer{out: cmd.OutOrStdout(), asJSON: asJSON, source: source}
		for rec, err := range b.Follow(cmd.Context(), stream, nil, first) {
			if err != nil {
				return err
			}
			if rec.Subject == subjects.Runs(subjects.RunsIncident) || rec.Subject == subjects.Runs(subjects.RunsDisposition) {
				continue // these share the stream; `vagus incidents` and `vagus alerts disposition` show them
			}
			if _, ok := subjects.ParseSignals(rec.Subject); !ok && stream == subjects.StreamSignals {
				continue // ticks and seeds
			}
			if err := p.print(what, rec.Data); err != nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "%s %d: %v\n", stream, rec.Seq, err)
			}
		}
		return nil
	}
	return c
}

// printer writes one message as lines.
type printer struct {
	out    io.Writer
	asJSON bool
	source string
	blk    block.Block
	raw    block.Raw
	line   []byte
	reader finding.SignalReader
}

func (p *printer) print(what string, data []byte) error {
	switch what {
	case "events":
		return p.events(data)
	case "raw", "dead":
		return p.records(data)
	case "alerts":
		var al finding.Alert
		if err := json.Unmarshal(data, &al); err != nil {
			return err
		}
		if !p.asJSON {
			_, err := fmt.Fprintf(p.out, "%s  %-9s %-8s %s  %s  %s\n", short(al.RaisedAt), al.Status, al.Level, clean(al.Rule), clean(al.Entity.Type+":"+al.Entity.Value), clean(al.Reason))
			return err
		}
	case "signals":
		return p.signals(data)
	case "runs":
		var tr run.Transition
		if err := json.Unmarshal(data, &tr); err != nil {
			return err
		}
		if !p.asJSON {
			_, err := fmt.Fprintf(p.out, "%s  %s  %-10s %-12s %s  %s\n", short(tr.At), tr.Playbook, tr.State, strings.TrimSpace(tr.Step), clean(tr.Entity), clean(tr.Reason))
			return err
		}
	}
	_, err := fmt.Fprintf(p.out, "%s\n", data)
	return err
}

func (p *printer) signals(data []byte) error {
	var failed error
	err := p.reader.Read(data, func(s *finding.Signal) {
		if failed == nil {
			failed = json.NewEncoder(p.out).Encode(s)
		}
	})
	return errors.Join(err, failed)
}

func (p *printer) events(data []byte) error {
	if err := block.Decode(data, &p.blk); err != nil {
		return err
	}
	if p.source != "" && p.blk.Header.Source != p.source {
		return nil
	}
	for row := range p.blk.Rows() {
		p.line = append(p.blk.AppendJSON(p.line[:0], row), '\n')
		if _, err := p.out.Write(p.line); err != nil {
			return err
		}
	}
	return nil
}

func (p *printer) records(data []byte) error {
	if err := block.DecodeRaw(data, &p.raw); err != nil {
		return err
	}
	if p.source != "" && p.raw.Header.Source != p.source {
		return nil
	}
	for i := range p.raw.Len() {
		if p.asJSON {
			rec := map[string]any{"event_uid": block.FormatUUID(p.raw.UID(i)), "received_at": p.raw.Received(i), "source": p.raw.Header.Source, "raw": string(p.raw.Record(i))}
			if p.raw.Header.Kind == block.KindDead {
				rec["reason"], rec["error"] = p.raw.Reason(i), p.raw.Error(i)
			}
			if err := json.NewEncoder(p.out).Encode(rec); err != nil {
				return err
			}
			continue
		}
		prefix := p.raw.Header.Source
		if p.raw.Header.Kind == block.KindDead {
			prefix += "  " + p.raw.Reason(i) + ": " + clean(p.raw.Error(i))
		}
		if _, err := fmt.Fprintf(p.out, "%s  %s\n", prefix, clean(string(p.raw.Record(i)))); err != nil {
			return err
		}
	}
	return nil
}
