//go:build linux || darwin

package livetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect"
	"github.com/vagus-hub/vagus/services/detect/internal/history"
	"github.com/vagus-hub/vagus/services/detect/internal/history/historytest"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/internal/clickhouse"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

const burst = `id: test.burst
title: Burst of refusals
description: Five failures of one address within a minute.
level: high
status: test
source: {class: http_activity, product: nginx.access}
when: http_response.code == 401
correlate: {type: event_count, group_by: src_endpoint.ip, timespan: 1m, condition: {gte: 5}}
alert: {title: "{src_endpoint.ip} failed {count} times", entity: {type: ip, path: src_endpoint.ip}, fields: [http_request.user_agent], suppress: 10m}
`

// requests are n requests of an address, one a second.
func requests(b *block.Builder, ip, agent string, code int64, at time.Time, n int) {
	for i := range n {
		ms := at.Add(time.Duration(i) * time.Second).UnixMilli()
		b.SetUUID(event.EventUID, block.UID(ip+at.String(), uint32(i)))
		b.SetInt(event.Time, ms)
		b.SetInt(event.ReceivedAt, ms)
		b.SetString(event.Source, "nginx.access")
		b.SetInt(event.ClassUID, int64(event.ClassHTTPActivity))
		b.SetInt(event.HTTPResponseCode, code)
		b.SetString(event.HTTPRequestPath, "/v1/models")
		b.SetString(event.HTTPRequestUserAgent, agent)
		b.SetIP(event.SrcEndpointIP, netip.MustParseAddr(ip))
		b.EndRow()
	}
}

// world is a database with three days of requests: a scanner of our own that
// is refused every day, an attacker once, and much else.
func world(t *testing.T) *clickhouse.Client {
	t.Helper()
	db := historytest.Open(t)
	b := block.NewBuilder(event.FamilyNetwork)
	for d := range 3 {
		day := start.AddDate(0, 0, d)
		requests(b, "198.51.100.7", "nightly-scan/1.0", 401, day.Add(2*time.Hour), 6)
		for i := range 500 {
			requests(b, fmt.Sprintf("192.0.2.%d", i%250), "curl/8", int64(200+201*(i%100/99)), day.Add(time.Duration(i)*2*time.Minute), 1)
		}
	}
	requests(b, "203.0.113.9", "python-requests/2", 401, start.AddDate(0, 0, 1).Add(5*time.Hour), 8)
	historytest.Insert(t, db, b.AppendTo(nil, block.Header{Source: "nginx.access"}))
	return db
}

func options(db *clickhouse.Client) detect.CommandOptions {
	return detect.CommandOptions{
		Content: fstest.MapFS{"test/burst.yml": {Data: []byte(burst)}},
		ClickHouse: func(ctx context.Context) (*clickhouse.Client, error) {
			return clickhouse.Open(ctx, historytest.DSN(db))
		},
	}
}

// run runs a command and returns what it prints, without times that differ.
func run(t *testing.T, c *cobra.Command, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetErr(&out)
	c.SetArgs(args)
	if err := c.ExecuteContext(t.Context()); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out.String())
	}
	return elapsed.ReplaceAllString(out.String(), "judged in TIME")
}

var elapsed = regexp.MustCompile(`judged in [0-9.]+(µs|ms|s)( \([0-9,]+/s\))?`)

const since, until = "--since=2026-01-15T12:00:00Z", "--until=2026-01-18T12:00:00Z"

func TestBacktestCommand(t *testing.T) {
	db := world(t)
	text := run(t, detect.Command(options(db)), "backtest", "test.burst", since, until, "--limit", "2")
	testkit.Golden(t, "backtest.txt", []byte(text))
	// Analysts' verdicts on the alerts that were raised live give the precision.
	var b history.Backtest
	asJSON := func(args ...string) {
		t.Helper()
		b = history.Backtest{}
		if err := json.Unmarshal([]byte(run(t, detect.Command(options(db)), append(args, "--json")...)), &b); err != nil {
			t.Fatal(err)
		}
	}
	asJSON("backtest", "test.burst", since, until)
	if b.Raised != 4 || b.Precision.Judged() != 0 || b.Candidates >= b.Events+1 || len(b.Samples) != 5 {
		t.Fatalf("%+v", b)
	}
	for _, a := range b.Alerts {
		verdict := finding.Benign
		if a.Entity.Value == "203.0.113.9" {
			verdict = finding.TruePositive
		}
		historytest.Raise(t, db, a, verdict)
	}
	asJSON("backtest", "test.burst", since, until)
	if want := (history.Precision{TruePositive: 1, Benign: 3}); b.Precision != want {
		t.Errorf("precision %+v, want %+v", b.Precision, want)
	}
	// What began before --since is known: its sixth request raises nothing of
	// its own.
	asJSON("backtest", "test.burst", "--since=2026-01-15T14:00:05Z", until)
	if b.Raised != 3 {
		t.Errorf("%d alerts after the first one's window, want 3", b.Raised)
	}
	asJSON("backtest", "test.burst", since, until, "--no-pushdown")
	if b.Raised != 4 || b.Candidates != b.Events {
		t.Errorf("without push-down %+v", b)
	}
}

func TestHistoryCommandsSayWhatIsWrong(t *testing.T) {
	db := world(t)
	for name, tc := range map[string]struct {
		opts detect.CommandOptions
		args []string
		want string
	}{
		"no rule":       {options(db), []string{"backtest"}, "which rule? give an id, a file or a folder"},
		"unknown rule":  {options(db), []string{"backtest", "test.brust"}, "did you mean test.burst?"},
		"no time":       {options(db), []string{"backtest", "test.burst", "--since", "30x"}, `--since: "30x" is neither a duration such as 36h or 30d nor a time such as 2026-03-01`},
		"wrong way":     {options(db), []string{"backtest", "test.burst", "--since", "1d", "--until", "2d"}, "is not before --until"},
		"no ClickHouse": {detect.CommandOptions{Content: options(db).Content}, []string{"backtest", "test.burst"}, "this program has no ClickHouse"},
	} {
		t.Run(name, func(t *testing.T) {
			c := detect.Command(tc.opts)
			c.SetArgs(tc.args)
			c.SetOut(new(bytes.Buffer))
			c.SetErr(new(bytes.Buffer))
			if err := c.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}
