package mapping

import (
	"strings"
	"testing"
)

const minimal = `source: test.app
classes:
  - class: api_activity
    activity: Read
`

func TestCompileErrors(t *testing.T) {
	tests := map[string]struct{ yaml, want string }{
		"unknown column":    {minimal + "fields:\n  actor.user.nam: u\n", `m.yaml:6:3: unknown column "actor.user.nam"; did you mean actor.user.name?`},
		"unknown class":     {"source: test.app\nclasses:\n  - class: api_activty\n", `m.yaml:3:12: unknown class "api_activty"; did you mean api_activity?`},
		"unknown activity":  {"source: test.app\nclasses:\n  - class: api_activity\n    activity: Reed\n", `class api_activity has no activity "Reed"; did you mean Read?`},
		"unknown transform": {minimal + "fields:\n  message: {path: m, as: lowr}\n", `m.yaml:6:26: unknown transform "lowr"; did you mean lower?`},
		"unknown key":       {minimal + "feilds: {}\n", "m.yaml:5:1: unknown field"},
		"column of another family": {minimal + "fields:\n  process.cmd_line: c\n",
			"column process.cmd_line is not in the family api, where class api_activity is stored"},
		"hub column":          {minimal + "fields:\n  event_uid: id\n", "column event_uid is filled by the hub"},
		"number from text":    {minimal + "fields:\n  duration: {const: soon}\n", `column duration is a number, "soon" is not`},
		"bad path":            {minimal + "fields:\n  message: a..b\n", `m.yaml:6:12: path "a..b": a key is missing after a dot`},
		"bad index":           {minimal + "fields:\n  message: a[x]\n", "is not an index"},
		"path and const":      {minimal + "fields:\n  message: {path: a, const: b}\n", "give either a path or a const"},
		"no alias":            {minimal + "fields:\n  message: $x.a\n", `there is no alias "x"`},
		"bad time format":     {minimal + "time:\n  - {path: t, format: yesterday}\n", `time format "yesterday" is none of`},
		"no classes":          {"source: test.app\n", "classes: at least one is needed"},
		"source without dot":  {"source: app\nclasses:\n  - class: api_activity\n", `source "app" is not <vendor>.<product>`},
		"lines without text":  {minimal + "lines: ['%{a}']\n", "lines: needed for the formats text and auto"},
		"pattern without end": {minimal + "format: text\nlines: ['%{a']\n", "is not closed"},
		"drop without reason": {minimal + "drop:\n  - {when: {a: b}}\n", "drop: a reason is missing"},
		"not YAML":            {"source: [", "m.yaml:1:"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Compile("m.yaml", []byte(tt.yaml))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestTimes(t *testing.T) {
	const want = 1795371702348
	tests := map[string]struct{ format, text string }{
		"s":       {"unix_s", "1795371702.348"},
		"ms":      {"unix_ms", "1795371702348"},
		"us":      {"unix_us", "1795371702348000"},
		"ns":      {"unix_ns", "1795371702348000000"},
		"rfc3339": {"rfc3339", "2026-11-22T18:21:42.348Z"},
		"offset":  {"rfc3339", "2026-11-22T20:21:42.348999+02:00"},
		"layout":  {"2006-01-02 15:04:05.000", "2026-11-22 18:21:42.348"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, err := newTimeParser(tt.format)
			if err != nil {
				t.Fatal(err)
			}
			if got, ok := p([]byte(tt.text)); !ok || got != want {
				t.Errorf("got %d, %v; want %d", got, ok, want)
			}
			for _, bad := range []string{"", "x", "2026-13-22T18:21:42Z", "-5", "2026-11-22T18:21:42"} {
				if got, ok := p([]byte(bad)); ok {
					t.Errorf("%q is a time: %d", bad, got)
				}
			}
		})
	}
}
