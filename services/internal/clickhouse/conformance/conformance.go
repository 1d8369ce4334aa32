// Package conformance is one suite of tests for everything that calls itself
// a ClickHouse server here: the embedded engine, and a real server when a DSN
// is given. What the product and its dashboards rely on is in it.
package conformance

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	chgo "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/vagus-hub/vagus/services/internal/clickhouse"
)

// Harness says what to test.
type Harness struct {
	// Admin is the DSN of an account that may do everything.
	Admin string
	// Reader is the DSN of a read-only account; empty leaves its tests out.
	Reader string
}

// suite is a harness with a database of its own.
type suite struct {
	Harness
	db     string
	client *clickhouse.Client
}

// Run runs the suite in a database that it creates and drops.
func Run(t *testing.T, h Harness) {
	t.Helper()
	var b [6]byte
	_, _ = rand.Read(b[:])
	s := &suite{Harness: h, db: "vagus_conformance_" + hex.EncodeToString(b[:])}
	admin, err := clickhouse.Open(t.Context(), h.Admin)
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.Exec(t.Context(), "CREATE DATABASE "+s.db); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := admin.Exec(context.Background(), "DROP DATABASE "+s.db); err != nil {
			t.Error(err)
		}
		_ = admin.Close()
	})
	if s.client, err = clickhouse.Open(t.Context(), s.dsn(h.Admin)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.client.Close() })
	t.Run("types", s.types)
	t.Run("parameters", s.parameters)
	t.Run("settings", s.settings)
	t.Run("compression", s.compression)
	t.Run("errors", s.errors)
	t.Run("http", s.http)
	t.Run("formats", s.formats)
	t.Run("auth", s.auth)
	t.Run("read only", s.readOnly)
	t.Run("insert", s.insert)
	t.Run("native", s.native)
	t.Run("dedup", s.dedup)
	t.Run("stream", s.stream)
	t.Run("cancel", s.cancel)
	t.Run("concurrency", s.concurrency)
	t.Run("external tables", s.external)
}

// dsn points a DSN at the suite's database.
func (s *suite) dsn(dsn string) string {
	u, err := url.Parse(dsn)
	if err != nil {
		return dsn
	}
	u.Path = "/" + s.db
	return u.String()
}

// open connects with changed options.
func (s *suite) open(t *testing.T, change func(*chgo.Options)) chgo.Conn {
	t.Helper()
	u, err := url.Parse(s.Admin)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	opts := &chgo.Options{
		Protocol: chgo.HTTP, Addr: []string{u.Host},
		Auth: chgo.Auth{Database: s.db, Username: u.User.Username(), Password: password},
	}
	change(opts)
	conn, err := chgo.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// exec runs statements that must succeed.
func (s *suite) exec(t *testing.T, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if err := s.client.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// text runs a query that must succeed and returns its result as TSV.
func (s *suite) text(t *testing.T, sql string) string {
	t.Helper()
	a := s.do(t, s.Admin, call{body: sql})
	if a.status != http.StatusOK {
		t.Fatalf("%s: status %d: %s", sql, a.status, a.body)
	}
	return strings.TrimSuffix(a.body, "\n")
}

// call is one plain HTTP request.
type call struct {
	method string
	path   string
	args   map[string]string
	body   string
	header map[string]string
	anon   bool // without the DSN's credentials
}

type answer struct {
	status int
	body   string
	header http.Header
}

func (s *suite) do(t *testing.T, dsn string, c call) answer {
	t.Helper()
	res := s.send(t, dsn, c)
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, string(b), res.Header}
}

func (s *suite) send(t *testing.T, dsn string, c call) *http.Response {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	q := url.Values{"database": {s.db}}
	for k, v := range c.args {
		q.Set(k, v)
	}
	user := u.User
	u.User, u.Path, u.RawQuery = nil, "/"+strings.TrimPrefix(c.path, "/"), q.Encode()
	if c.method == "" {
		c.method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(t.Context(), c.method, u.String(), strings.NewReader(c.body))
	if err != nil {
		t.Fatal(err)
	}
	if !c.anon {
		password, _ := user.Password()
		req.SetBasicAuth(user.Username(), password)
	}
	for k, v := range c.header {
		req.Header.Set(k, v)
	}
	// No transparent decompression: what travels is what is tested.
	client := &http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return res
}
