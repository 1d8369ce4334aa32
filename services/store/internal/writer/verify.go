package writer

import (
	"context"
	"fmt"

	"github.com/vagus-hub/vagus/services/internal/clickhouse"
)

// keys tell the rows of a table apart; the time column bounds the search.
var keys = map[string]struct{ key, time string }{
	"raw":          {"event_uid", "received_at"},
	"dead_letters": {"(event_uid, seq)", "received_at"},
	"alerts_log":   {"(uid, revision, status, unmuted_at)", "raised_at"},
	"run_steps":    {"(run, seq)", "at"},
	"incidents":    {"(uid, revision)", "first_seen"},

	"alert_dispositions": {"(alert, at)", "at"},
	"ledger":             {"(stage, source, seq)", "at"},
}

// verify makes sure that the rows are in the table, after an insert that may
// have met a crash of ClickHouse. ClickHouse writes the token down before the
// part is in place: killed in between, it refuses the repetition of rows that
// it does not have. What is missing is inserted then.
func (w *Writer) verify(ctx context.Context, table string, items []item) error {
	k, ok := keys[table]
	if !ok {
		k.key, k.time = "event_uid", "time"
	}
	staging := "redo_" + table
	if err := w.o.DB.Exec(ctx, "DROP TABLE IF EXISTS "+staging+" SYNC"); err != nil {
		return err
	}
	if err := w.o.DB.Exec(ctx, "CREATE TABLE "+staging+" ENGINE = Memory AS SELECT * FROM "+table+" LIMIT 0"); err != nil {
		return err
	}
	defer func() { _ = w.o.DB.Exec(context.WithoutCancel(ctx), "DROP TABLE IF EXISTS "+staging+" SYNC") }()
	if err := w.o.DB.InsertNative(ctx, clickhouse.Insert{Table: staging, Settings: w.o.Settings}, &reader{items: items}); err != nil {
		return err
	}
	from, to := items[0].from, items[0].to
	for _, it := range items {
		from, to = min(from, it.from), max(to, it.to)
	}
	missing := fmt.Sprintf("FROM %s WHERE %s NOT IN (SELECT %s FROM %s WHERE %s IN (SELECT %s FROM %s)", staging, k.key, k.key, table, k.key, k.key, staging)
	if from > 0 {
		missing += fmt.Sprintf(" AND %s >= fromUnixTimestamp64Milli(%d) AND %s <= fromUnixTimestamp64Milli(%d)", k.time, from, k.time, to)
	}
	missing += ")"
	rows, err := w.o.DB.Query(ctx, "SELECT count() "+missing)
	if err != nil {
		return err
	}
	var n uint64
	for rows.Next() {
		err = rows.Scan(&n)
	}
	if cerr := rows.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = rows.Err()
	}
	if err != nil || n == 0 {
		return err
	}
	w.log.Warn("rows were lost in a crash of ClickHouse, adding them", "table", table, "rows", n)
	w.o.Metrics.Repairs.Add(float64(n), table)
	if err := w.o.DB.Exec(ctx, "INSERT INTO "+table+" SELECT * "+missing+" SETTINGS insert_deduplicate = 0"); err != nil {
		return err
	}
	return nil
}
