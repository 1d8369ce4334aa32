package conformance

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	chgo "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/ext"
	"github.com/klauspost/compress/zstd"
)

func newExternal() (*ext.Table, error) {
	table, err := ext.NewTable("ext", ext.Column("n", "UInt64"), ext.Column("s", "String"))
	if err != nil {
		return nil, err
	}
	for i, v := range []string{"x1", "x;2", "y\x00"} {
		if err := table.Append(uint64(i+1), v); err != nil {
			return nil, err
		}
	}
	return table, nil
}

func (s *suite) http(t *testing.T) {
	for name, c := range map[string]struct {
		call
		want string
	}{
		"ping":               {call{method: "GET", path: "/ping", anon: true}, "Ok.\n"},
		"replicas":           {call{method: "GET", path: "/replicas_status", anon: true}, "Ok.\n"},
		"query in URL":       {call{method: "GET", args: map[string]string{"query": "SELECT 1, 'a'"}}, "1\ta\n"},
		"query in body":      {call{body: "SELECT 2;"}, "2\n"},
		"query in both":      {call{args: map[string]string{"query": "SELECT 1 +"}, body: " 2"}, "3\n"},
		"default format":     {call{args: map[string]string{"default_format": "JSONCompactEachRow"}, body: "SELECT 1, 'x'"}, "[1, \"x\"]\n"},
		"format wins":        {call{args: map[string]string{"default_format": "JSON"}, body: "SELECT 1 FORMAT CSV"}, "1\n"},
		"database":           {call{args: map[string]string{"database": "system"}, body: "SELECT currentDatabase()"}, "system\n"},
		"show":               {call{args: map[string]string{"database": "system"}, body: "SHOW TABLES LIKE 'one'"}, "one\n"},
		"describe":           {call{body: "DESCRIBE system.one FORMAT TSV"}, "dummy\tUInt8\t\t\t\t\t\n"},
		"exists":             {call{body: "EXISTS TABLE system.one"}, "1\n"},
		"explain":            {call{body: "SELECT count() > 0 FROM (EXPLAIN AST SELECT 1)"}, "1\n"},
		"with":               {call{body: "WITH 5 AS x SELECT x"}, "5\n"},
		"parentheses":        {call{body: "(SELECT 1) UNION ALL (SELECT 1)"}, "1\n1\n"},
		"comment before":     {call{body: "-- hello; 'x\n/* ; */ SELECT 1"}, "1\n"},
		"semicolon quoted":   {call{body: "SELECT ';', `a;b` FROM (SELECT 1 AS `a;b`)"}, ";\t1\n"},
		"user in URL":        {call{}, ""},
		"totals":             {call{body: "SELECT number % 2 AS k, count() FROM numbers(4) GROUP BY k WITH TOTALS ORDER BY k FORMAT CSV"}, "0,2\n1,2\n\n0,4\n"},
		"wait for the end":   {call{args: map[string]string{"wait_end_of_query": "1"}, body: "SELECT count() FROM numbers(10)"}, "10\n"},
		"statement in lower": {call{body: "select 1 format tsv"}, "1\n"},
	} {
		if name == "user in URL" {
			u, _ := url.Parse(s.Admin)
			password, _ := u.User.Password()
			c.call, c.want = call{anon: true, args: map[string]string{"user": u.User.Username(), "password": password}, body: "SELECT 7"}, "7\n"
		}
		t.Run(name, func(t *testing.T) {
			if a := s.do(t, s.Admin, c.call); a.status != http.StatusOK || a.body != c.want {
				t.Errorf("status %d, body %q, want %q", a.status, a.body, c.want)
			}
		})
	}
	t.Run("greeting", func(t *testing.T) {
		u, _ := url.Parse(s.Admin)
		res, err := http.Get("http://" + u.Host + "/")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		if b, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK || string(b) != "Ok.\n" {
			t.Errorf("%d %q", res.StatusCode, b)
		}
	})
	t.Run("headers", func(t *testing.T) {
		a := s.do(t, s.Admin, call{args: map[string]string{"query_id": "my-id", "default_format": "JSON"}, body: "SELECT number FROM numbers(10)"})
		for name, want := range map[string]string{"X-ClickHouse-Query-Id": "my-id", "X-ClickHouse-Format": "JSON", "Content-Type": "application/json; charset=UTF-8"} {
			if got := a.header.Get(name); !strings.EqualFold(got, want) {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		var sum map[string]string
		if err := json.Unmarshal([]byte(a.header.Get("X-ClickHouse-Summary")), &sum); err != nil || sum["read_rows"] == "" {
			t.Errorf("summary %q: %v", a.header.Get("X-ClickHouse-Summary"), err)
		}
	})
	t.Run("GET does not change", func(t *testing.T) {
		a := s.do(t, s.Admin, call{method: "GET", args: map[string]string{"query": "CREATE TABLE by_get (a Int8) ENGINE = Memory"}})
		if a.header.Get("X-ClickHouse-Exception-Code") != "164" {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	t.Run("long text", func(t *testing.T) {
		sql := "SELECT length('" + strings.Repeat("x", 200_000) + "')"
		if a := s.do(t, s.Admin, call{body: sql}); a.body != "200000\n" {
			t.Errorf("%d %.200s", a.status, a.body)
		}
	})
}

// formats checks that results of every shape end as they should.
func (s *suite) formats(t *testing.T) {
	for _, format := range []string{"JSON", "JSONCompact", "JSONEachRow", "CSVWithNames", "TabSeparatedWithNamesAndTypes", "XML", "Markdown", "Vertical", "RowBinaryWithNamesAndTypes", "Parquet"} {
		t.Run(format, func(t *testing.T) {
			for _, n := range []string{"0", "3", "200000"} {
				a := s.do(t, s.Admin, call{args: map[string]string{"default_format": format}, body: "SELECT number, toString(number) AS s FROM numbers(" + n + ")"})
				if a.status != http.StatusOK {
					t.Fatalf("%s rows: %d %s", n, a.status, a.body)
				}
				if format == "CSVWithNames" || format == "TabSeparatedWithNamesAndTypes" {
					if got := strings.Count(a.body, "number"); got != 1 {
						t.Errorf("%s rows: %d headers", n, got)
					}
				}
				if format != "JSON" {
					continue
				}
				var doc struct {
					Rows int
					Data []map[string]any
					Meta []map[string]string
				}
				if err := json.Unmarshal([]byte(a.body), &doc); err != nil || doc.Rows != len(doc.Data) || len(doc.Meta) != 2 {
					t.Errorf("%s rows: not a whole document: rows %d of %d, %v", n, doc.Rows, len(doc.Data), err)
				}
			}
		})
	}
}

func (s *suite) auth(t *testing.T) {
	u, _ := url.Parse(s.Admin)
	name := u.User.Username()
	password, _ := u.User.Password()
	for title, c := range map[string]struct {
		header map[string]string
		args   map[string]string
		status int
	}{
		"headers":        {header: map[string]string{"X-ClickHouse-User": name, "X-ClickHouse-Key": password}, status: 200},
		"wrong password": {header: map[string]string{"X-ClickHouse-User": name, "X-ClickHouse-Key": password + "x"}, status: 403},
		"unknown user":   {header: map[string]string{"X-ClickHouse-User": "nobody", "X-ClickHouse-Key": password}, status: 403},
		"URL wrong":      {args: map[string]string{"user": name, "password": "no"}, status: 403},
	} {
		t.Run(title, func(t *testing.T) {
			a := s.do(t, s.Admin, call{anon: true, header: c.header, args: c.args, body: "SELECT 1"})
			if a.status != c.status {
				t.Errorf("status %d, want %d: %s", a.status, c.status, a.body)
			}
			if c.status != 200 && a.header.Get("X-ClickHouse-Exception-Code") != "516" {
				t.Errorf("code %s: %s", a.header.Get("X-ClickHouse-Exception-Code"), a.body)
			}
		})
	}
}

func (s *suite) readOnly(t *testing.T) {
	if s.Reader == "" {
		t.Skip("no read-only account given")
	}
	s.exec(t, "CREATE TABLE ro (a Int32) ENGINE = MergeTree ORDER BY a", "INSERT INTO ro VALUES (1)")
	for _, sql := range []string{"SELECT count() FROM ro", "WITH 1 AS x SELECT x FROM ro", "SHOW CREATE TABLE ro", "DESCRIBE ro", "EXISTS ro", "EXPLAIN SELECT * FROM ro", "SELECT 1 SETTINGS max_threads = 1"} {
		if a := s.do(t, s.Reader, call{body: sql}); a.status != 200 {
			t.Errorf("%s: %d %s", sql, a.status, a.body)
		}
	}
	for _, c := range []call{
		{body: "INSERT INTO ro VALUES (2)"}, {body: "INSERT INTO ro SELECT 2"}, {body: "INSERT INTO ro FORMAT CSV\n2\n"},
		{body: "DROP TABLE ro"}, {body: "ALTER TABLE ro DELETE WHERE 1"}, {body: "CREATE TABLE ro2 (a Int8) ENGINE = Memory"},
		{body: "TRUNCATE TABLE ro"}, {body: "OPTIMIZE TABLE ro"}, {body: "SYSTEM STOP MERGES"}, {body: "CREATE TEMPORARY TABLE x (a Int8)"},
		{body: "/* SELECT */ DROP TABLE ro"}, {body: "SELECT 1; DROP TABLE ro"}, {body: "EXPLAIN SELECT 1; DROP TABLE ro"},
		{body: "DROP TABLE ro", args: map[string]string{"readonly": "0"}}, {body: "SELECT 1", args: map[string]string{"readonly": "0"}},
		{body: "SELECT 1 SETTINGS readonly = 0"}, {body: "SET readonly = 0"}, {body: "KILL QUERY WHERE 1"},
		{body: "SELECT * FROM file('/etc/passwd', 'LineAsString')"}, {body: "SELECT file('/etc/passwd')"}, {body: "SELECT * FROM url('http://192.0.2.1/', 'LineAsString')"},
		{body: "SELECT * APPLY file FROM (SELECT '/etc/passwd')"}, {body: "SELECT * APPLY(`file`) FROM (SELECT '/etc/passwd')"},
	} {
		if a := s.do(t, s.Reader, c); a.status == 200 {
			t.Errorf("%s %v: allowed: %q", c.body, c.args, a.body)
		}
	}
	if got := s.text(t, "SELECT groupArray(a) FROM ro"); got != "[1]" {
		t.Errorf("the table was changed: %s", got)
	}
}

func (s *suite) compression(t *testing.T) {
	s.exec(t, "CREATE TABLE comp (k String, n UInt64, s String) ENGINE = MergeTree ORDER BY (k, n)")
	for name, method := range map[string]chgo.CompressionMethod{
		"none": chgo.CompressionNone, "lz4": chgo.CompressionLZ4, "zstd": chgo.CompressionZSTD,
		"gzip": chgo.CompressionGZIP, "deflate": chgo.CompressionDeflate, "br": chgo.CompressionBrotli,
	} {
		t.Run("client "+name, func(t *testing.T) {
			conn := s.open(t, func(o *chgo.Options) {
				o.Compression = &chgo.Compression{Method: method, Level: 3}
				o.Settings = chgo.Settings{"enable_http_compression": 1}
			})
			batch, err := conn.PrepareBatch(t.Context(), "INSERT INTO comp (k, n, s)")
			if err != nil {
				t.Fatal(err)
			}
			for i := range 50_000 {
				if err := batch.Append(name, uint64(i), strings.Repeat("ab\x00", i%30)); err != nil {
					t.Fatal(err)
				}
			}
			if err := batch.Send(); err != nil {
				t.Fatal(err)
			}
			var rows, size, sum uint64
			if err := conn.QueryRow(t.Context(), "SELECT count(), sum(length(s)), sum(n) FROM comp WHERE k = ?", name).Scan(&rows, &size, &sum); err != nil {
				t.Fatal(err)
			}
			if rows != 50_000 || size != 2174700 || sum != 50_000*49_999/2 {
				t.Errorf("rows %d, bytes %d, sum %d", rows, size, sum)
			}
			all, err := conn.Query(t.Context(), "SELECT n, s FROM comp WHERE k = ?", name)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for all.Next() {
				n++
			}
			if all.Err() != nil || n != 50_000 {
				t.Errorf("read %d rows back, %v", n, all.Err())
			}
			if err := conn.Exec(t.Context(), "SELECT * FROM no_such_table"); err == nil || !strings.Contains(err.Error(), "60") {
				t.Errorf("an error does not come through: %v", err)
			}
		})
	}
	var gz, zl, zs bytes.Buffer
	pack := func(w io.WriteCloser) {
		_, _ = io.WriteString(w, "INSERT INTO comp FORMAT CSV\n\"enc\",1,\"x\"\n")
		_ = w.Close()
	}
	zw, _ := zstd.NewWriter(&zs)
	pack(gzip.NewWriter(&gz))
	pack(zlib.NewWriter(&zl))
	pack(zw)
	for enc, body := range map[string]*bytes.Buffer{"gzip": &gz, "deflate": &zl, "zstd": &zs} {
		if a := s.do(t, s.Admin, call{body: body.String(), header: map[string]string{"Content-Encoding": enc}}); a.status != 200 {
			t.Errorf("body in %s: %d %s", enc, a.status, a.body)
		}
	}
	if got := s.text(t, "SELECT count() FROM comp WHERE k = 'enc'"); got != "3" {
		t.Errorf("rows from encoded bodies: %s", got)
	}
	for enc, open := range map[string]func(io.Reader) (io.Reader, error){
		"gzip":    func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		"deflate": func(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) },
		"zstd":    func(r io.Reader) (io.Reader, error) { return zstd.NewReader(r) },
	} {
		a := s.do(t, s.Admin, call{body: "SELECT repeat('x', 10000)", args: map[string]string{"enable_http_compression": "1"}, header: map[string]string{"Accept-Encoding": enc}})
		r, err := open(strings.NewReader(a.body))
		if err != nil {
			t.Errorf("answer in %s: %d %v", enc, a.status, err)
			continue
		}
		if b, err := io.ReadAll(r); err != nil || len(b) != 10001 || a.header.Get("Content-Encoding") != enc {
			t.Errorf("answer in %s: %d bytes, %v", enc, len(b), err)
		}
	}
}
