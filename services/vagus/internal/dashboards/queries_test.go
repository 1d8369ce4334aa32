package dashboards

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/services/internal/clickhouse"
	"github.com/vagus-hub/vagus/services/internal/clickhouse/embedded/embeddedtest"
)

func TestMain(m *testing.M) { os.Exit(embeddedtest.Main(m)) }

// databases counts, so that repeated runs do not meet.
var databases atomic.Int64

// connect opens a client of a database, with the setting that Grafana's plugin
// sends along.
func connect(t *testing.T, dsn, database string) *clickhouse.Client {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + database
	q := u.Query()
	q.Set("max_execution_time", "60")
	u.RawQuery = q.Encode()
	c, err := clickhouse.Open(t.Context(), u.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// result is a table as it came.
type result struct {
	names []string
	types []reflect.Type
	rows  [][]any
}

func ask(t *testing.T, c *clickhouse.Client, sql string) (result, error) {
	t.Helper()
	var r result
	rows, err := c.Query(t.Context(), sql)
	if err != nil {
		return r, err
	}
	defer func() { _ = rows.Close() }()
	for _, ct := range rows.ColumnTypes() {
		r.names = append(r.names, ct.Name())
		r.types = append(r.types, ct.ScanType())
	}
	for rows.Next() {
		row := make([]any, len(r.types))
		for i, ty := range r.types {
			row[i] = reflect.New(ty).Interface()
		}
		if err := rows.Scan(row...); err != nil {
			return r, err
		}
		r.rows = append(r.rows, row)
	}
	return r, rows.Err()
}

var timeType = reflect.TypeFor[time.Time]()

func numeric(ty reflect.Type) bool {
	return ty.Kind() >= reflect.Int && ty.Kind() <= reflect.Float64
}

// TestPanels runs every query of every dashboard against tables that the real
// services filled, as the user that Grafana has.
func TestPanels(t *testing.T) {
	engine := embeddedtest.Engine(t)
	database := fmt.Sprint("dashboards", databases.Add(1))
	if err := connect(t, engine.DSN(embeddedtest.Admin), "default").Exec(t.Context(), "CREATE DATABASE "+database); err != nil {
		t.Fatal(err)
	}
	fillTables(t, connect(t, engine.DSN(embeddedtest.Admin), database))
	reader := connect(t, engine.DSN(embeddedtest.Reader), database)
	base := Context{From: time.Now().AddDate(-1, 0, 0), To: time.Now().Add(48 * time.Hour), Interval: 10 * time.Minute, Vars: map[string]Value{}}
	if first := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC); first.Before(base.From) {
		base.From = first // of the recordings
	}
	for _, d := range load(t) {
		t.Run(d.File, func(t *testing.T) {
			c := base
			c.Vars = variables(t, reader, d, base)
			for _, p := range d.Panels {
				if p.Type == "row" {
					continue
				}
				t.Run(p.Title, func(t *testing.T) { checkRows(t, reader, p, c) })
			}
			t.Run("filtered", func(t *testing.T) { checkFiltered(t, reader, d, c) })
		})
	}
	t.Run("decisions", func(t *testing.T) { checkDecisions(t, reader, base) })
	t.Run("ledger", func(t *testing.T) { checkLedger(t, reader, base) })
	t.Run("entities", func(t *testing.T) { checkEntities(t, reader, base) })
}

// variables runs the queries of the variables and chooses "All" where it can
// be chosen, else the first value.
func variables(t *testing.T, c *clickhouse.Client, d Dashboard, ctx Context) map[string]Value {
	t.Helper()
	out := map[string]Value{}
	for _, v := range d.Templating.List {
		val := Value{All: v.IncludeAll}
		switch v.Type {
		case "query":
			raw, err := v.SQL()
			if err != nil {
				t.Fatal(err)
			}
			sql, err := Expand(raw, Context{From: ctx.From, To: ctx.To, Interval: ctx.Interval, Vars: out})
			if err != nil {
				t.Fatalf("variable %s: %v", v.Name, err)
			}
			r, err := ask(t, c, sql)
			if err != nil || len(r.rows) == 0 || len(r.names) > 2 {
				t.Fatalf("variable %s: %d rows, columns %q, %v\n%s", v.Name, len(r.rows), r.names, err, sql)
			}
			for _, row := range r.rows {
				val.Values = append(val.Values, fmt.Sprint(reflect.ValueOf(row[0]).Elem()))
			}
		case "custom", "textbox":
			var list string
			if err := json.Unmarshal(v.Query, &list); err != nil {
				t.Fatalf("variable %s: %v", v.Name, err)
			}
			val.Values = strings.Split(list, ",")
			if !v.Multi {
				val.Values = val.Values[:1]
			}
			if v.Name == "entity" {
				val.Values = []string{attacker}
			}
		default:
			t.Fatalf("variable %s: type %q is not known to this test", v.Name, v.Type)
		}
		out[v.Name] = val
	}
	return out
}

var fieldInText = regexp.MustCompile(`\$\{__(?:data\.fields|field\.labels)\.(\w+)`)

// quiet are the numbers that are 0 when all is well: everything that was sent
// is accounted for, and just now.
var quiet = []string{"Records on their way", "Silent sources"}

// checkRows wants rows, and in them what the visualisation needs.
func checkRows(t *testing.T, c *clickhouse.Client, p Panel, ctx Context) {
	for _, q := range p.Targets {
		sql, err := Expand(q.RawSQL, ctx)
		if err != nil {
			t.Fatal(err)
		}
		r, err := ask(t, c, sql)
		if err != nil {
			t.Fatalf("%v\n%s", err, sql)
		}
		if len(r.rows) == 0 {
			t.Fatalf("no rows\n%s", sql)
		}
		numbers, texts := 0, 0
		for _, ty := range r.types {
			switch {
			case numeric(ty):
				numbers++
			case ty.Kind() == reflect.String:
				texts++
			}
		}
		switch p.Type {
		case "timeseries":
			if r.types[0] != timeType || numbers == 0 {
				t.Errorf("columns %q of types %v: want a time first and a number", r.names, r.types)
			}
			if !slices.IsSortedFunc(r.rows, func(a, b []any) int { return a[0].(*time.Time).Compare(*b[0].(*time.Time)) }) {
				t.Error("rows are not in order of time: Grafana cannot make series of them")
			}
		case "stat":
			if len(r.rows) != 1 || numbers != 1 {
				t.Fatalf("%d rows with %d numbers: want one number", len(r.rows), numbers)
			}
			if zero := reflect.ValueOf(r.rows[0][0]).Elem().IsZero(); zero != slices.Contains(quiet, p.Title) {
				t.Errorf("%v is not what this data should give", reflect.ValueOf(r.rows[0][0]).Elem())
			}
		case "bargauge", "piechart", "barchart":
			if numbers == 0 || texts == 0 {
				t.Errorf("columns %q of types %v: want a text and a number", r.names, r.types)
			}
		}
		checkNames(t, p, r)
	}
}

// checkNames wants every column that the settings name to be in the result.
func checkNames(t *testing.T, p Panel, r result) {
	t.Helper()
	for _, o := range p.FieldConfig.Overrides {
		name, _ := o.Matcher.Options.(string)
		if o.Matcher.ID == "byName" && p.Type == "table" && !slices.Contains(r.names, name) {
			t.Errorf("settings for the column %q, which is not among %q", name, r.names)
		}
	}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range fieldInText.FindAllSubmatch(text, -1) {
		if !slices.Contains(r.names, string(m[1])) {
			t.Errorf("%s names a column that is not among %q", m[0], r.names)
		}
	}
	seen := map[string]bool{}
	for _, n := range r.names {
		if seen[n] {
			t.Errorf("column %q comes twice", n)
		}
		seen[n] = true
	}
}

// checkFiltered chooses one value of each variable, and then something hostile:
// no query may fail.
func checkFiltered(t *testing.T, c *clickhouse.Client, d Dashboard, ctx Context) {
	for name, choice := range map[string]func(Value) []string{
		"first":   func(v Value) []string { return v.Values[:1] },
		"all":     func(v Value) []string { return v.Values },
		"hostile": func(Value) []string { return []string{`x' OR 1=1 --`} },
	} {
		set := ctx
		set.Vars = map[string]Value{}
		for n, v := range ctx.Vars {
			set.Vars[n] = Value{Values: choice(v)}
		}
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				sql, err := Expand(q.RawSQL, set)
				if err != nil {
					t.Errorf("%s, %s: %v", p.Title, name, err)
					continue
				}
				if _, err := ask(t, c, sql); err != nil {
					t.Errorf("%s, %s: %v\n%s", p.Title, name, err, sql)
				}
			}
		}
	}
	for _, v := range d.Templating.List {
		if v.Name != "split" {
			continue
		}
		var list string
		_ = json.Unmarshal(v.Query, &list)
		for _, by := range strings.Split(list, ",") {
			set := ctx
			set.Vars = map[string]Value{}
			for n, v := range ctx.Vars {
				set.Vars[n] = v
			}
			set.Vars["split"] = Value{Values: []string{by}}
			for _, p := range d.Panels {
				if len(p.Targets) == 1 && strings.Contains(p.Targets[0].RawSQL, "${split") {
					checkRows(t, c, p, set)
				}
			}
		}
	}
}

