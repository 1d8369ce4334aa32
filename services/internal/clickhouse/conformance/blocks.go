package conformance

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/vagus-hub/vagus/services/internal/clickhouse"
)

// encode writes columns as one Native block of revision 0.
func encode(t testing.TB, w *bytes.Buffer, rows int, columns ...proto.InputColumn) {
	t.Helper()
	var b proto.Buffer
	block := proto.Block{Columns: len(columns), Rows: rows}
	if err := block.EncodeRawBlock(&b, 0, columns); err != nil {
		t.Fatal(err)
	}
	w.Write(b.Buf)
}

func (s *suite) insert(t *testing.T) {
	s.exec(t, "CREATE TABLE ins (a Int32, s String DEFAULT 'd') ENGINE = MergeTree ORDER BY a")
	for name, c := range map[string]struct {
		call
		want string
	}{
		"values":                 {call{body: "INSERT INTO ins VALUES (1, 'x;y'), (2, 'FORMAT CSV')"}, "1\tx;y\n2\tFORMAT CSV"},
		"values, semicolon":      {call{body: "INSERT INTO ins (a) VALUES (1), (2);"}, "1\td\n2\td"},
		"values, expression":     {call{body: "INSERT INTO ins VALUES (1 + 1, upper('x'))"}, "2\tX"},
		"values, parameters":     {call{args: map[string]string{"param_a": "5"}, body: "INSERT INTO ins (a) VALUES ({a:Int32})"}, "5\td"},
		"csv in the body":        {call{body: "INSERT INTO ins FORMAT CSV\n1,\"q;'\"\n2,\"b\"\n"}, "1\tq;\\'\n2\tb"},
		"csv after the URL":      {call{args: map[string]string{"query": "INSERT INTO ins (s, a) FORMAT CSV"}, body: "x,1\ny,2\n"}, "1\tx\n2\ty"},
		"json lines":             {call{args: map[string]string{"query": "INSERT INTO ins FORMAT JSONEachRow"}, body: "{\"a\":1}\n{\"a\":2,\"s\":\"\\u0000;\"}"}, "1\td\n2\t\\0;"},
		"select":                 {call{body: "INSERT INTO ins SELECT number, 'n' FROM numbers(2)"}, "0\tn\n1\tn"},
		"select in parentheses":  {call{body: "INSERT INTO ins (a) (SELECT 4)"}, "4\td"},
		"with":                   {call{body: "INSERT INTO ins WITH 3 AS x SELECT x, 'w'"}, "3\tw"},
		"settings before format": {call{body: "INSERT INTO ins SETTINGS async_insert = 0 FORMAT TSV\n1\tt\n"}, "1\tt"},
		"table keyword":          {call{body: "insert into table ins (`a`, s) format Values (1, 'v')"}, "1\tv"},
		"no data":                {call{args: map[string]string{"query": "INSERT INTO ins FORMAT CSV"}}, ""},
		"parts as text":          {call{body: "INSERT INTO ins (a, s) FORMAT TSV\n1\tINSERT INTO ins FORMAT TSV\n"}, "1\tINSERT INTO ins FORMAT TSV"},
	} {
		t.Run(name, func(t *testing.T) {
			s.exec(t, "TRUNCATE TABLE ins")
			if a := s.do(t, s.Admin, c.call); a.status != http.StatusOK {
				t.Fatalf("%d %s", a.status, a.body)
			}
			if got := s.text(t, "SELECT a, s FROM ins ORDER BY a"); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	t.Run("bad data", func(t *testing.T) {
		s.exec(t, "TRUNCATE TABLE ins")
		a := s.do(t, s.Admin, call{args: map[string]string{"query": "INSERT INTO ins FORMAT CSV"}, body: "1,a\nx,b\n"})
		if a.status != http.StatusBadRequest || a.header.Get("X-ClickHouse-Exception-Code") != "27" {
			t.Errorf("%d %s", a.status, a.body)
		}
		if got := s.text(t, "SELECT count() FROM ins"); got != "0" {
			t.Errorf("%s rows of a bad batch are stored", got)
		}
	})
}

// native checks blocks that are streamed without being re-encoded.
func (s *suite) native(t *testing.T) {
	ctx := t.Context()
	s.exec(t, "CREATE TABLE nat (id UInt32, raw String, word String DEFAULT 'none', n Nullable(UInt8), lc LowCardinality(String)) ENGINE = MergeTree ORDER BY id")
	nasty := [][]byte{[]byte("\x00\x00"), []byte(";"), []byte("'\"`\\"), []byte("FORMAT Native\n;INSERT INTO nat VALUES ("), bytes.Repeat([]byte{0xff, 0, ';', '\n'}, 50_000)}
	var id proto.ColUInt32
	var raw proto.ColStr
	for i, v := range nasty {
		id.Append(uint32(i))
		raw.AppendBytes(v)
	}
	var body bytes.Buffer
	encode(t, &body, len(nasty), proto.InputColumn{Name: "id", Data: id}, proto.InputColumn{Name: "raw", Data: raw})
	// The second block has other columns, a dictionary where the table has
	// plain text, and plain text where the table has a dictionary.
	id2, word, lc := proto.ColUInt32{100, 101}, proto.NewLowCardinality[string](new(proto.ColStr)), proto.ColStr{}
	word.AppendArr([]string{"one", "two"})
	lc.Append("l1")
	lc.Append("l2")
	if err := word.Prepare(); err != nil {
		t.Fatal(err)
	}
	encode(t, &body, 2, proto.InputColumn{Name: "id", Data: id2}, proto.InputColumn{Name: "word", Data: word}, proto.InputColumn{Name: "lc", Data: lc})
	in := clickhouse.Insert{Table: s.db + ".nat", Columns: []string{"id", "raw", "word", "lc"}}
	if err := s.client.InsertNative(ctx, in, bytes.NewReader(body.Bytes())); err != nil {
		t.Fatal(err)
	}
	for i, v := range nasty {
		want := strings.ToUpper(fmt.Sprintf("%x", v))
		if got := s.text(t, fmt.Sprintf("SELECT hex(raw) FROM nat WHERE id = %d", i)); got != want {
			t.Errorf("row %d: %.60s…, want %.60s…", i, got, want)
		}
	}
	if got := s.text(t, "SELECT id, word, n, lc, raw FROM nat WHERE id IN (1, 100, 101) ORDER BY id"); got != "1\tnone\t\\N\t\t;\n100\tone\t\\N\tl1\t\n101\ttwo\t\\N\tl2\t" {
		t.Errorf("defaults and conversions: %q", got)
	}
	if err := s.client.InsertNative(ctx, in, bytes.NewReader(body.Bytes()[:body.Len()-3])); err == nil {
		t.Error("a cut block was taken")
	}
	if err := s.client.InsertNative(ctx, in, io.MultiReader(bytes.NewReader(body.Bytes()), failing{})); err == nil {
		t.Error("an insert whose source failed was taken")
	}
	if got := s.text(t, "SELECT count() FROM nat"); got != "7" {
		t.Errorf("rows after two failed inserts: %s", got)
	}
	rc, err := s.client.SelectNative(ctx, "SELECT raw FROM nat WHERE id = {id:UInt32}", map[string]string{"id": "4"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rc.Close() }()
	var res proto.ColStr
	var block proto.Block
	if err := block.DecodeRawBlock(proto.NewReader(rc), 0, proto.Results{{Name: "raw", Data: &res}}); err != nil || res.Rows() != 1 || res.First() != string(nasty[4]) {
		t.Errorf("read back %d rows, %v", res.Rows(), err)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the source broke") }

// dedup checks that a repeated token inserts nothing, behind views as well.
func (s *suite) dedup(t *testing.T) {
	ctx := t.Context()
	s.exec(t, "CREATE TABLE dd (id UInt32) ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 100",
		"CREATE TABLE dd_sum (k UInt8, n UInt64) ENGINE = SummingMergeTree ORDER BY k SETTINGS non_replicated_deduplication_window = 100",
		"CREATE MATERIALIZED VIEW dd_mv TO dd_sum AS SELECT toUInt8(id % 2) AS k, count() AS n FROM dd GROUP BY k")
	var one, two bytes.Buffer
	encode(t, &one, 3, proto.InputColumn{Name: "id", Data: proto.ColUInt32{1, 2, 3}})
	encode(t, &two, 2, proto.InputColumn{Name: "id", Data: proto.ColUInt32{4, 5}})
	both := append(append([]byte(nil), one.Bytes()...), two.Bytes()...)
	for i, step := range []struct {
		token string
		data  []byte
		want  string
	}{
		{"a", one.Bytes(), "3\t3"}, {"a", one.Bytes(), "3\t3"}, {"a", two.Bytes(), "3\t3"},
		{"b", one.Bytes(), "6\t6"}, {"c", both, "11\t11"}, {"c", both, "11\t11"}, {"a", one.Bytes(), "11\t11"},
	} {
		if err := s.client.InsertNative(ctx, clickhouse.Insert{Table: "dd", Token: step.token}, bytes.NewReader(step.data)); err != nil {
			t.Fatal(err)
		}
		if got := s.text(t, "SELECT (SELECT count() FROM dd), (SELECT sum(n) FROM dd_sum)"); got != step.want {
			t.Errorf("step %d, token %s: rows and rows behind the view: %q, want %q", i, step.token, got, step.want)
		}
	}
}

func (s *suite) stream(t *testing.T) {
	ctx := t.Context()
	const rows = 30_000_000
	rc, err := s.client.SelectNative(ctx, fmt.Sprintf("SELECT number FROM numbers(%d)", rows), nil)
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, rc)
	_ = rc.Close()
	if err != nil || n < rows*8 {
		t.Errorf("got %d bytes, %v", n, err)
	}
	r, err := s.client.Query(ctx, "SELECT number, toString(number) FROM numbers(1000000)")
	if err != nil {
		t.Fatal(err)
	}
	count, sum := 0, uint64(0)
	for r.Next() {
		var v uint64
		var text string
		if err := r.Scan(&v, &text); err != nil {
			t.Fatal(err)
		}
		count, sum = count+1, sum+v
	}
	if r.Err() != nil || count != 1_000_000 || sum != 999_999*500_000 {
		t.Errorf("rows %d, sum %d, %v", count, sum, r.Err())
	}
	t.Run("late failure", func(t *testing.T) {
		const sql = "SELECT number, throwIf(number = 5000000, 'late') FROM numbers(10000000) SETTINGS max_threads = 1"
		rc, err := s.client.SelectNative(ctx, sql, nil)
		if err == nil {
			_, err = io.Copy(io.Discard, rc)
			_ = rc.Close()
		}
		if clickhouse.Code(err) != 395 {
			t.Errorf("as blocks: code %d, %v", clickhouse.Code(err), err)
		}
		rows, err := s.client.Query(ctx, sql)
		if err == nil {
			for rows.Next() {
			}
			err = rows.Err()
			_ = rows.Close()
		}
		if clickhouse.Code(err) != 395 {
			t.Errorf("as rows: code %d, %v", clickhouse.Code(err), err)
		}
		res := s.send(t, s.Admin, call{body: sql})
		b, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode == http.StatusOK && err == nil && !bytes.Contains(b, []byte("__exception__")) {
			t.Errorf("a plain client cannot tell that the result of %d bytes is cut", len(b))
		}
	})
}

// gonePause is how often the list of running statements is looked at.
const gonePause = 50 * time.Millisecond
