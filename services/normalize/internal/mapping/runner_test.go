package mapping

import (
	"bytes"
	"path"
	"strings"
	"testing"

	"github.com/vagus-hub/vagus/schemas/sources"
	"github.com/vagus-hub/vagus/services/internal/block"
)

const app = `source: test.app
format: auto
lines: ['%{user} did %{verb}']
absent: ["-"]
embedded: [body]
time: [{path: t, format: unix_ms}]
drop:
  - {when: {kind: noise}, reason: noise}
classes:
  - when: {kind: [a, b], secret: {exists: false}}
    class: api_activity
    activity: {paths: [verb], map: {get: Read, put: Create}}
    fields:
      actor.user.name: [user, login]
  - when: {kind: c}
    class: api_activity
    family: ai
    activity: Other
  - when: {user: {exists: true}, kind: {exists: false}}
    class: api_activity
    activity: Read
    fields:
      actor.user.name: user
fields:
  src_endpoint.ip: ip
  duration: {path: end, minus: t}
  actor.user.credential_uid: body.key
  resource.type: {path: type, join: sub}
  resource.data: {path: obj, as: json}
  api.response.code: code
  status_id: {path: ok, map: {"yes": "1"}, default: "2"}
`

func run(t *testing.T, yaml, record string) (Result, string) {
	t.Helper()
	m, err := Compile("m.yaml", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	return runWith(t, m, record)
}

func runWith(t *testing.T, m *Mapping, record string) (Result, string) {
	t.Helper()
	sink := &sampleSink{}
	res := NewRunner(m, sink).Map(Record{UID: block.UID("m", 0), Received: fixedReceived, Data: []byte(record)})
	var out bytes.Buffer
	if err := sink.write(&out); err != nil {
		t.Fatal(err)
	}
	return res, out.String()
}

func TestMap(t *testing.T) {
	tests := map[string]struct {
		record string
		want   []string // parts of the event, or the reason with a "!" before
		not    string
	}{
		"first path":        {`{"kind":"a","user":"ana","verb":"get"}`, []string{`api {`, `"actor.user.name":"ana"`, `"activity_name":"Read"`}, ""},
		"second path":       {`{"kind":"b","user":"-","login":"bo"}`, []string{`"actor.user.name":"bo"`, `"activity_id":99`}, ""},
		"family":            {`{"kind":"c"}`, []string{`ai {`}, ""},
		"condition not met": {`{"kind":"a","secret":"x"}`, []string{"!class"}, ""},
		"dropped":           {`{"kind":"noise"}`, []string{"-noise"}, ""},
		"address with port": {`{"kind":"a","ip":"192.0.2.7:4431"}`, []string{`"src_endpoint.ip":"192.0.2.7"`}, ""},
		"bad address stays": {`{"kind":"a","ip":"nowhere"}`, []string{`"unmapped":"{\"ip\":\"nowhere\"}"`}, "src_endpoint"},
		"duration":          {`{"kind":"a","t":1795371702348,"end":1795371702400}`, []string{`"duration":52`, `"time":"2026-11-22T18:21:42.348Z"`}, ""},
		"embedded":          {`{"kind":"a","body":"{\"key\":\"k1\",\"x\":[1]}"}`, []string{`"actor.user.credential_uid":"k1"`, `body.x`}, ""},
		"embedded not JSON": {`{"kind":"a","body":"{nope"}`, []string{`body`}, "credential"},
		"join":              {`{"kind":"a","type":"pods","sub":"exec"}`, []string{`"resource.type":"pods/exec"`}, ""},
		"json":              {`{"kind":"a","obj":{"a":[1,"x"]}}`, []string{`"resource.data":"{\"a\":[1,\"x\"]}"`}, ""},
		"default of a map":  {`{"kind":"a","ok":"no"}`, []string{`"status_id":2`}, ""},
		"code as text":      {`{"kind":"a","code":"403"}`, []string{`"api.response.code":403`}, ""},
		"code not a number": {`{"kind":"a","code":"soon"}`, []string{`"unmapped":"{\"code\":\"soon\"}"`}, "api.response"},
		"future clamped":    {`{"kind":"a","t":9995371702348}`, []string{`"time":"2026-11-23T00:00:00.000Z"`, `"time_quality":"clamped"`}, ""},
		"no time":           {`{"kind":"a"}`, []string{`"time_quality":"ingest"`}, ""},
		"unmapped nested":   {`{"kind":"a","z":{"y":1},"e":"","n":null}`, []string{`"unmapped":"{\"z.y\":1}"`}, `\"e\"`},
		"line":              {`ana did things`, []string{`"actor.user.name":"ana"`}, ""},
		"line that differs": {`nothing here`, []string{"!line"}, ""},
		"broken JSON":       {`{"kind":`, []string{"!json"}, ""},
		"UTF-16":            {"\xff\xfe{\x00", []string{"!encoding"}, ""},
		"invalid UTF-8":     {"{\"kind\":\"a\",\"user\":\"a\xc3\"}", []string{"\"actor.user.name\":\"a\uFFFD\""}, ""},
		"deep nesting":      {`{"kind":"a","z":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`, []string{"!json"}, ""},
		"duplicate keys":    {`{"kind":"a","user":"ana","user":"eve"}`, []string{`"actor.user.name":"ana"`}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			res, got := run(t, app, tt.record)
			for _, w := range tt.want {
				switch w[0] {
				case '!':
					if res.Reason != w[1:] || res.Err == nil || res.Events != 0 || got != "" {
						t.Errorf("reason %q (%v), want %q; wrote %q", res.Reason, res.Err, w[1:], got)
					}
				case '-':
					if res.Why != w[1:] || res.Dropped != 1 {
						t.Errorf("dropped %d %q", res.Dropped, res.Why)
					}
				default:
					if !strings.Contains(got, w) {
						t.Errorf("got %s\nwant %s", got, w)
					}
				}
			}
			if tt.not != "" && strings.Contains(got, tt.not) {
				t.Errorf("got %s\nwithout %s", got, tt.not)
			}
		})
	}
}

