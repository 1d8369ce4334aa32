package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/services/detect"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

// status is what `vagus status` tells.
type status struct {
	PID        int               `json:"pid"`
	URLs       map[string]string `json:"urls"`
	ClickHouse string            `json:"clickhouse"` // version, or what is wrong
	Streams    []bus.StreamState `json:"streams"`
	Consumers  []bus.Lag         `json:"consumers"`
	Edges      []edgeLag         `json:"edges,omitempty"`
	Pulls      []pulled          `json:"pulls,omitempty"`
	Silent     []string          `json:"silent"`  // sources that have fallen silent
	Blind      []string          `json:"blind"`   // rules all of whose sources have
	Resting    []string          `json:"resting"` // rules that cost too much to be evaluated
	Detect     []detect.Instance `json:"detect"`  // who detects, and owns what
	// Correlation is what correlation holds, some seconds ago.
	Correlation detect.Correlation `json:"correlation"`
	// Learning has what rules that rest on the past know of it.
	Learning map[string]detect.Learning `json:"learning"`
}

func (a *app) statusCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{Use: "status", Short: "Show where the hub listens, how full its streams are and who lags", Args: cobra.NoArgs}
	jsonFlag(c, &asJSON)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := a.state()
		if err != nil {
			return err
		}
		if s.Edge != "" {
			return a.edgeStatus(cmd, s, asJSON)
		}
		b, err := a.bus(cmd.Context())
		if err != nil {
			return err
		}
		defer b.Close()
		out := status{PID: s.PID, URLs: map[string]string{"ingest": s.IngestURL, "api": s.APIURL, "nats": s.NATSURL}}
		if out.Streams, err = b.Streams(cmd.Context()); err != nil {
			return err
		}
		if out.Consumers, err = b.Lag(cmd.Context()); err != nil {
			return err
		}
		if out.Edges, err = edges(cmd.Context(), b); err != nil {
			return err
		}
		out.Silent, out.Blind, out.Resting = []string{}, []string{}, []string{}
		if h, err := detect.ReadHealth(cmd.Context(), b); err == nil {
			for _, q := range h.Silent {
				out.Silent = append(out.Silent, q.Source)
			}
			out.Blind = slices.AppendSeq(out.Blind, maps.Keys(h.Blind))
			slices.Sort(out.Blind)
			out.Resting = slices.AppendSeq(out.Resting, maps.Keys(h.Resting))
			slices.Sort(out.Resting)
			out.Learning = h.Learning
		}
		if out.Detect, err = detect.ReadInstances(cmd.Context(), b); err != nil {
			out.Detect = []detect.Instance{} // none has been here since the bus began
		}
		if out.Correlation, err = detect.ReadCorrelation(cmd.Context(), b); err != nil {
			out.Correlation = detect.Correlation{Rules: map[string]detect.RuleState{}}
		}
		out.Pulls = pulls(cmd.Context(), s.IngestURL)
		if ch, err := a.clickhouse(cmd.Context()); err != nil {
			out.ClickHouse = err.Error()
		} else {
			defer ch.Close()
			if err := ch.QueryRow(cmd.Context(), "SELECT version()").Scan(&out.ClickHouse); err != nil {
				out.ClickHouse = err.Error()
			}
			out.URLs["clickhouse"] = "http://" + ch.Addr()
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), out)
		}
		w := cmd.OutOrStdout()
		fmt.Fprintf(w, "hub          process %d, data in %s\ningest       %s\nAPI          %s\nClickHouse   %s (%s)\nbus          %s\n\n", s.PID, a.data, s.IngestURL, s.APIURL, out.URLs["clickhouse"], out.ClickHouse, s.NATSURL)
		if len(out.Silent) > 0 {
			fmt.Fprintf(w, "silent       %s\nblind rules  %s\n\n", strings.Join(out.Silent, ", "), strings.Join(out.Blind, ", "))
		}
		if len(out.Resting) > 0 {
			fmt.Fprintf(w, "resting      %s (these rules cost too much and are not evaluated for a while)\n\n", strings.Join(out.Resting, ", "))
		}
		printCorrelation(w, &out.Correlation)
		printLearning(w, out.Learning)
		if err := printStreams(w, out.Streams); err != nil {
			return err
		}
		fmt.Fprintln(w)
		t := newTable(w, "CONSUMER", "OF", "WAITING", "IN FLIGHT", "REPEATED")
		for _, l := range out.Consumers {
			t.row(l.Durable, l.Stream, l.Pending, l.AckPending, l.Redelivered)
		}
		if err := t.flush(); err != nil {
			return err
		}
		if err := printInstances(w, out.Detect); err != nil {
			return err
		}
		if err := printPulls(w, out.Pulls); err != nil {
			return err
		}
		return printEdges(w, out.Edges)
	}
	return c
}

func printStreams(w io.Writer, streams []bus.StreamState) error {
	t := newTable(w, "STREAM", "MESSAGES", "MB", "FULL", "SINCE")
	for _, st := range streams {
		full := "-"
		if st.MaxBytes > 0 {
			full = fmt.Sprintf("%d %%", st.Bytes*100/uint64(st.MaxBytes))
		}
		since := "-"
		if st.Messages > 0 {
			since = time.Since(st.FirstTime).Round(time.Second).String()
		}
		t.row(st.Name, st.Messages, fmt.Sprintf("%.1f", float64(st.Bytes)/1e6), full, since)
	}
	return t.flush()
}

// printCorrelation shows how much correlation holds, and the rules for which it
// had to forget something.
func printCorrelation(w io.Writer, c *detect.Correlation) {
	if c.Groups == 0 && c.Evicted+c.Cut == 0 {
		return
	}
	fmt.Fprintf(w, "correlation  %d groups, %.1f MB\n", c.Groups, float64(c.Bytes)/1e6)
	for _, id := range slices.Sorted(maps.Keys(c.Rules)) {
		if r := c.Rules[id]; r.Evicted+r.Cut > 0 {
			fmt.Fprintf(w, "no room      %s: %d groups and %d events forgotten, holds %d groups; see detect.correlation in docs/configuration.md\n", id, r.Evicted, r.Cut, r.Groups)
		}
	}
	fmt.Fprintln(w)
}

// printLearning shows what rules that rest on the past know of it.
func printLearning(w io.Writer, rules map[string]detect.Learning) {
	if len(rules) == 0 {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(rules)) {
		l := rules[id]
		text := "knows the stored events since " + l.Since.Format(time.DateOnly)
		switch l.State {
		case detect.Reading:
			text = "is about to be told what the stored events say"
		case detect.Learns:
			text = "raises nothing until " + l.Until.Format(time.RFC3339) + ": " + l.Why
		}
		fmt.Fprintf(w, "%-12s %s %s\n", l.State, id, text)
	}
	fmt.Fprintln(w)
}

// printInstances shows the instances of detect, if there are several.
func printInstances(w io.Writer, list []detect.Instance) error {
	if len(list) < 2 {
		return nil
	}
	fmt.Fprintln(w)
	t := newTable(w, "DETECT", "HOST", "PROCESS", "SINCE", "OWNS")
	for _, i := range list {
		t.row(i.ID, i.Host, i.PID, time.Since(i.Since).Round(time.Second), strings.Join(i.Owns, " "))
	}
	return t.flush()
}
