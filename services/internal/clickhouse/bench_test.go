package clickhouse_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/google/uuid"

	"github.com/vagus-hub/vagus/services/internal/clickhouse"
	"github.com/vagus-hub/vagus/services/internal/clickhouse/embedded/embeddedtest"
)

const benchRows = 65_536

// eventColumns are about forty columns of an event table: mostly words from
// small dictionaries, some addresses, numbers and free text.
var eventColumns = func() []string {
	cols := []string{"event_uid UUID", "time DateTime64(3, 'UTC')", "received_at DateTime64(3, 'UTC')"}
	for i := range 18 {
		cols = append(cols, fmt.Sprintf("word_%d LowCardinality(String)", i))
	}
	for i := range 6 {
		cols = append(cols, fmt.Sprintf("text_%d String", i))
	}
	for i := range 8 {
		cols = append(cols, fmt.Sprintf("num_%d UInt32", i))
	}
	for i := range 5 {
		cols = append(cols, fmt.Sprintf("tag_%d UInt8", i))
	}
	return cols
}()

const eventsDDL = "CREATE TABLE %s (%s) ENGINE = MergeTree PARTITION BY toDate(time) ORDER BY (word_0, time) SETTINGS %s"

const rawDDL = "CREATE TABLE %s (event_uid UUID, received_at DateTime64(3, 'UTC'), source LowCardinality(String), raw String CODEC(%s)) ENGINE = MergeTree PARTITION BY toDate(received_at) ORDER BY received_at SETTINGS %s"

func randomUUID(r *rand.Rand) (u uuid.UUID) {
	binary.BigEndian.PutUint64(u[:8], r.Uint64())
	binary.BigEndian.PutUint64(u[8:], r.Uint64())
	return u
}

// logLine is a JSON record of about 700 bytes such as a gateway writes.
func logLine(r *rand.Rand, at time.Time) string {
	models := []string{"gpt-4o-mini", "claude-sonnet-4", "llama-3.1-70b-instruct", "mistral-large-latest"}
	return fmt.Sprintf(`{"timestamp":%q,"request_id":"%016x%016x","client":{"ip":"198.51.100.%d","port":%d,"user_agent":"openai-python/1.%d.%d"},"user":{"name":"user%04d@example.com","team":"team-%d","key_alias":"sk-...%04x"},"request":{"method":"POST","path":"/v1/chat/completions","model":%q,"stream":%t,"messages":%d,"temperature":0.%d,"max_tokens":%d},"response":{"status":%d,"finish_reason":"stop","prompt_tokens":%d,"completion_tokens":%d,"latency_ms":%d.%03d,"cost_usd":0.%06d},"upstream":{"host":"inference-%02d.example.com","region":"eu-west-%d","attempt":%d},"trace":{"trace_id":"%016x%016x","span_id":"%016x"},"message":"completed request %d for team-%d after %d ms"}`,
		at.Format(time.RFC3339Nano), r.Uint64(), r.Uint64(), r.IntN(250), r.IntN(60000), r.IntN(90), r.IntN(10), r.IntN(3000), r.IntN(40), r.IntN(65536),
		models[r.IntN(4)], r.IntN(2) == 0, r.IntN(20), r.IntN(10), r.IntN(4096), []int{200, 200, 200, 429, 500}[r.IntN(5)],
		r.IntN(8000), r.IntN(2000), r.IntN(9000), r.IntN(1000), r.IntN(1000000), r.IntN(20), r.IntN(3), r.IntN(3), r.Uint64(), r.Uint64(), r.Uint64(), r.IntN(1<<30), r.IntN(40), r.IntN(9000))
}

