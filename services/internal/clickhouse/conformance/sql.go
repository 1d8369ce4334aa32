package conformance

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	chgo "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"sync"

	"github.com/vagus-hub/vagus/services/internal/clickhouse"
)

// allTypes is a row of the types that the schema uses, and some more.
type allTypes struct {
	ID      uuid.UUID         `ch:"id"`
	At      time.Time         `ch:"at"`
	Day     time.Time         `ch:"day"`
	Text    string            `ch:"text"`
	Code    string            `ch:"code"`
	Level   int8              `ch:"level"`
	Count   uint64            `ch:"count"`
	Neg     int64             `ch:"neg"`
	Ratio   float64           `ch:"ratio"`
	OK      bool              `ch:"ok"`
	Maybe   *string           `ch:"maybe"`
	Nothing *uint32           `ch:"nothing"`
	Tags    []string          `ch:"tags"`
	Attrs   map[string]string `ch:"attrs"`
	V4      netip.Addr        `ch:"v4"`
	V6      netip.Addr        `ch:"v6"`
	Fixed   string            `ch:"fixed"`
	Kind    string            `ch:"kind"`
	Vector  []float32         `ch:"vector"`
}

const allTypesDDL = `CREATE TABLE all_types (
	id UUID, at DateTime64(3, 'UTC'), day Date, text String, code LowCardinality(String), level Int8, count UInt64,
	neg Int64, ratio Float64, ok Bool, maybe Nullable(String), nothing Nullable(UInt32), tags Array(LowCardinality(String)),
	attrs Map(LowCardinality(String), String), v4 IPv4, v6 IPv6, fixed FixedString(4), kind Enum8('a' = 1, 'b' = 2), vector Array(Float32)
) ENGINE = MergeTree ORDER BY (at, id)`

func (s *suite) types(t *testing.T) {
	s.exec(t, allTypesDDL)
	ctx := t.Context()
	batch, err := s.client.Conn().PrepareBatch(ctx, "INSERT INTO all_types")
	if err != nil {
		t.Fatal(err)
	}
	maybe := "some\x00thing"
	var want []allTypes
	for i := range 3 {
		row := allTypes{
			ID: uuid.MustParse(fmt.Sprintf("0198c0de-0000-8000-8000-00000000000%d", i)),
			At: time.Date(2026, 3, 1, 12, 0, i, 123e6, time.UTC), Day: time.Date(2026, 3, 1+i, 0, 0, 0, 0, time.UTC),
			Text: "quote ' \" \\ ; FORMAT Native\n\x00\xff", Code: []string{"", "x", "y"}[i], Level: int8(-i), Count: 1<<63 + uint64(i),
			Neg: -1 << 62, Ratio: 0.25 * float64(i), OK: i == 1, Tags: []string{"a", "b"}[:i%3], Attrs: map[string]string{"k": "v"},
			V4: netip.MustParseAddr("192.0.2.1"), V6: netip.MustParseAddr("2001:db8::1"), Fixed: "abcd", Kind: []string{"a", "b", "a"}[i],
			Vector: []float32{1, 2.5},
		}
		if i == 1 {
			row.Maybe = &maybe
		}
		if row.Tags == nil {
			row.Tags = []string{}
		}
		want = append(want, row)
		if err := batch.AppendStruct(&row); err != nil {
			t.Fatal(err)
		}
	}
	if err := batch.Send(); err != nil {
		t.Fatal(err)
	}
	var got []allTypes
	if err := s.client.Conn().Select(ctx, &got, "SELECT * FROM all_types ORDER BY at"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("rows differ (-want +got):\n%s", diff)
	}
	var n uint64
	if err := s.client.QueryRow(ctx, "SELECT count() FROM all_types WHERE 0").Scan(&n); err != nil || n != 0 {
		t.Errorf("count of nothing: %d, %v", n, err)
	}
	rows, err := s.client.Query(ctx, "SELECT id FROM all_types WHERE 0")
	if err != nil {
		t.Fatal(err)
	}
	if rows.Next() || rows.Err() != nil {
		t.Errorf("an empty result has a row, or an error: %v", rows.Err())
	}
	_ = rows.Close()
}

