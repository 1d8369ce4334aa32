package detect

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/correlate"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// crowd is a message of signals at a time: of ten rules, each signal of another
// group, until each group has three.
type crowd struct {
	groups  int
	n       int
	writer  finding.SignalWriter
	sources [3]string
}

const crowdRules = 10

func crowdRule(i int) *rule.Rule {
	title, err := rule.ParseTemplate("{src_endpoint.ip}")
	if err != nil {
		panic(err)
	}
	kind, op := rule.EventCount, 10.0
	if i%5 == 4 {
		kind = rule.ValueCount
	}
	return &rule.Rule{
		ID: "bench.rule-" + strconv.Itoa(i), Title: "bench", Level: finding.High, Lane: finding.Alerts, Version: "ab12cd34ef56",
		Alert: rule.Alert{Title: title, EntityType: "ip", EntityPath: event.SrcEndpointIP, Suppress: 10 * time.Minute},
		Correlate: &rule.Correlate{Type: kind, Window: rule.Sliding, Timespan: 10 * time.Minute, Lateness: time.Minute, Field: []lang.Field{{Col: event.ActorUserName}},
			GroupBy:   []rule.GroupKey{{Name: "src_endpoint.ip", Fields: []lang.Field{{Col: event.SrcEndpointIP}}}},
			Condition: []rule.Comparison{{Op: "gte", Value: op}}},
	}
}

// next is a message of count signals.
func (c *crowd) next(count int) []byte {
	for range count {
		// A multiplier without a common factor visits the groups out of order.
		g := (c.n * 7_368_787) % c.groups
		ms := int64(1_700_000_000_000) + int64(c.n/300)
		sig := finding.Signal{
			Rule: "bench.rule-" + strconv.Itoa(g%crowdRules), Version: "ab12cd34ef56", Time: ms, Received: ms + 200, Source: c.sources[c.n%3], Family: "network",
			GroupKey: fmt.Sprintf("2001:db8::%x:%x", g>>16, g&0xffff), Traceback: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
			Fields: []finding.Pair{{Path: "src_endpoint.ip", Value: "2001:db8::1"}, {Path: "http_request.path", Value: "/v1/chat/completions"}, {Path: "asset.criticality"}, {Path: "threat.lists"}},
		}
		if g%5 == 4 {
			sig.Value = "user-" + strconv.Itoa((c.n+c.n/c.groups)%50) // another each time
		}
		binary.BigEndian.PutUint64(sig.EventUID[:], uint64(c.n)*0x9e3779b97f4a7c15)
		binary.BigEndian.PutUint64(sig.EventUID[8:], uint64(c.n))
		c.writer.Signal(&sig)
		c.n++
	}
	return c.writer.Take()
}

// BenchmarkCorrelate reads signals and correlates them into a million live
// groups of ten rules. It reports matches a second, the memory that a live
// group takes, and how long a checkpoint of all groups takes.
func BenchmarkCorrelate(b *testing.B) {
	const groups, batch = 1_000_000, 10_000
	crowdRuleSet := make([]*rule.Rule, crowdRules)
	for i := range crowdRuleSet {
		crowdRuleSet[i] = crowdRule(i)
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		debug.FreeOSMemory()
		runtime.ReadMemStats(&m)
		return m.HeapInuse
	}
	for b.Loop() {
		b.StopTimer()
		c := &crowd{groups: groups, sources: [3]string{"nginx.access", "litellm.proxy", "kong.ai_gateway"}}
		before := heap()
		corr := correlate.New(crowdRuleSet, slog.New(slog.DiscardHandler))
		var reader finding.SignalReader
		emit := func(finding.Alert) { b.Error("an alert") }
		var took time.Duration
		matches := 0
		for matches < 3*groups {
			data := c.next(batch)
			b.StartTimer()
			begin := time.Now()
			if err := reader.Read(data, func(s *finding.Signal) { corr.Add(s, emit) }); err != nil {
				b.Fatal(err)
			}
			took += time.Since(begin)
			b.StopTimer()
			matches += batch
		}
		if st := corr.Stats(); st.Groups != groups || st.Evicted > 0 || st.Duplicates > 0 {
			b.Fatalf("%+v", st)
		}
		after := heap()
		begin := time.Now()
		state, err := corr.Save(nil)
		if err != nil {
			b.Fatal(err)
		}
		saved := time.Since(begin)
		begin = time.Now()
		again := correlate.New(crowdRuleSet, slog.New(slog.DiscardHandler))
		if err := again.Load(state); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(matches)/took.Seconds(), "matches/s")
		b.ReportMetric(float64(after-before)/groups, "B/group")
		b.ReportMetric(float64(after-before)/(1<<20), "MiB")
		b.ReportMetric(float64(saved.Milliseconds()), "save-ms")
		b.ReportMetric(float64(time.Since(begin).Milliseconds()), "load-ms")
		b.ReportMetric(float64(len(state))/(1<<20), "checkpoint-MiB")
		runtime.KeepAlive(corr)
		b.StartTimer()
	}
}
