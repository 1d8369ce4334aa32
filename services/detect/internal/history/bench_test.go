//go:build linux || darwin

package history

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/history/historytest"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/internal/clickhouse"
)

var benchEvents = flag.Int("backtest.events", 5_000_000, "events of BenchmarkBacktest")

// fill fills events_network with requests of a week, as a gateway logs
// them: a few hundred clients, paths and agents, and one event in 100,000 that
// the rule is after.
func fill(b *testing.B, db *clickhouse.Client, n int) (from, to time.Time) {
	b.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	agents, paths := make([]string, 300), make([]string, 400)
	for i := range agents {
		agents[i] = fmt.Sprintf("openai-python/1.%d.%d (Linux; x86_64) CPython/3.%d", i%90, i%10, 8+i%5)
	}
	for i := range paths {
		paths[i] = fmt.Sprintf("/v1/chat/completions/%d", i)
	}
	from, to = day, day.AddDate(0, 0, 7)
	const rows = 65_536
	step := float64(to.Sub(from).Milliseconds()) / float64(n)
	bb := block.NewBuilder(event.FamilyNetwork)
	for i := range n {
		ms := from.UnixMilli() + int64(float64(i)*step)
		bb.SetUUID(event.EventUID, block.UID("bench", uint32(i)))
		bb.SetInt(event.Time, ms)
		bb.SetInt(event.ReceivedAt, ms+40)
		bb.SetString(event.Source, "nginx.access")
		bb.SetInt(event.ClassUID, int64(event.ClassHTTPActivity))
		bb.SetInt(event.HTTPResponseCode, []int64{200, 200, 200, 401, 429, 500}[r.IntN(6)])
		bb.SetString(event.HTTPRequestMethod, "POST")
		bb.SetString(event.HTTPRequestUserAgent, agents[r.IntN(len(agents))])
		bb.SetIP(event.SrcEndpointIP, netip.AddrFrom4([4]byte{198, 51, byte(r.IntN(4)), byte(r.IntN(256))}))
		bb.SetString(event.ActorUserName, fmt.Sprintf("user-%d", r.IntN(3000)))
		bb.SetInt(event.Duration, int64(r.IntN(30_000)))
		path := paths[r.IntN(len(paths))]
		if i%100_000 == 7 {
			path += "/../../etc/passwd"
		}
		bb.SetString(event.HTTPRequestPath, path)
		bb.EndRow()
		if bb.Rows() == rows || i == n-1 {
			historytest.Insert(b, db, bb.AppendTo(nil, block.Header{Source: "nginx.access"}))
			bb.Reset()
		}
	}
	return from, to
}

// BenchmarkBacktest judges a week of events: with a rule that hardly an event
// fulfils, with one that a sixth fulfils, and with the first without the
// condition in SQL. An op is one whole backtest.
func BenchmarkBacktest(b *testing.B) {
	db := historytest.Open(b)
	from, to := fill(b, db, *benchEvents)
	for _, tc := range []struct {
		name, when string
		no         bool
	}{
		{"selective", `icontains(http_request.path, "/etc/passwd")`, false},
		{"sixth", `http_response.code == 401`, false},
		{"selective without push-down", `icontains(http_request.path, "/etc/passwd")`, true},
	} {
		b.Run(tc.name, func(b *testing.B) {
			e, err := lang.Compile(tc.when, 1<<event.FamilyNetwork)
			if err != nil {
				b.Fatal(err)
			}
			r := newRule("bench.rule", e, 1<<event.FamilyNetwork)
			r.Source.Classes = []uint32{event.ClassHTTPActivity}
			r.Alert.Suppress = time.Minute
			set := NewSet([]*rule.Rule{r})
			best := time.Duration(1 << 62)
			for b.Loop() {
				res, err := Run(b.Context(), db, set, set.Rules, Options{From: from, To: to, NoPushdown: tc.no})
				if err != nil {
					b.Fatal(err)
				}
				if res.Events != uint64(*benchEvents) || res.Raised == 0 {
					b.Fatalf("%d events, %d alerts", res.Events, res.Raised)
				}
				best = min(best, res.Elapsed)
			}
			b.ReportMetric(float64(*benchEvents)/best.Seconds(), "events/s")
		})
	}
}
