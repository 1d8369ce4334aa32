package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	chgo "github.com/ClickHouse/clickhouse-go/v2"
)

func TestParseDSN(t *testing.T) {
	for name, c := range map[string]struct{ dsn, addr, db, user, err string }{
		"whole":       {dsn: "http://u:p@192.0.2.1:8123/db?max_threads=2", addr: "192.0.2.1:8123", db: "db", user: "u"},
		"short":       {dsn: "http://example.com", addr: "example.com:8123", db: "default", user: "default"},
		"clickhouse":  {dsn: "clickhouse://u@example.com/x", addr: "example.com:8123", db: "x", user: "u"},
		"secure":      {dsn: "clickhouse://u@example.com/x?secure=true", addr: "example.com:8443", db: "x", user: "u"},
		"ipv6":        {dsn: "https://[2001:db8::1]:444/", addr: "[2001:db8::1]:444", db: "default", user: "default"},
		"native port": {dsn: "clickhouse://secret:secret@example.com:9000", err: "HTTP port"},
		"scheme":      {dsn: "tcp://secret:secret@example.com", err: "scheme"},
		"no host":     {dsn: "http:///secret", err: "no host"},
		"no URL":      {dsn: "http://secret:se cret@\x00", err: "not a URL"},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := parseDSN(c.dsn)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "secret") {
					t.Errorf("want an error with %q and without the password, got %v", c.err, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if o.Addr[0] != c.addr || o.Auth.Database != c.db || o.Auth.Username != c.user || (o.TLS != nil) != (strings.HasPrefix(c.dsn, "https") || strings.Contains(c.dsn, "secure")) {
				t.Errorf("%+v", o)
			}
		})
	}
}

func TestIsRetryable(t *testing.T) {
	code := func(n int32) error { return fmt.Errorf("x: %w", &chgo.Exception{Code: n}) }
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"nil":           {nil, false},
		"syntax":        {code(62), false},
		"unknown table": {&chgo.HTTPError{StatusCode: 404, Err: code(60)}, false},
		"memory":        {code(CodeMemoryLimitExceeded), true},
		"parts":         {&chgo.HTTPError{StatusCode: 500, Err: code(CodeTooManyParts)}, true},
		"bad gateway":   {&chgo.HTTPError{StatusCode: 502, Err: errors.New("x")}, true},
		"forbidden":     {&chgo.HTTPError{StatusCode: 403, Err: errors.New("x")}, false},
		"cut":           {fmt.Errorf("x: %w", io.ErrUnexpectedEOF), true},
		"cancelled":     {fmt.Errorf("x: %w", context.Canceled), false},
		"deadline":      {fmt.Errorf("x: %w", context.DeadlineExceeded), false},
		"other":         {errors.New("x"), false},
	} {
		if got := IsRetryable(c.err); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestResultHoldsBackErrors(t *testing.T) {
	const tag = "0123456789abcdef"
	frame := "\r\n__exception__\r\n" + tag + "\r\nCode: 395. DB::Exception: late. (X)\n36 " + tag + "\r\n__exception__\r\n"
	data := strings.Repeat("some data ", 50_000)
	for name, c := range map[string]struct {
		body string
		want string
		code int
	}{
		"whole":           {data, data, 0},
		"empty":           {"", "", 0},
		"short":           {"x", "x", 0},
		"failed":          {data + frame, data, 395},
		"failed at once":  {frame, "", 395},
		"someone's frame": {data + strings.ReplaceAll(frame, tag, "ffffffffffffffff"), data + strings.ReplaceAll(frame, tag, "ffffffffffffffff"), 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := &result{body: io.NopCloser(strings.NewReader(c.body)), mark: []byte("\r\n__exception__\r\n" + tag)}
			b, err := io.ReadAll(r)
			if string(b) != c.want || Code(err) != c.code || c.code == 0 && err != nil {
				t.Errorf("%d bytes, want %d; %v", len(b), len(c.want), err)
			}
		})
	}
}
