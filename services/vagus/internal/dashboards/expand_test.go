package dashboards

import (
	"strings"
	"testing"
	"time"
)

func TestExpand(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 8e6, time.UTC)
	c := Context{From: at, To: at.Add(time.Hour), Interval: 30 * time.Second, Vars: map[string]Value{
		"source": {All: true, Values: []string{"a", "b"}},
		"model":  {Values: []string{"it's", `say "x"`}},
		"entity": {Values: []string{`CORP\al'ice (x)*+`}},
		"empty":  {Values: []string{""}},
	}}
	for name, tc := range map[string]struct{ in, want, fails string }{
		"time filter":             {in: "$__timeFilter(time)", want: "time >= toDateTime(1772600767) AND time <= toDateTime(1772604367)"},
		"time filter ms":          {in: "$__timeFilter_ms(time)", want: "time >= fromUnixTimestamp64Milli(1772600767008) AND time <= fromUnixTimestamp64Milli(1772604367008)"},
		"date filter":             {in: "$__dateFilter(d)", want: "d >= toDate('2026-03-04') AND d <= toDate('2026-03-04')"},
		"date and time filter":    {in: "$__dateTimeFilter(d, t)", want: "(d >= toDate('2026-03-04') AND d <= toDate('2026-03-04')) AND (t >= toDateTime(1772600767) AND t <= toDateTime(1772604367))"},
		"interval":                {in: "$__timeInterval( e.time ) AS t", want: "toStartOfInterval(toDateTime(e.time), INTERVAL 30 second) AS t"},
		"interval ms":             {in: "$__timeInterval_ms(time)", want: "toStartOfInterval(toDateTime64(time, 3), INTERVAL 30000 millisecond)"},
		"seconds":                 {in: "count() / $__interval_s", want: "count() / 30"},
		"from and to":             {in: "$__fromTime, $__toTime)", want: "toDateTime(1772600767), toDateTime(1772604367))"},
		"from ms":                 {in: "$__fromTime_ms", want: "fromUnixTimestamp64Milli(1772600767008)"},
		"sqlstring":               {in: "IN (${model:sqlstring})", want: `IN ('it''s','say "x"')`},
		"singlequote":             {in: "IN (${model:singlequote})", want: `IN ('it\'s','say "x"')`},
		"percentencode":           {in: "'${entity:percentencode}'", want: "'CORP%5Cal%27ice%20%28x%29%2A%2B'"},
		"condition, all":          {in: "x AND $__conditionalAll(source IN (${source:sqlstring}), $source)", want: "x AND 1=1"},
		"condition, some":         {in: "$__conditionalAll(hex(model) IN (${model:sqlstring}), $model) AND y", want: `hex(model) IN ('it''s','say "x"') AND y`},
		"condition, empty":        {in: "$__conditionalAll(m = ${empty:sqlstring}, ${empty})", want: "1=1"},
		"two conditions":          {in: "$__conditionalAll(a IN (${source:sqlstring}), $source) AND $__conditionalAll(b = 1, $empty)", want: "1=1 AND 1=1"},
		"unknown macro":           {in: "$__timeGroup(time, 1)", fails: "timeGroup"},
		"unknown variable":        {in: "$nothing", fails: "no such variable"},
		"unknown format":          {in: "${model:glob}", fails: "glob"},
		"format left out":         {in: "${model}", fails: "format"},
		"too many arguments":      {in: "$__timeFilter(a, b)", fails: "want 1"},
		"function as an argument": {in: "$__timeInterval(toDateTime(x))", fails: "plain column"},
		"open list":               {in: "$__timeFilter(a", fails: "not closed"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Expand(tc.in, c)
			switch {
			case tc.fails == "" && err != nil:
				t.Fatal(err)
			case tc.fails != "" && (err == nil || !strings.Contains(err.Error(), tc.fails)):
				t.Fatalf("error %v, want one with %q", err, tc.fails)
			case tc.fails == "" && got != tc.want:
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func FuzzExpand(f *testing.F) {
	for _, s := range []string{"$__timeFilter(time)", "$__conditionalAll(a IN (${v:sqlstring}), $v)", "${v:percentencode}", "$__x(", "$", "${", "$__conditionalAll($__conditionalAll(a, $v), $v)"} {
		f.Add(s, "value")
	}
	f.Fuzz(func(t *testing.T, sql, value string) {
		if len(sql) > 4096 {
			return
		}
		c := Context{To: time.Unix(1, 0), Vars: map[string]Value{"v": {Values: []string{value}}}}
		_, _ = Expand(sql, c)
		got, err := Expand("'${v:percentencode}'", c)
		if err != nil || strings.ContainsAny(got[1:len(got)-1], `'\$`) {
			t.Fatalf("%q as %q, %v", value, got, err)
		}
	})
}