// panelOf finds a panel by dashboard and title.
func panelOf(t *testing.T, uid, title string) Panel {
	t.Helper()
	for _, d := range load(t) {
		for _, p := range d.Panels {
			if d.UID == uid && p.Title == title {
				return p
			}
		}
	}
	t.Fatalf("dashboard %s has no panel %q", uid, title)
	return Panel{}
}

// checkDecisions wants the decisions in force, and neither those that were
// taken back nor those that ended.
func checkDecisions(t *testing.T, c *clickhouse.Client, ctx Context) {
	sql, err := Expand(panelOf(t, "vagus-soc-overview", "Decisions in force").Targets[0].RawSQL, ctx)
	if err != nil {
		t.Fatal(err)
	}
	r, err := ask(t, c, sql)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, row := range r.rows {
		text := ""
		for _, column := range []string{"Decision", "Type", "Entity", "By"} {
			text += *row[slices.Index(r.names, column)].(*string) + " "
		}
		got = append(got, strings.TrimSpace(text))
	}
	slices.Sort(got)
	want := []string{"block ip " + attacker + " contain-compromised-key", "block user NT AUTHORITY\\SYSTEM contain-compromised-key", "limit ip " + attacker + " ana"}
	if !slices.Equal(got, want) {
		t.Errorf("decisions in force: got %q, want %q", got, want)
	}
}

