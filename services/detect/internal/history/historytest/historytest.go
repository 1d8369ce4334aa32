//go:build linux || darwin

// Package historytest gives tests a ClickHouse with the tables of events, and
// puts blocks into them as the store does. Only tests import it.
package historytest

import (
	"bytes"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	sql "github.com/vagus-hub/vagus/schemas/clickhouse"
	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/internal/clickhouse"
	"github.com/vagus-hub/vagus/services/internal/clickhouse/embedded/embeddedtest"
)

var (
	databases atomic.Int64
	ttl       = regexp.MustCompile(`(?m)^TTL .*\n`)
)

// Open makes a database of its own with the product's tables, without
// retention, in the shared embedded engine.
func Open(t testing.TB) *clickhouse.Client {
	t.Helper()
	e := embeddedtest.Engine(t)
	admin, err := clickhouse.Open(t.Context(), fmt.Sprintf("http://%s:%s@%s/default", embeddedtest.Admin, embeddedtest.Password, e.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close() }()
	db := fmt.Sprintf("history_%d", databases.Add(1))
	if err := admin.Exec(t.Context(), "CREATE DATABASE "+db); err != nil {
		t.Fatal(err)
	}
	c, err := clickhouse.Open(t.Context(), fmt.Sprintf("http://%s:%s@%s/%s", embeddedtest.Admin, embeddedtest.Password, e.Addr(), db))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	names, err := fs.Glob(sql.Files, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(sql.Files, name)
		if err != nil {
			t.Fatal(err)
		}
		for _, statement := range strings.Split(ttl.ReplaceAllString(string(text), ""), ";\n") {
			if strings.TrimSpace(comments.ReplaceAllString(statement, "")) == "" {
				continue
			}
			if err := c.Exec(t.Context(), statement); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	return c
}

var comments = regexp.MustCompile(`(?m)^--.*$`)

// Insert stores the payload of a message of EVENTS.
func Insert(t testing.TB, c *clickhouse.Client, payload []byte) {
	t.Helper()
	var b block.Block
	if err := block.Decode(payload, &b); err != nil {
		t.Fatal(err)
	}
	h, body, err := block.Split(payload)
	if err != nil {
		t.Fatal(err)
	}
	native, err := body.Native(nil)
	if err != nil {
		t.Fatal(err)
	}
	in := clickhouse.Insert{Table: "events_" + event.Family(h.Family).String()}
	for i := range event.Columns {
		if b.Column(event.ColumnID(i)) != nil {
			in.Columns = append(in.Columns, event.Columns[i].Name)
		}
	}
	if err := c.InsertNative(t.Context(), in, bytes.NewReader(native)); err != nil {
		t.Fatal(err)
	}
}

// Raise stores an alert as the store does, with what an analyst found it to be;
// "" means that nobody said so.
func Raise(t testing.TB, c *clickhouse.Client, a finding.Alert, v finding.Verdict) {
	t.Helper()
	err := c.Exec(t.Context(), "INSERT INTO alerts_log (uid, revision, status, rule, rule_version, level, title, reason, entity_type, entity_value, first_seen, last_seen, raised_at, event_uids)"+
		" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", a.UID, a.Revision, string(a.Status), a.Rule, a.Version, string(a.Level), a.Title, a.Reason,
		a.Entity.Type, a.Entity.Value, a.FirstSeen, a.LastSeen, a.RaisedAt, a.EventUIDs)
	if err == nil && v != "" {
		err = c.Exec(t.Context(), "INSERT INTO alert_dispositions (alert, rule, verdict, `by`, at) VALUES (?, ?, ?, 'test', ?)", a.UID, a.Rule, string(v), a.RaisedAt)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// DSN is how further clients reach the database of a client that Open made.
func DSN(c *clickhouse.Client) string {
	return fmt.Sprintf("http://%s:%s@%s/%s", embeddedtest.Reader, embeddedtest.Password, c.Addr(), c.Database())
}
