// Package clickhouse is the client the services use: SQL through clickhouse-go
// over HTTP, and pre-encoded Native blocks streamed in and out without being
// decoded. It works alike with the embedded engine and with any server.
package clickhouse

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"strings"
	"time"

	chgo "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Limits of the connection pool of one Client.
const (
	maxOpenConns = 16
	maxIdleConns = 8
)

// Client is a pool of connections to one server. It is safe for concurrent use.
type Client struct {
	conn driver.Conn
	addr string
	db   string
	raw  rawHTTP
}

// Open connects to the server that dsn names and asks for its version, so that
// a wrong address or password is found here. The DSN is
// `http://user:password@host:port/database` (or https); `clickhouse://` means
// the same over HTTP, with TLS if `?secure=true` is given. The port must be
// the server's HTTP port (8123, or 8443 with TLS, when left out); other query
// parameters are settings for every statement.
func Open(ctx context.Context, dsn string) (*Client, error) {
	opts, err := parseDSN(dsn)
	if err != nil {
		return nil, err
	}
	conn, err := chgo.Open(opts)
	if err != nil {
		return nil, fmt.Errorf("open clickhouse %s: %w", opts.Addr[0], err)
	}
	c := &Client{conn: conn, addr: opts.Addr[0], db: opts.Auth.Database, raw: newRawHTTP(opts)}
	if _, err := conn.ServerVersion(); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("open clickhouse %s: %w", c.addr, err)
	}
	if err := conn.Ping(ctx); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("open clickhouse %s: %w", c.addr, err)
	}
	return c, nil
}

// parseDSN never puts the DSN into an error: it holds a password.
func parseDSN(dsn string) (*chgo.Options, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return nil, errors.New("parse clickhouse DSN: not a URL; want http://user:password@host:8123/database")
	}
	q := u.Query()
	secure := u.Scheme == "https" || q.Get("secure") == "true"
	switch u.Scheme {
	case "http", "https", "clickhouse":
	default:
		return nil, fmt.Errorf("parse clickhouse DSN: scheme %q is not http, https or clickhouse", u.Scheme)
	}
	switch u.Port() {
	case "9000", "9440":
		return nil, fmt.Errorf("parse clickhouse DSN: port %s is the native protocol's; give the HTTP port (8123, or 8443 with TLS)", u.Port())
	}
	if u.Hostname() == "" {
		return nil, errors.New("parse clickhouse DSN: no host; want http://user:password@host:8123/database")
	}
	port := cmp.Or(u.Port(), map[bool]string{false: "8123", true: "8443"}[secure])
	password, _ := u.User.Password()
	settings := chgo.Settings{}
	for name := range q {
		if name != "secure" {
			settings[name] = q.Get(name)
		}
	}
	opts := &chgo.Options{
		Protocol: chgo.HTTP,
		Addr:     []string{joinHost(u.Hostname(), port)},
		Auth: chgo.Auth{
			Database: cmp.Or(strings.Trim(u.Path, "/"), "default"),
			Username: cmp.Or(u.User.Username(), "default"),
			Password: password,
		},
		Settings:        settings,
		DialTimeout:     10 * time.Second,
		ReadTimeout:     10 * time.Minute,
		MaxOpenConns:    maxOpenConns,
		MaxIdleConns:    maxIdleConns,
		ConnMaxLifetime: time.Hour,
	}
	if secure {
		opts.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return opts, nil
}

func joinHost(host, port string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]:" + port
	}
	return host + ":" + port
}

// Addr is the server's host and port.
func (c *Client) Addr() string { return c.addr }

// Database is the database that unqualified names mean.
func (c *Client) Database() string { return c.db }

// Conn is the clickhouse-go connection for what this type does not offer.
func (c *Client) Conn() driver.Conn { return c.conn }

// Close ends the pool.
func (c *Client) Close() error {
	c.raw.close()
	return c.conn.Close()
}

// Exec runs a statement without a result. Arguments fill `?`, `$1` or, as
// clickhouse.Named values, `@name`; parameters of the `{name:Type}` kind come
// with the context (clickhouse-go's WithParameters).
func (c *Client) Exec(ctx context.Context, sql string, args ...any) error {
	if err := c.conn.Exec(ctx, sql, args...); err != nil {
		return fmt.Errorf("exec on clickhouse: %w", err)
	}
	return nil
}

// Query runs a statement and returns its rows, which the caller closes.
func (c *Client) Query(ctx context.Context, sql string, args ...any) (driver.Rows, error) {
	rows, err := c.conn.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("query clickhouse: %w", err)
	}
	return rows, nil
}

// QueryRow runs a statement of one row; its error comes with Scan.
func (c *Client) QueryRow(ctx context.Context, sql string, args ...any) driver.Row {
	return c.conn.QueryRow(ctx, sql, args...)
}

// Insert says where pre-encoded blocks go.
type Insert struct {
	// Table is `table` or `database.table`, unquoted.
	Table string
	// Columns are the columns that any of the blocks has. A block may lack
	// some: they read as their defaults. Empty means all of the table's.
	Columns []string
	// Token makes a retry harmless: a repeated token inserts nothing, neither
	// into the table nor behind its materialized views. The table needs
	// non_replicated_deduplication_window (or be replicated), and so does
	// each view's target. Empty leaves deduplication to the server.
	Token string
	// Settings are further settings of this statement.
	Settings map[string]any
}

// InsertNative streams Native blocks of revision 0, one behind the other, from
// r into a table. It returns when they are stored. Nothing of what was sent is
// stored if r fails before 1,000,000 rows or 256 MB; beyond that the server
// may have stored the beginning, and a retry needs the same token and bytes.
func (c *Client) InsertNative(ctx context.Context, in Insert, r io.Reader) error {
	var sql strings.Builder
	sql.WriteString("INSERT INTO ")
	sql.WriteString(QuoteName(in.Table))
	if len(in.Columns) > 0 {
		for i, col := range in.Columns {
			sql.WriteString(map[bool]string{true: " (", false: ", "}[i == 0])
			sql.WriteString(quote(col))
		}
		sql.WriteByte(')')
	}
	settings := chgo.Settings{"async_insert": 0}
	if in.Token != "" {
		settings["insert_deduplicate"] = 1
		settings["insert_deduplication_token"] = in.Token
		settings["deduplicate_blocks_in_dependent_materialized_views"] = 1
	}
	maps.Copy(settings, in.Settings)
	ctx = chgo.Context(ctx, chgo.WithSettings(settings))
	if err := c.conn.InsertFormat(ctx, "Native", sql.String(), onlyReader{r}); err != nil {
		return fmt.Errorf("insert into clickhouse table %s: %w", in.Table, err)
	}
	return nil
}

// onlyReader hides other methods, so that no one closes the caller's reader.
type onlyReader struct{ io.Reader }

// QuoteName quotes `table` or `database.table` for use in SQL.
func QuoteName(name string) string {
	db, table, ok := strings.Cut(name, ".")
	if !ok {
		return quote(name)
	}
	return quote(db) + "." + quote(table)
}

func quote(s string) string {
	return "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(s) + "`"
}