func (s *suite) parameters(t *testing.T) {
	ctx := t.Context()
	nasty := "a'b\\c;--\"`{x}\n\t?"
	scan := func(row driver.Row) string {
		t.Helper()
		var got string
		if err := row.Scan(&got); err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := scan(s.client.QueryRow(ctx, "SELECT ?", nasty)); got != nasty {
		t.Errorf("positional: %q", got)
	}
	if got := scan(s.client.QueryRow(ctx, "SELECT $1 || $2", "x", nasty)); got != "x"+nasty {
		t.Errorf("numbered: %q", got)
	}
	if got := scan(s.client.QueryRow(ctx, "SELECT @v", chgo.Named("v", nasty))); got != nasty {
		t.Errorf("named: %q", got)
	}
	pctx := chgo.Context(ctx, chgo.WithParameters(chgo.Parameters{"v": "it's", "n": "7", "t": "system", "l": "['a','b']"}))
	if got := scan(s.client.QueryRow(pctx, "SELECT {v:String} || toString({n:UInt8} + 1) || toString(length({l:Array(String)}))")); got != "it's82" {
		t.Errorf("bound: %q", got)
	}
	if got := scan(s.client.QueryRow(pctx, "SELECT toString(count()) FROM {t:Identifier}.one")); got != "1" {
		t.Errorf("identifier: %q", got)
	}
	a := s.do(t, s.Admin, call{args: map[string]string{"query": "SELECT {a:String}, {b:UInt32}", "param_a": "x\\'y", "param_b": "42"}})
	if a.body != "x\\'y\t42\n" {
		t.Errorf("over HTTP: %d %q", a.status, a.body)
	}
	a = s.do(t, s.Admin, call{body: "SELECT {missing:String}"})
	if a.status == 200 {
		t.Errorf("a missing parameter was taken: %q", a.body)
	}
}

func (s *suite) settings(t *testing.T) {
	ctx := chgo.Context(t.Context(), chgo.WithSettings(chgo.Settings{"max_threads": 1, "max_block_size": 7}))
	var threads uint64
	if err := s.client.QueryRow(ctx, "SELECT toUInt64(getSetting('max_threads')) + toUInt64(getSetting('max_block_size'))").Scan(&threads); err != nil || threads != 8 {
		t.Errorf("settings of the context: %d, %v", threads, err)
	}
	if got := s.text(t, "SELECT getSetting('max_block_size') = 7"); got != "0" {
		t.Errorf("a setting outlived its statement: %s", got)
	}
	s.exec(t, "SET max_block_size = 9")
	if got := s.text(t, "SELECT getSetting('max_block_size') = 9"); got != "0" {
		t.Errorf("SET outlived its request: %s", got)
	}
	for name, args := range map[string]map[string]string{
		"unknown":   {"no_such_setting": "1"},
		"malformed": {"x; DROP TABLE y": "1"},
	} {
		args["query"] = "SELECT 1"
		if a := s.do(t, s.Admin, call{args: args}); a.status != 404 || a.header.Get("X-ClickHouse-Exception-Code") != "115" {
			t.Errorf("%s setting: %d %s", name, a.status, a.body)
		}
	}
	a := s.do(t, s.Admin, call{args: map[string]string{"query": "SELECT sum(number) FROM numbers(100000000000)", "max_execution_time": "1", "timeout_overflow_mode": "throw"}})
	if a.header.Get("X-ClickHouse-Exception-Code") != "159" {
		t.Errorf("max_execution_time: %d %s", a.status, a.body)
	}
}

func (s *suite) errors(t *testing.T) {
	for name, c := range map[string]struct {
		sql    string
		code   int
		status int
	}{
		"syntax":           {"SELEC 1 FORM", 62, 400},
		"table":            {"SELECT * FROM no_such_table", 60, 404},
		"database":         {"SELECT * FROM no_such_db.x", 81, 404},
		"identifier":       {"SELECT no_such_column", 47, 404},
		"function":         {"SELECT noSuchFunction(1)", 46, 404},
		"format":           {"SELECT 1 FORMAT NoSuchFormat", 73, 404},
		"throw":            {"SELECT throwIf(number = 3) FROM numbers(5)", 395, 500},
		"table exists":     {"CREATE TABLE all_types (a Int8) ENGINE = Memory", 57, 500},
		"many statements":  {"SELECT 1; SELECT 2", 62, 400},
		"insert no table":  {"INSERT INTO no_such_table VALUES (1)", 60, 404},
		"insert no column": {"INSERT INTO all_types (nope) VALUES (1)", 16, 500},
		"empty":            {" -- nothing\n", 62, 400},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.do(t, s.Admin, call{body: c.sql})
			if got := a.header.Get("X-ClickHouse-Exception-Code"); got != fmt.Sprint(c.code) || a.status != c.status {
				t.Errorf("status %d, code %s, body %s", a.status, got, a.body)
			}
			if want := fmt.Sprintf("Code: %d. DB::Exception: ", c.code); len(a.body) < len(want) || a.body[:len(want)] != want {
				t.Errorf("body %q does not begin with %q", a.body, want)
			}
			if err := s.client.Exec(t.Context(), c.sql); clickhouse.Code(err) != c.code || clickhouse.IsRetryable(err) {
				t.Errorf("client: code %d, retryable %v, %v", clickhouse.Code(err), clickhouse.IsRetryable(err), err)
			}
		})
	}
}

func (s *suite) concurrency(t *testing.T) {
	s.exec(t, "CREATE TABLE conc (w UInt32, n UInt32, s String) ENGINE = MergeTree ORDER BY (w, n)")
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for n := range 5 {
				if err := s.client.Exec(t.Context(), "INSERT INTO conc VALUES (?, ?, ?)", w, n, fmt.Sprintf("%d;%d'", w, n)); err != nil {
					t.Error(err)
				}
				var got uint64
				ctx := chgo.Context(t.Context(), chgo.WithSettings(chgo.Settings{"max_block_size": 100 + w}))
				if err := s.client.QueryRow(ctx, "SELECT toUInt64(getSetting('max_block_size')) + sleep(0.02)").Scan(&got); err != nil || got != uint64(100+w) {
					t.Errorf("worker %d sees the setting %d, %v", w, got, err)
				}
			}
		})
	}
	wg.Wait()
	if got := s.text(t, "SELECT count(), uniqExact(w, n) FROM conc"); got != "40\t40" {
		t.Errorf("rows: %s", got)
	}
}

func (s *suite) external(t *testing.T) {
	table, err := newExternal()
	if err != nil {
		t.Fatal(err)
	}
	var got uint64
	ctx := chgo.Context(t.Context(), chgo.WithExternalTable(table))
	if err := s.client.QueryRow(ctx, "SELECT sum(n) FROM ext WHERE s LIKE 'x%'").Scan(&got); err != nil || got != 3 {
		t.Errorf("sum over the external table: %d, %v", got, err)
	}
}
