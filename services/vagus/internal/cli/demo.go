package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/run"
	"github.com/vagus-hub/vagus/schemas/sources"
	"github.com/vagus-hub/vagus/services/internal/bus"
	hub "github.com/vagus-hub/vagus/services/vagus"
	"github.com/vagus-hub/vagus/services/vagus/internal/config"
)

// demoAlerts are rules that the recorded logs must raise.
var demoAlerts = []string{
	"ai-gateway.prompt-injection-burst",
	"kubernetes.exec-into-ai-workload",
	"ai-workload.model-server-spawns-shell",
}

// demoPlaybook is a playbook that must finish: it blocks an attacker, and takes
// the block back when its time is over.
const demoPlaybook = "contain-compromised-key"

func (a *app) demoCommand() *cobra.Command {
	var f hubFlags
	c := &cobra.Command{Use: "demo", Short: "Replay recorded logs through a throw-away hub; fail unless the expected alerts and runs happen", Args: cobra.NoArgs}
	f.add(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		data, err := os.MkdirTemp("", "vagus-demo-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(data)
		f.ingest, f.api, f.clickhouseAddr = orFree(f.ingest), orFree(f.api), orFree(f.clickhouseAddr)
		cfg, err := f.load(data, true)
		if err != nil {
			return err
		}
		a.data = cfg.Data
		return a.runDemo(cmd, cfg, false)
	}
	return c
}

func orFree(addr string) string {
	if addr == "" {
		return "127.0.0.1:0"
	}
	return addr
}

// runDemo replays every recorded sample and prints what comes of it.
func (a *app) runDemo(cmd *cobra.Command, cfg config.Config, stay bool) error {
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	begin := time.Now()
	if cfg.Respond.Vars == nil {
		cfg.Respond.Vars = map[string]map[string]string{}
	}
	if cfg.Respond.Vars[demoPlaybook] == nil {
		// Short, so that the whole life of a block can be watched.
		cfg.Respond.Vars[demoPlaybook] = map[string]string{"ttl": "10s"}
	}
	// The time of an event is that of the recording, however long ago that was.
	cfg.Store.EventsDays = max(cfg.Store.EventsDays, 3650)
	h, err := start(ctx, cmd.ErrOrStderr(), cfg, "warn")
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	banner(out, h, a.data)
	err = a.replay(ctx, out, h, stay)
	if err == nil {
		err = a.await(ctx, out, begin, stay)
	}
	if stay && err == nil {
		fmt.Fprintln(out, "\nthe hub stays up; Ctrl-C stops it")
		return h.Wait()
	}
	if stay && err != nil && cmd.Context().Err() == nil {
		fmt.Fprintln(cmd.ErrOrStderr(), "vagus:", err)
		return h.Wait()
	}
	cancel()
	return errors.Join(err, h.Wait())
}

// replay sends the samples, source by source.
func (a *app) replay(ctx context.Context, out io.Writer, h *hub.Hub, again bool) error {
	s := h.State()
	entries, err := sources.FS.ReadDir(".")
	if err != nil {
		return err
	}
	for _, dir := range entries {
		if !dir.IsDir() {
			continue
		}
		snd := &sender{url: s.IngestURL, token: s.IngestToken, source: dir.Name(), client: &http.Client{Timeout: time.Minute}}
		files, err := sources.FS.ReadDir(path.Join(dir.Name(), "testdata"))
		if err != nil {
			continue
		}
		var total answer
		for _, file := range files {
			if ext := path.Ext(file.Name()); file.IsDir() || !slices.Contains([]string{".ndjson", ".log", ".json"}, ext) {
				continue
			}
			body, err := sources.FS.ReadFile(path.Join(dir.Name(), "testdata", file.Name()))
			if err != nil {
				return err
			}
			salt := ""
			if again {
				salt = time.Now().Format(time.RFC3339)
			}
			got, err := snd.send(ctx, batchKey(file.Name()+salt, 0, body), body)
			if err != nil {
				return fmt.Errorf("replay %s: %w", file.Name(), err)
			}
			total.Accepted += got.Accepted
		}
		fmt.Fprintf(out, "replayed %6d recorded records of %s\n", total.Accepted, dir.Name())
	}
	fmt.Fprintln(out)
	return nil
}

// await prints alerts and runs as they come, until everything expected has
// happened or a minute has passed. With again an alert of an earlier session in
// the same data folder counts: the same logs only repeat it.
func (a *app) await(ctx context.Context, out io.Writer, begin time.Time, again bool) error {
	b, err := a.bus(ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	seen, finished := map[string]bool{}, map[string]run.State{}
	if again {
		earlier, err := alerts(ctx, b, time.Time{})
		if err != nil {
			return err
		}
		earlier = slices.DeleteFunc(earlier, func(al finding.Alert) bool { return !al.RaisedAt.Before(begin) })
		for _, al := range earlier {
			seen["rule "+al.Rule] = true
		}
		if len(earlier) > 0 {
			fmt.Fprintf(out, "%d alerts stand from an earlier session (vagus alerts); logs that repeat them raise them no second time\n\n", len(earlier))
		}
	}
	deadline := time.Now().Add(time.Minute)
	for {
		if err := printNewAlerts(ctx, out, b, begin, seen); err != nil {
			return err
		}
		if err := a.printNewRuns(ctx, out, finished); err != nil {
			return err
		}
		missing := missingFrom(seen, finished)
		if len(missing) == 0 {
			fmt.Fprintf(out, "\nall of it in %s\n", time.Since(begin).Round(100*time.Millisecond))
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("demo: did not happen within a minute: %s", strings.Join(missing, ", "))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func missingFrom(seen map[string]bool, finished map[string]run.State) []string {
	var missing []string
	for _, r := range demoAlerts {
		if !seen["rule "+r] {
			missing = append(missing, "alert of "+r)
		}
	}
	if finished["playbook "+demoPlaybook] != run.Succeeded {
		missing = append(missing, "a finished run of "+demoPlaybook)
	}
	return missing
}

func printNewAlerts(ctx context.Context, out io.Writer, b *bus.Bus, begin time.Time, seen map[string]bool) error {
	all, err := alerts(ctx, b, begin)
	if err != nil {
		return err
	}
	slices.Reverse(all)
	for _, al := range all {
		seen["rule "+al.Rule] = true
		if seen[al.UID] || al.Lane == finding.Hunt {
			continue
		}
		seen[al.UID] = true
		fmt.Fprintf(out, "ALERT %-8s %s\n      %s\n      %s\n", al.Level, clean(al.Title), clean(al.Entity.Type+": "+al.Entity.Value), clean(al.Reason))
	}
	return nil
}

func (a *app) printNewRuns(ctx context.Context, out io.Writer, known map[string]run.State) error {
	var r struct {
		Runs []run.Run `json:"runs"`
	}
	if err := a.call(ctx, "GET", "/v1/runs", nil, &r); err != nil {
		return err
	}
	for _, x := range r.Runs {
		if known["playbook "+x.Playbook] != run.Succeeded {
			known["playbook "+x.Playbook] = x.State
		}
		if known[x.UID] == x.State {
			continue
		}
		known[x.UID] = x.State
		fmt.Fprintf(out, "RUN   %-8s %s for %s", x.State, x.Playbook, clean(x.Entity))
		for _, s := range x.Steps {
			fmt.Fprintf(out, "; %s %s", s.ID, s.State)
		}
		fmt.Fprintln(out)
	}
	return nil
}
