package sqltext

import (
	"errors"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for name, c := range map[string]struct {
		in     string
		kind   Kind
		sql    string
		format string
		data   string
		err    error
	}{
		"empty":                   {in: " \n-- x\n/* y", kind: Empty},
		"select":                  {in: "SELECT 1", kind: Select, sql: "SELECT 1"},
		"select, semicolon":       {in: "SELECT 1 ; -- end\n", kind: Select, sql: "SELECT 1 "},
		"two":                     {in: "SELECT 1; SELECT 2", kind: Select, err: ErrMany},
		"quoted semicolon":        {in: `SELECT ';', "a;b", 'it\'s;', 'it''s;'`, kind: Select, sql: `SELECT ';', "a;b", 'it\'s;', 'it''s;'`},
		"heredoc":                 {in: "SELECT $x$;$y$ ' $x$", kind: Select, sql: "SELECT $x$;$y$ ' $x$"},
		"comment hides nothing":   {in: "/* SELECT */ DROP TABLE x", kind: Other, sql: "/* SELECT */ DROP TABLE x"},
		"with":                    {in: "WITH 1 AS insert SELECT insert", kind: Select, sql: "WITH 1 AS insert SELECT insert"},
		"with insert":             {in: "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x", kind: InsertQuery, sql: "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x"},
		"parentheses":             {in: "((SELECT 1))", kind: Select, sql: "((SELECT 1))"},
		"show":                    {in: "show tables", kind: Inspect, sql: "show tables"},
		"create":                  {in: "CREATE TABLE t (a Int8)", kind: Other, sql: "CREATE TABLE t (a Int8)"},
		"insert values":           {in: "INSERT INTO t VALUES (1, ';')", kind: Insert, sql: "INSERT INTO t ", format: "Values", data: " (1, ';')"},
		"insert format":           {in: "INSERT INTO t FORMAT CSV\n1;2\x00'", kind: Insert, sql: "INSERT INTO t ", format: "CSV", data: "1;2\x00'"},
		"insert format, crlf":     {in: "INSERT INTO t FORMAT CSV \r\n\n1", kind: Insert, sql: "INSERT INTO t ", format: "CSV", data: "\n1"},
		"insert format, same row": {in: "insert into t format JSONEachRow {\"a\":1}", kind: Insert, sql: "insert into t ", format: "JSONEachRow", data: "{\"a\":1}"},
		"insert format;":          {in: "INSERT INTO t FORMAT CSV;", kind: Insert, sql: "INSERT INTO t ", format: "CSV"},
		"insert format; data":     {in: "INSERT INTO t FORMAT CSV; 1", kind: Insert, sql: "INSERT INTO t ", format: "CSV", err: ErrSemicolon},
		"insert no format":        {in: "INSERT INTO t (a, b)", kind: Insert, sql: "INSERT INTO t (a, b)"},
		"insert settings":         {in: "INSERT INTO t (a) SETTINGS x = 1, y = 'FORMAT' FORMAT TSV\nv", kind: Insert, sql: "INSERT INTO t (a) SETTINGS x = 1, y = 'FORMAT' ", format: "TSV", data: "v"},
		"insert select":           {in: "INSERT INTO t SELECT 1", kind: InsertQuery, sql: "INSERT INTO t SELECT 1"},
		"insert (select)":         {in: "INSERT INTO t (a) (SELECT 1);", kind: InsertQuery, sql: "INSERT INTO t (a) (SELECT 1)"},
		"insert with":             {in: "INSERT INTO t WITH 1 AS x SELECT x", kind: InsertQuery, sql: "INSERT INTO t WITH 1 AS x SELECT x"},
		"columns named as words":  {in: "INSERT INTO t (format, values, `select`) FORMAT CSV\n1", kind: Insert, sql: "INSERT INTO t (format, values, `select`) ", format: "CSV", data: "1"},
		"table named as a word":   {in: "INSERT INTO format FORMAT CSV\n1", kind: Insert, sql: "INSERT INTO format ", format: "CSV", data: "1"},
		"qualified":               {in: "INSERT INTO db.values (a) VALUES (1)", kind: Insert, sql: "INSERT INTO db.values (a) ", format: "Values", data: " (1)"},
		"table keyword":           {in: "INSERT INTO TABLE t VALUES (1)", kind: Insert, sql: "INSERT INTO TABLE t ", format: "Values", data: " (1)"},
		"two, after insert":       {in: "INSERT INTO t SELECT 1; DROP TABLE t", kind: InsertQuery, err: ErrMany},
		"unfinished quote":        {in: "SELECT 'x; DROP TABLE t", kind: Select, sql: "SELECT 'x; DROP TABLE t"},
	} {
		t.Run(name, func(t *testing.T) {
			st, err := Parse(c.in)
			if !errors.Is(err, c.err) || st.Kind != c.kind {
				t.Fatalf("kind %d, want %d; error %v, want %v", st.Kind, c.kind, err, c.err)
			}
			if err != nil {
				return
			}
			if st.SQL != c.sql || st.Format != c.format || c.in[st.Data:] != c.data {
				t.Errorf("SQL %q, format %q, data %q", st.SQL, st.Format, c.in[st.Data:])
			}
		})
	}
}

