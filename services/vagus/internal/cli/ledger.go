package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/services/internal/ledger"
)

var errOpen = errors.New("the ledger does not close")

func (a *app) ledgerCommand() *cobra.Command {
	var asJSON, count bool
	var wait time.Duration
	c := &cobra.Command{
		Use: "ledger", Short: "Show that nothing was lost and nothing counted twice, source by source", Args: cobra.NoArgs,
		Long: "Adds up what every stage accounted for: received = stored + dead letters + dropped. Exits\nwith an error if the ledger does not close.",
	}
	jsonFlag(c, &asJSON)
	c.Flags().BoolVar(&count, "count", false, "also count the rows and distinct uids in the tables (reads them all)")
	c.Flags().DurationVar(&wait, "wait", 0, "wait so long for what is in flight")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		b, err := a.bus(cmd.Context())
		if err != nil {
			return err
		}
		defer b.Close()
		ch, err := a.clickhouse(cmd.Context())
		if err != nil {
			return err
		}
		defer ch.Close()
		deadline := time.Now().Add(wait)
		var rep ledger.Report
		for {
			if rep, err = ledger.Close(cmd.Context(), ch, b, ledger.Options{Count: count}); err != nil {
				return err
			}
			if rep.Closed() || time.Now().After(deadline) {
				break
			}
			select {
			case <-cmd.Context().Done():
				return cmd.Context().Err()
			case <-time.After(200 * time.Millisecond):
			}
		}
		if asJSON {
			if err := printJSON(cmd.OutOrStdout(), struct {
				ledger.Report
				Closed bool `json:"closed"`
			}{rep, rep.Closed()}); err != nil {
				return err
			}
		} else if err := printLedger(cmd, rep); err != nil {
			return err
		}
		if !rep.Closed() {
			return errOpen
		}
		return nil
	}
	return c
}

func printLedger(cmd *cobra.Command, rep ledger.Report) error {
	t := newTable(cmd.OutOrStdout(), "SOURCE", "RECEIVED", "EVENTS", "DEAD", "DROPPED", "STORED", "EVALUATED", "IN FLIGHT", "DIFFERENCE")
	for _, s := range rep.Sources {
		var dropped uint64
		for _, n := range s.Dropped {
			dropped += n
		}
		t.row(s.Source, s.Received, s.Normalized, s.Dead, dropped, s.Stored, s.Evaluated, s.InFlight, s.Difference)
	}
	if err := t.flush(); err != nil {
		return err
	}
	if len(rep.Behind) > 0 {
		fmt.Fprintf(cmd.OutOrStdout(), "\nstill reading: %s\n", strings.Join(slices.Sorted(maps.Keys(rep.Behind)), ", "))
	}
	if rep.Closed() {
		fmt.Fprintln(cmd.OutOrStdout(), "\nthe ledger closes")
	}
	return nil
}