// blocks encodes n blocks of both tables.
func blocks(tb testing.TB, n int) (events, raws [][]byte) {
	tb.Helper()
	base := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for k := range n {
		r := rand.New(rand.NewPCG(7, uint64(k)))
		var ids proto.ColUUID
		at, received := new(proto.ColDateTime64).WithPrecision(3).WithLocation(time.UTC), new(proto.ColDateTime64).WithPrecision(3).WithLocation(time.UTC)
		source, raw := proto.NewLowCardinality[string](new(proto.ColStr)), new(proto.ColStr)
		words := make([]*proto.ColLowCardinality[string], 18)
		for i := range words {
			words[i] = proto.NewLowCardinality[string](new(proto.ColStr))
		}
		texts, nums, tags := make([]proto.ColStr, 6), make([]proto.ColUInt32, 8), make([]proto.ColUInt8, 5)
		for i := range benchRows {
			t := base.Add(time.Duration(k*benchRows+i) * 17 * time.Microsecond)
			ids.Append(randomUUID(r))
			at.Append(t.Add(-time.Duration(r.IntN(2000)) * time.Millisecond))
			received.Append(t)
			source.Append([]string{"litellm.proxy", "nginx.access", "kubernetes.audit", "microsoft.sysmon"}[r.IntN(4)])
			raw.Append(logLine(r, t))
			for j, w := range words {
				w.Append(fmt.Sprintf("word-%d-%d", j, r.IntN(4<<(j%8))))
			}
			texts[0].Append(fmt.Sprintf("198.51.100.%d", r.IntN(256)))
			texts[1].Append(fmt.Sprintf("user%04d@example.com", r.IntN(5000)))
			texts[2].Append(fmt.Sprintf("/v1/chat/completions?trace=%08x", r.Uint32()))
			texts[3].Append(fmt.Sprintf("%016x", r.Uint64()))
			texts[4].Append("completed request for " + fmt.Sprint(r.IntN(1<<20)))
			texts[5].Append("")
			for j := range nums {
				nums[j].Append(uint32(r.IntN(100 << (2 * j))))
			}
			for j := range tags {
				tags[j].Append(uint8(r.IntN(4)))
			}
		}
		all := []proto.InputColumn{{Name: "event_uid", Data: ids}, {Name: "time", Data: at}, {Name: "received_at", Data: received}}
		for i, w := range words {
			all = append(all, proto.InputColumn{Name: fmt.Sprintf("word_%d", i), Data: w})
		}
		for i := range texts {
			all = append(all, proto.InputColumn{Name: fmt.Sprintf("text_%d", i), Data: texts[i]})
		}
		for i := range nums {
			all = append(all, proto.InputColumn{Name: fmt.Sprintf("num_%d", i), Data: nums[i]})
		}
		for i := range tags {
			all = append(all, proto.InputColumn{Name: fmt.Sprintf("tag_%d", i), Data: tags[i]})
		}
		events = append(events, native(tb, all))
		raws = append(raws, native(tb, []proto.InputColumn{{Name: "event_uid", Data: ids}, {Name: "received_at", Data: received}, {Name: "source", Data: source}, {Name: "raw", Data: raw}}))
	}
	return events, raws
}

func native(tb testing.TB, columns []proto.InputColumn) []byte {
	for _, c := range columns {
		if p, ok := c.Data.(proto.Preparable); ok {
			if err := p.Prepare(); err != nil {
				tb.Fatal(err)
			}
		}
	}
	var b proto.Buffer
	block := proto.Block{Columns: len(columns), Rows: benchRows}
	if err := block.EncodeRawBlock(&b, 0, columns); err != nil {
		tb.Fatal(err)
	}
	return b.Buf
}

// cpu is the processor time a process has used, and the kernel's share of it.
func cpu(tb testing.TB, pid int) (all, kernel time.Duration) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		tb.Skipf("no /proc: %v", err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	var user, sys int64
	_, _ = fmt.Sscan(f[11], &user)
	_, _ = fmt.Sscan(f[12], &sys)
	return time.Duration(user+sys) * 10 * time.Millisecond, time.Duration(sys) * 10 * time.Millisecond
}

// plan is one way to store blocks.
type plan struct {
	name     string
	ddl      string // with the table's name as %s
	raw      bool
	blocks   int // per insert; zero is one
	settings map[string]any
}