// checkLedger wants every source of a sender to be accounted for.
func checkLedger(t *testing.T, c *clickhouse.Client, ctx Context) {
	sql, err := Expand(panelOf(t, "vagus-soc-overview", "Ledger").Targets[0].RawSQL, ctx)
	if err != nil {
		t.Fatal(err)
	}
	r, err := ask(t, c, sql)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range r.rows {
		source := *row[slices.Index(r.names, "Source")].(*string)
		for _, column := range []string{"Missing", "Not normalised yet"} {
			if n := *row[slices.Index(r.names, column)].(*int64); n != 0 && source != madeUp {
				t.Errorf("source %s: %s is %d, want 0", source, column, n)
			}
		}
	}
}

// checkEntities looks up entities of every type, one with a backslash, and
// texts that are made to break out of a query.
func checkEntities(t *testing.T, c *clickhouse.Client, ctx Context) {
	p := panelOf(t, "vagus-entity", "Newest events")
	first := func(sql string) string {
		r, err := ask(t, c, sql)
		if err != nil || len(r.rows) == 0 {
			t.Fatalf("%s: %d rows, %v", sql, len(r.rows), err)
		}
		return *r.rows[0][0].(*string)
	}
	for _, tc := range []struct {
		kind, value string
		found       bool
	}{
		{"ip", attacker, true},
		{"ip", "2001:db8::7", true},
		{"any", attacker, true},
		{"user", domainAcc, true},
		{"any", domainAcc, true},
		{"user", first("SELECT actor_user_name FROM events_host WHERE actor_user_name != '' LIMIT 1"), true},
		{"api_key", first("SELECT actor_user_credential_uid FROM events_ai WHERE actor_user_credential_uid != '' LIMIT 1"), true},
		{"host", first("SELECT device_hostname FROM events_host LIMIT 1"), true},
		{"model", attacked, true},
		{"pod", first("SELECT k8s_pod FROM events_ai WHERE k8s_pod != '' LIMIT 1"), true},
		{"pod", first("SELECT resource_name FROM events_api WHERE startsWith(resource_type, 'pods') AND resource_name != '' LIMIT 1"), true},
		{"agent", first("SELECT ai_agent_name FROM events_ai WHERE ai_agent_name != '' LIMIT 1"), true},
		{"tool", first("SELECT tool_name FROM events_ai WHERE tool_name != '' LIMIT 1"), true},
		{"host", attacker, false},
		{"any", "", false},
		{"any", `' OR 1=1 --`, false},
		{"any", `\' OR 1=1 --`, false},
		{"any", `\`, false},
		{"any", "%27 OR 1=1", false},
	} {
		ctx.Vars = map[string]Value{"type": {Values: []string{tc.kind}}, "entity": {Values: []string{tc.value}}}
		sql, err := Expand(p.Targets[0].RawSQL, ctx)
		if err != nil {
			t.Fatal(err)
		}
		r, err := ask(t, c, sql)
		if err != nil {
			t.Errorf("%s %q: %v", tc.kind, tc.value, err)
		} else if (len(r.rows) > 0) != tc.found {
			t.Errorf("%s %q: %d rows, found should be %v", tc.kind, tc.value, len(r.rows), tc.found)
		}
	}
}
