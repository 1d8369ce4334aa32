package normalize

import (
	"testing"
	"testing/fstest"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/normalize/internal/mapping"
)

// TestChoose maps one record in an envelope and looks at source, host and time.
func TestChoose(t *testing.T) {
	const classes = "classes: [{class: process_activity, activity: Launch}]\n"
	set, err := mapping.Load(fstest.MapFS{
		"a.json/mapping.yaml":         {Data: []byte("source: a.json\ndetect: [{kind: a}]\nfields: {message: m}\n" + classes)},
		"b.syslog/mapping.yaml":       {Data: []byte("source: b.syslog\nformat: syslog\ndetect: [{syslog.appname: b}]\nfields: {message: syslog.message}\n" + classes)},
		"syslog.message/mapping.yaml": {Data: []byte("source: syslog.message\nformat: syslog\nfields: {message: syslog.message}\n" + classes)},
	})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ source, envelope, record, want, host, reason string }{
		"named, bare":        {"a.json", "", `{"m":"x"}`, "a.json", "", ""},
		"auto, bare":         {"auto", "", `{"kind":"a","m":"x"}`, "a.json", "", ""},
		"auto in syslog":     {"auto", "syslog", `<14>1 2026-11-22T18:21:42Z h1 app - - - {"kind":"a","m":"x"}`, "a.json", "h1", ""},
		"reads headers":      {"auto", "syslog", `<14>1 2026-11-22T18:21:42Z h1 b - - - x`, "b.syslog", "h1", ""},
		"fallback":           {"auto", "syslog", `<14>1 2026-11-22T18:21:42Z h1 c - - - x`, "syslog.message", "h1", ""},
		"named in HEC":       {"a.json", "hec", `{"host":"h2","event":{"m":"x"}}`, "a.json", "h2", ""},
		"nobody's":           {"auto", "", `{"zzz":1}`, "", "", "unrecognized"},
		"nobody's in HEC":    {"auto", "hec", `{"event":{"zzz":1}}`, "", "", "unrecognized"},
		"no such source":     {"x.y", "", `{}`, "", "", "source"},
		"no source, wrapped": {"x.y", "hec", `{"event":{}}`, "", "", "source"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorker(set)
			b := block.NewRawBuilder()
			b.Append(block.UID("t", 0), 1795371702000, []byte(tt.record))
			if err := block.DecodeRaw(b.AppendTo(nil, block.Header{Source: tt.source, Envelope: tt.envelope}), &w.raw); err != nil {
				t.Fatal(err)
			}
			h := w.mapAll()
			if tt.reason != "" {
				var dead block.Raw
				if err := block.DecodeRaw(w.dead.AppendTo(nil, block.Header{}), &dead); h.Dead != 1 || err != nil || dead.Reason(0) != tt.reason || string(dead.Record(0)) != tt.record {
					t.Fatalf("%d dead, %v", h.Dead, err)
				}
				return
			}
			var out block.Block
			if err := block.Decode(w.builders[event.FamilyHost].AppendTo(nil, block.Header{}), &out); err != nil || out.Rows() != 1 {
				t.Fatalf("%d rows, %v", out.Rows(), err)
			}
			text := func(id event.ColumnID) string {
				if c := out.Column(id); c != nil {
					return c.Text(0)
				}
				return ""
			}
			if text(event.Source) != tt.want || text(event.Message) != "x" || text(event.DeviceHostname) != tt.host {
				t.Errorf("source %q, message %q, host %q", text(event.Source), text(event.Message), text(event.DeviceHostname))
			}
		})
	}
}