func TestClipKeepsBothEnds(t *testing.T) {
	in := strings.Repeat("a", 900) + "é" + strings.Repeat("z", 900)
	got := string(clip([]byte(in), 100, nil))
	if len(got) > 100 || !strings.HasPrefix(got, "aaa") || !strings.HasSuffix(got, "zzz") {
		t.Errorf("%d bytes: %s", len(got), got)
	}
}

func TestSplitRecordsDoNotInherit(t *testing.T) {
	const yaml = `source: test.app
split: [groups, items]
classes:
  - {class: api_activity, activity: Read}
fields:
  actor.user.name: groups.user
  resource.name: groups.items.name
  resource.uid: groups.items.id
`
	res, got := run(t, yaml, `{"groups":[{"user":"ana","items":[{"name":"a","id":"1"},{"name":"b"}]},{"items":[{"id":"9","extra":true}]}]}`)
	lines := strings.Split(strings.TrimSpace(got), "\n")
	if res.Events != 3 || len(lines) != 3 {
		t.Fatalf("%d events: %s", res.Events, got)
	}
	if strings.Contains(lines[1], "resource.uid") || strings.Contains(lines[2], "resource.name") || strings.Contains(lines[2], "ana") {
		t.Errorf("a record inherited from another: %s", got)
	}
	if lines[0][:60] == lines[1][:60] {
		t.Errorf("two events share a uid: %s", got)
	}
}

// FuzzMap: whatever the record, every mapping ends without a panic and says
// what became of it.
func FuzzMap(f *testing.F) {
	set, err := Load(sources.FS)
	if err != nil {
		f.Fatal(err)
	}
	for _, id := range set.Sources() {
		names, err := Samples(sources.FS, id)
		if err != nil {
			f.Fatal(err)
		}
		for _, n := range names {
			data, _ := sources.FS.ReadFile(n)
			if records, err := set.Get(id).split(n, data); err == nil && len(records) > 0 && len(records[0]) < 8<<10 {
				f.Add(records[0])
			}
		}
	}
	f.Add([]byte(`{"items":[{"a":1},null,[]]}`))
	sink := &sampleSink{}
	var runners []*Runner
	for _, id := range set.Sources() {
		runners = append(runners, NewRunner(set.Get(id), sink))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, r := range runners {
			sink.reset()
			res := r.Map(Record{Received: fixedReceived, Data: data})
			if res.Reason == "" && res.Events+res.Dropped == 0 {
				t.Fatalf("%s: the record vanished", r.m.Source)
			}
			rows := 0
			for f := range sink.builders {
				if b := sink.builders[f]; b != nil && b.Rows() > 0 {
					rows += b.Rows()
					var blk block.Block
					if err := block.Decode(b.AppendTo(nil, block.Header{}), &blk); err != nil {
						t.Fatal(err)
					}
				}
			}
			if rows != res.Events {
				t.Fatalf("%s: %d rows, %d events", r.m.Source, rows, res.Events)
			}
		}
	})
}

// BenchmarkMap maps each sample of each source, and builds blocks of the events.
func BenchmarkMap(b *testing.B) {
	set, err := Load(sources.FS)
	if err != nil {
		b.Fatal(err)
	}
	for _, id := range set.Sources() {
		names, err := Samples(sources.FS, id)
		if err != nil {
			b.Fatal(err)
		}
		for _, name := range names {
			data, err := sources.FS.ReadFile(name)
			if err != nil {
				b.Fatal(err)
			}
			records, err := set.Get(id).split(name, data)
			if err != nil {
				b.Fatal(err)
			}
			b.Run(id+"/"+path.Base(name), func(b *testing.B) { benchmarkMap(b, set.Get(id), records) })
		}
	}
}

func benchmarkMap(b *testing.B, m *Mapping, records [][]byte) {
	sink := &sampleSink{}
	r := NewRunner(m, sink)
	var out []byte
	events, bytes := 0, 0
	b.ReportAllocs()
	b.ResetTimer()
	for n := range b.N {
		rec := records[n%len(records)]
		bytes += len(rec)
		events += r.Map(Record{UID: block.UID("b", uint32(n)), Received: fixedReceived, Data: rec}).Events
		if n%500 == 499 || n == b.N-1 {
			for f := range sink.builders {
				if bb := sink.builders[f]; bb != nil && bb.Rows() > 0 {
					out = bb.AppendTo(out[:0], block.Header{})
					bb.Reset()
				}
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(max(events, 1)), "ns/event")
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(bytes)/float64(max(events, 1)), "B/event")
}
