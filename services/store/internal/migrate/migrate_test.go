package migrate

import (
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	sqlfiles "github.com/vagus-hub/vagus/schemas/clickhouse"
	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/internal/clickhouse"
	"github.com/vagus-hub/vagus/services/internal/clickhouse/embedded/embeddedtest"
)

func TestMain(m *testing.M) { os.Exit(embeddedtest.Main(m)) }

var days = map[string]int{"events": 30, "raw": 7, "dead": 30, "alerts": 365, "runs": 365, "ledger": 90, "rollups": 365}

func TestLoadShippedFiles(t *testing.T) {
	list, err := Load(sqlfiles.Files, days)
	if err != nil {
		t.Fatal(err)
	}
	tables := map[string]Table{}
	for _, m := range list {
		for _, x := range m.Tables {
			tables[x.Name] = x
		}
	}
	for i, family := range event.FamilyNames {
		want := 0
		for _, c := range event.Columns {
			if c.Families.Has(event.Family(i)) {
				want++
			}
		}
		got := tables["events_"+family]
		if len(got.Columns) != want || got.TTL != "toDateTime(time) + INTERVAL 30 DAY DELETE" {
			t.Errorf("events_%s: %d columns, want %d; TTL %q", family, len(got.Columns), want, got.TTL)
		}
	}
	if c := tables["ledger"].Columns; len(c) != 10 || c[0].Name != "stage" {
		t.Errorf("ledger: %+v", c)
	}
}

func TestLoadRefuses(t *testing.T) {
	for name, files := range map[string]fstest.MapFS{
		"no number":    {"core.sql": {}},
		"twice":        {"0001_a.sql": {}, "0001_b.sql": {}},
		"unknown days": {"0001_a.sql": {Data: []byte("TTL t + INTERVAL {ttl_other_days} DAY")}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Load(files, days); err == nil {
				t.Error("taken")
			}
		})
	}
}

func TestStatements(t *testing.T) {
	got := statements("-- a; comment;\nCREATE x\n(\n  y COMMENT 'one; two'\n);\n\nSELECT 1;\nSELECT 2")
	want := []string{"CREATE x\n(\n  y COMMENT 'one; two'\n)", "SELECT 1", "SELECT 2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestUpgrade: a newer file adds a column and changes the retention; rows stay.
func TestUpgrade(t *testing.T) {
	e := embeddedtest.Engine(t)
	c, err := clickhouse.Open(t.Context(), e.DSN(embeddedtest.Admin))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	log := slog.New(slog.DiscardHandler)
	first := "CREATE TABLE IF NOT EXISTS upgraded\n(\n    at DateTime COMMENT 'when',\n    text String CODEC(ZSTD(1))\n)\nENGINE = MergeTree\nORDER BY at\nTTL at + INTERVAL {ttl_events_days} DAY DELETE;\n"
	second := strings.Replace(first, "    text", "    `new` LowCardinality(String) COMMENT 'it; is new',\n    text", 1) +
		"CREATE VIEW IF NOT EXISTS upgraded_view AS SELECT new FROM upgraded;\n"
	core, err := sqlfiles.Files.ReadFile("0001_core.sql")
	if err != nil {
		t.Fatal(err)
	}
	for i, step := range []struct {
		sql  string
		days int
	}{{first, 3650}, {first, 3650}, {second, 1825}, {second, 1825}} {
		ttl := map[string]int{"events": step.days, "raw": 7, "dead": 30}
		list, err := Load(fstest.MapFS{"0001_core.sql": {Data: core}, "0009_x.sql": {Data: []byte(step.sql)}}, ttl)
		if err != nil {
			t.Fatal(err)
		}
		if err := Run(t.Context(), c, list, log); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		if i == 0 {
			if err := c.Exec(t.Context(), "INSERT INTO upgraded VALUES (now(), 'kept')"); err != nil {
				t.Fatal(err)
			}
		}
	}
	var text, created string
	if err := c.QueryRow(t.Context(), "SELECT text FROM upgraded WHERE new = ''").Scan(&text); err != nil || text != "kept" {
		t.Errorf("%q %v", text, err)
	}
	if err := c.QueryRow(t.Context(), "SELECT create_table_query FROM system.tables WHERE name = 'upgraded' AND database = currentDatabase()").Scan(&created); err != nil || !strings.Contains(created, "1825") {
		t.Errorf("%s %v", created, err)
	}
}
