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