func plans() []plan {
	events := func(settings string) string {
		return fmt.Sprintf(eventsDDL, "%s", strings.Join(eventColumns, ", "), settings)
	}
	raw := func(codec, settings string) string { return fmt.Sprintf(rawDDL, "%s", codec, settings) }
	return []plan{
		{name: "events/default", ddl: events("index_granularity = 8192")},
		{name: "events/recommended", ddl: events(clickhouse.TableSettings)},
		{name: "events/recommended-x4", ddl: events(clickhouse.TableSettings), blocks: 4},
		{name: "raw/default-lz4", ddl: raw("LZ4", "index_granularity = 8192"), raw: true},
		{name: "raw/recommended", ddl: raw(clickhouse.RawCodec, clickhouse.TableSettings+", "+clickhouse.RawTableSettings), raw: true},
		{name: "raw/recommended-x4", ddl: raw(clickhouse.RawCodec, clickhouse.TableSettings+", "+clickhouse.RawTableSettings), raw: true, blocks: 4},
	}
}

// BenchmarkInsertNative measures the engine's processor time per row, for the
// insert alone and with the merges that follow.
func BenchmarkInsertNative(b *testing.B) {
	e := embeddedtest.Engine(b)
	c, err := clickhouse.Open(context.Background(), e.DSN(embeddedtest.Admin))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	events, raws := blocks(b, 8)
	run := plans()
	if extra := os.Getenv("VAGUS_BENCH_PLANS"); extra != "" {
		run = morePlans()
	}
	for i, p := range run {
		b.Run(p.name, func(b *testing.B) { runPlan(b, c, e.PID(), i, p, events, raws) })
	}
}

func runPlan(b *testing.B, c *clickhouse.Client, pid, i int, p plan, events, raws [][]byte) {
	ctx, table, data := context.Background(), fmt.Sprintf("bench_%d_%d", i, b.N), events
	if p.raw {
		data = raws
	}
	if err := c.Exec(ctx, fmt.Sprintf(p.ddl, table)); err != nil {
		b.Fatal(err)
	}
	per := max(p.blocks, 1)
	before, kernelBefore := cpu(b, pid)
	b.ResetTimer()
	for n := 0; n < b.N; n += per {
		var body bytes.Buffer
		for k := range per {
			body.Write(data[(n+k)%len(data)])
		}
		in := clickhouse.Insert{Table: table, Token: fmt.Sprintf("%s-%d", table, n), Settings: p.settings}
		if err := c.InsertNative(ctx, in, &body); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	inserted, kernel := cpu(b, pid)
	wait(b, c)
	merged, _ := cpu(b, pid)
	rows := float64((b.N + per - 1) / per * per * benchRows)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/rows, "ns/row")
	b.ReportMetric(float64((inserted-before).Microseconds())/rows, "cpu-us/row")
	b.ReportMetric(float64((kernel-kernelBefore).Microseconds())/rows, "kernel-us/row")
	b.ReportMetric(float64((merged-before).Microseconds())/rows, "cpu+merges-us/row")
	var size float64
	var parts uint64
	if err := c.QueryRow(ctx, "SELECT toFloat64(sum(bytes_on_disk)) / greatest(sum(rows), 1), count() FROM system.parts WHERE active AND table = ?", table).Scan(&size, &parts); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(size, "disk-B/row")
	b.ReportMetric(float64(parts), "parts")
	b.ReportMetric(0, "ns/op")
	if err := c.Exec(ctx, "DROP TABLE "+table+" SYNC"); err != nil {
		b.Fatal(err)
	}
}

// wait returns when no merge has been seen for a while.
func wait(tb testing.TB, c *clickhouse.Client) {
	for quiet := 0; quiet < 6; quiet++ {
		var n uint64
		if err := c.QueryRow(context.Background(), "SELECT count() FROM system.merges").Scan(&n); err != nil {
			tb.Fatal(err)
		}
		if n > 0 {
			quiet = 0
		}
		time.Sleep(250 * time.Millisecond)
	}
}
