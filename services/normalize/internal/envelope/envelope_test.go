package envelope

import (
	"strings"
	"testing"
)

func TestPeel(t *testing.T) {
	const at = 1795371702348 // 2026-11-22T18:21:42.348Z
	tests := map[string]struct {
		kind, in  string
		inner     []string
		time      int64
		host, app string
	}{
		"syslog":            {Syslog, `<14>1 2026-11-22T18:21:42.348Z h1 app - - - {"a":1}`, []string{`{"a":1}`}, at, "h1", "app"},
		"syslog, no header": {Syslog, `hello`, nil, 0, "", ""},
		"HEC object":        {HEC, `{"time":1795371702.348,"host":"h1","sourcetype":"x","event":{"a": 1}}`, []string{`{"a": 1}`}, at, "h1", ""},
		"HEC text":          {HEC, `{"time":"1795371702.348","event":"a \"b\"\n"}`, []string{"a \"b\"\n"}, at, "", ""},
		"HEC broken":        {HEC, `{"event":`, nil, 0, "", ""},
		"bulk":              {Bulk, `{"@timestamp":"2026-11-22T18:21:42.348Z","message":"m","host":{"name":"h1"},"event":{"original":"o"}}`, []string{"o", "m"}, at, "h1", ""},
		"cloud event":       {CloudEvents, `{"specversion":"1.0","time":"2026-11-22T18:21:42.348Z","data":{"a":1}}`, []string{`{"a":1}`}, at, "", ""},
		"cloud event 64":    {CloudEvents, `{"data_base64":"eyJhIjoxfQ=="}`, []string{`{"a":1}`}, 0, "", ""},
		"CRI":               {CRI, `2026-11-22T18:21:42.348123456Z stderr F a b`, []string{"a b"}, at, "", ""},
		"CRI in parts":      {CRI, "2026-11-22T18:21:42.348Z stdout P {\"a\":\n2026-11-22T18:21:42.349Z stdout P:x 1\r\n2026-11-22T18:21:42.350Z stdout F }", []string{`{"a":1}`}, at, "", ""},
		"CRI, end missing":  {CRI, "2026-11-22T18:21:42.348Z stdout P a\n2026-11-22T18:21:42.349Z stdout P b", []string{"ab"}, at, "", ""},
		"CRI, other lines":  {CRI, "2026-11-22T18:21:42.348Z stdout F a\n  at b", []string{"a\n  at b"}, at, "", ""},
		"CRI, empty":        {CRI, "2026-11-22T18:21:42.348Z stdout F ", nil, at, "", ""},
		"Docker in parts":   {Docker, `{"log":"{\"a\":","stream":"stdout","time":"2026-11-22T18:21:42.348Z"}` + "\n" + `{"log":"1}\n","stream":"stdout","time":"2026-11-22T18:21:42.349Z"}`, []string{`{"a":1}`}, at, "", ""},
		"Docker, broken":    {Docker, `{"log":"a","time":"2026-11-22T18:21:42.348Z"}` + "\n" + `{"log":`, nil, 0, "", ""},
		"no CRI":            {CRI, `a b c d`, nil, 0, "", ""},
		"Docker":            {Docker, `{"log":"{\"a\":1}\n","stream":"stdout","time":"2026-11-22T18:21:42.348Z"}`, []string{`{"a":1}`}, at, "", ""},
		"webhook":           {Webhook, `{"headers":{"x":"y"},"body":{"a":1}}`, []string{`{"a":1}`}, 0, "", ""},
		"log with text": {OTLPLog, `{"resourceLogs":[{"resource":{"attributes":[{"key":"host.name","value":{"stringValue":"h1"}},{"key":"service.name","value":{"stringValue":"app"}}]},"scopeLogs":[{"logRecords":[{"timeUnixNano":"1795371702348000000","body":{"stringValue":"a\tb"}}]}]}]}`,
			[]string{"a\tb"}, at, "h1", "app"},
		"log with object": {OTLPLog, `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"kvlistValue":{"values":[{"key":"a","value":{"intValue":"1"}},{"key":"b","value":{"arrayValue":{"values":[{"boolValue":true},{"stringValue":"x"}]}}},{"key":"c","value":{"intValue":"1,2"}}]}}}]}]}]}`,
			[]string{`{"a":1,"b":[true,"x"],"c":"1,2"}`}, 0, "", ""},
		"span": {OTLPSpan, `{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"app"}}]}}]}`, nil, 0, "", "app"},
	}
	var p Peeler
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := p.Peel(tt.kind, []byte(tt.in))
			var got []string
			for _, i := range c.Inner {
				got = append(got, string(i))
			}
			if strings.Join(got, "|") != strings.Join(tt.inner, "|") {
				t.Errorf("inner %q, want %q", got, tt.inner)
			}
			if c.Known.Time != tt.time || string(c.Known.Host) != tt.host || string(c.Known.App) != tt.app {
				t.Errorf("known %d %q %q", c.Known.Time, c.Known.Host, c.Known.App)
			}
		})
	}
}

func TestFallback(t *testing.T) {
	tests := map[string]struct{ kind, record, want string }{
		"none":     {"", "x", ""},
		"syslog":   {Syslog, "x", "syslog.message"},
		"AI span":  {OTLPSpan, `{"key":"gen_ai.system"}`, "opentelemetry.genai"},
		"any span": {OTLPSpan, `{"key":"http.route"}`, "opentelemetry.traces"},
	}
	for name, tt := range tests {
		if got := Fallback(tt.kind, []byte(tt.record)); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// FuzzPeel: no envelope panics, and an inner record is no longer than what it
// can have been made of.
func FuzzPeel(f *testing.F) {
	f.Add(`{"event":"a\u0041","host":null}`)
	f.Add(`<13>1 2026-11-22T00:00:00Z h a p m [x y="z"] t`)
	f.Add(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"kvlistValue":{"values":[{"key":"a","value":{"kvlistValue":{"values":[]}}}]}}}]}]}]}`)
	f.Fuzz(func(t *testing.T, record string) {
		var p Peeler
		for _, kind := range []string{Syslog, HEC, Bulk, OTLPLog, OTLPSpan, OTLPMetric, CloudEvents, CRI, Docker, Webhook} {
			for _, inner := range p.Peel(kind, []byte(record)).Inner {
				if len(inner) > len(record)+64 {
					t.Fatalf("%s: %d bytes of %d", kind, len(inner), len(record))
				}
			}
		}
	})
}
