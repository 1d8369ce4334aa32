package normalize

import (
	"os"
	"regexp"
	"testing"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/sources"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/normalize/internal/mapping"
)

// unknownIn has records that no source knows, in each envelope: the envelope's
// own source must take them.
var unknownIn = map[string]map[string]string{
	"": {
		`{"zzz":1}`: "", "zzz": "",
	},
	"syslog": {
		`<13>1 2026-11-22T18:21:42Z h zzz - - - hello`: "syslog.message",
		`<13>Nov 22 18:21:42 h zzz[7]: {"zzz":1}`:      "syslog.message",
		`<13>hello`: "syslog.message",
		`hello`:     "syslog.message",
	},
	"hec": {
		`{"event":"hello"}`:                              "splunk.hec",
		`{"event":"hello","sourcetype":"zzz"}`:           "splunk.hec",
		`{"time":1795371702,"event":"{not json"}`:        "splunk.hec",
		`{"event":"{\"zzz\":1}","host":"h","index":"i"}`: "splunk.hec",
		`{"event":{"zzz":1}}`:                            "splunk.hec",
		`{"event":["a"]}`:                                "splunk.hec",
		`{"event":7,"fields":{"a":"b"}}`:                 "splunk.hec",
		"{\n \"event\": \"hello\"\n}":                    "splunk.hec",
	},
	"bulk": {
		`{"zzz":1}`:         "elastic.ecs",
		`{"message":"zzz"}`: "elastic.ecs",
		`{"@timestamp":"2026-11-22T18:21:42Z","message":"zzz"}`: "elastic.ecs",
	},
	"otlp.log": {
		`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1795371702000000000","body":{"stringValue":"zzz"}}]}]}]}`: "opentelemetry.logs",
		`{"resourceLogs":[{"resource":{},"scopeLogs":[{"scope":{},"logRecords":[{}]}]}]}`:                                         "opentelemetry.logs",
	},
	"otlp.span": {
		`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331","name":"zzz"}]}]}]}`:        "opentelemetry.traces",
		`{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"chat","attributes":[{"key":"gen_ai.request.model","value":{"stringValue":"gpt-4o"}}]}]}]}]}`: "opentelemetry.genai",
	},
	"otlp.metric": {
		`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"zzz","gauge":{"dataPoints":[{"timeUnixNano":"1795371702000000000","asDouble":1}]}}]}]}]}`: "opentelemetry.metrics",
	},
	"cloudevents": {
		`{"specversion":"1.0","id":"1","source":"/zzz","type":"zzz","data":{"zzz":1}}`: "cloudevents.event",
		`{"specversion":"1.0","id":"1","source":"/zzz","type":"zzz","data":"hello"}`:   "cloudevents.event",
		`{"specversion":"1.0","id":"1","source":"/zzz","type":"zzz"}`:                  "cloudevents.event",
	},
	"cri":     {`2026-11-22T18:21:42Z stdout F zzz`: ""},
	"docker":  {`{"log":"zzz\n","stream":"stdout","time":"2026-11-22T18:21:42Z"}`: ""},
	"webhook": {`{"headers":{},"body":{"zzz":1}}`: ""},
}

// TestFallbacks sends what nobody knows through every envelope that receivers
// may name.
func TestFallbacks(t *testing.T) {
	intake, err := os.ReadFile("../ingest/internal/intake/intake.go")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`(?m)^\t\w+ += "([a-z.]*)" +// `).FindAllStringSubmatch(string(intake), -1)
	if len(named) < 10 {
		t.Fatalf("%d envelopes found in package intake", len(named))
	}
	for _, m := range named {
		if unknownIn[m[1]] == nil {
			t.Errorf("the envelope %q has no record here", m[1])
		}
	}
	set, err := mapping.Load(sources.FS)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorker(set)
	for kind, records := range unknownIn {
		for record, want := range records {
			if want != "" && set.Get(want) == nil {
				t.Logf("%s is not tested: there is no mapping for %s", kind, want)
				continue
			}
			b := block.NewRawBuilder()
			b.Append(block.UID("t", 0), 1795371702000, []byte(record))
			if err := block.DecodeRaw(b.AppendTo(nil, block.Header{Source: auto, Envelope: kind}), &w.raw); err != nil {
				t.Fatal(err)
			}
			h := w.mapAll()
			got, reason := "", ""
			for f := range w.builders {
				var out block.Block
				if err := block.Decode(w.builders[f].AppendTo(nil, block.Header{}), &out); err != nil {
					t.Fatal(err)
				}
				if c := out.Column(event.Source); c != nil && out.Rows() > 0 {
					got = c.Text(0)
				}
			}
			if w.dead.Rows() > 0 {
				var dead block.Raw
				if err := block.DecodeRaw(w.dead.AppendTo(nil, block.Header{}), &dead); err != nil {
					t.Fatal(err)
				}
				reason = dead.Reason(0)
			}
			if got != want || want == "" && reason != "unrecognized" {
				t.Errorf("%s %s: source %q, dead %q, dropped %v; want %q", kind, record, got, reason, h.Dropped, want)
			}
		}
	}
}