func TestFilesAndCalls(t *testing.T) {
	for in, want := range map[string]string{
		"SELECT file('/etc/passwd')":                  "file",
		"SELECT FILE ( 'x')":                          "file",
		"SELECT * FROM `file`('x')":                   "file",
		"SELECT * APPLY file FROM t":                  "file",
		"SELECT * APPLY(\"file\") FROM t":             "file",
		"CREATE VIEW v AS SELECT file(x) FROM t":      "file",
		"INSERT INTO t SELECT file('x')":              "file",
		"INSERT INTO FUNCTION url('x') VALUES (1)":    "url",
		"SELECT 1 /* ( */ , file /* c */ ('x')":       "file",
		"WITH x -> file(x) AS f SELECT f('/etc/pas')": "file",
	} {
		st, err := Parse(in)
		if err != nil || !st.Calls[want] {
			t.Errorf("%s: calls %v, %v", in, st.Calls, err)
		}
	}
	for in, want := range map[string]bool{
		"SELECT 1 INTO OUTFILE 'x'": true, "INSERT INTO t FROM INFILE 'x' FORMAT CSV": true,
		"SELECT 'INTO OUTFILE x'": false, "SELECT outfile FROM infile": false,
	} {
		if st, _ := Parse(in); st.Files != want {
			t.Errorf("%s: files %v", in, st.Files)
		}
	}
	if st, _ := Parse("SELECT 1 FORMAT JSON"); st.OutFormat != "JSON" {
		t.Errorf("format %q", st.OutFormat)
	}
}

// FuzzParse holds Parse to what the interface relies on: it never panics, what
// it returns lies within the text, an INSERT's data is never part of its SQL,
// and a read-only verdict means that no second statement follows.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"SELECT 1; SELECT 2", "INSERT INTO t (a) FORMAT Native\n\x00\x01;'", "INSERT INTO t VALUES (1, 'a''b')", "/* x */ -- y\nSELECT `a` FROM b",
		"$a$ x $a$", "INSERT INTO t FORMAT", "WITH (", "((((", "'\\", "‘x’", "“x", "INSERT INTO FUNCTION file('x') SELECT 1", "SELECT * APPLY(file)",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		st, err := Parse(s)
		if st.Data < 0 || st.Data > len(s) {
			t.Fatalf("data begins at %d of %d", st.Data, len(s))
		}
		if !strings.HasPrefix(s, st.SQL) {
			t.Fatalf("SQL %q is not the beginning of %q", st.SQL, s)
		}
		if err == nil && st.Kind == Insert && len(st.SQL) > st.Data {
			t.Fatalf("SQL of %d bytes reaches into the data at %d", len(st.SQL), st.Data)
		}
		if err != nil || !st.Kind.ReadOnly() || st.Kind == Empty {
			return
		}
		if again, err := Parse(st.SQL); err != nil || again.Kind != st.Kind {
			t.Fatalf("%q parses as %d, its SQL %q as %d, %v", s, st.Kind, st.SQL, again.Kind, err)
		}
		if _, err := Parse(st.SQL + "; DROP TABLE t"); err == nil && !endsOpen(st.SQL) {
			t.Fatalf("a statement after %q went unseen", st.SQL)
		}
	})
}

// endsOpen reports whether a text ends within a quote or a comment, so that
// what is added to it belongs to that.
func endsOpen(s string) bool {
	l := &lexer{s: s + ";"}
	last := token{}
	for {
		t, ok := l.next()
		if !ok {
			return !(last.kind == punct && last.text == ";" && last.end == len(s)+1)
		}
		last = t
	}
}
