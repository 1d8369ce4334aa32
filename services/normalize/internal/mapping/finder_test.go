package mapping

import (
	"fmt"
	"regexp"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/vagus-hub/vagus/schemas/sources"
)

func setOf(t testing.TB, files map[string]string) *Set {
	t.Helper()
	fsys := fstest.MapFS{}
	for id, text := range files {
		fsys[id+"/mapping.yaml"] = &fstest.MapFile{Data: []byte("source: " + id + "\nclasses: [{class: api_activity, activity: Read}]\n" + text)}
	}
	set, err := Load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestFind(t *testing.T) {
	set := setOf(t, map[string]string{
		"a.json":   "detect: [{kind: a, id: {exists: true}}]\n",
		"a.more":   "detect: [{kind: a, id: {exists: true}, extra.x: {prefix: [y, z]}}]\n",
		"b.nested": "detect: [{'list[0].kind': b}, {'rows.kind': b}]\n",
		"c.dotted": "detect: [{event.type: login}]\n",
		"d.otel":   "key_values: [spans.attributes]\ndetect: [{'spans.attributes[\"gen_ai.system\"]': {exists: true}}]\n",
		"e.text":   "format: text\nlines: ['%{a} %{b}']\ndetect: [{line: {prefix: 'E '}}, {line: {regexp: '^\\d+ E '}}]\n",
		"f.auto":   "format: auto\nlines: ['%{a} %{b}']\ndetect: [{f: {exists: true}}, {line: {contains: ' FF '}}]\n",
		"g.kv":     "format: kv\ndetect: [{devname: {exists: true}, type: traffic}]\n",
		"h.cef":    "format: cef\ndetect: [{cef.device_vendor: Acme}]\n",
		"i.syslog": "format: syslog\ndetect: [{syslog.appname: sshd}]\n",
		"j.zeek":   "format: zeek\ndetect: [{_path: {exists: true}, uid: {exists: true}}]\n",
		"k.audit":  "format: audit\ndetect: [{audit.id: {exists: true}}]\n",
		"l.csv":    "format: csv\ncolumns: [x, kind]\ndetect: [{kind: THREAT}]\n",
		"m.body":   "embedded: [body]\ndetect: [{body.m: '1'}]\n",
	})
	tests := map[string]struct{ record, want string }{
		"path":              {`{"kind":"a","id":1}`, "a.json"},
		"more conditions":   {`{"kind":"a","id":1,"extra":{"x":"zz"}}`, "a.more"},
		"index":             {`{"list":[{"kind":"b"}]}`, "b.nested"},
		"list of records":   {`{"rows":[{"kind":"b"}]}`, "b.nested"},
		"key with dots":     {`{"event.type":"login"}`, "c.dotted"},
		"path of that name": {`{"event":{"type":"login"}}`, "c.dotted"},
		"attributes":        {`{"spans":[{"attributes":[{"key":"x","value":{}}]},{"attributes":[{"key":"gen_ai.system","value":{"stringValue":"openai"}}]}]}`, "d.otel"},
		"prefix":            {`E x`, "e.text"},
		"regexp":            {`12 E x`, "e.text"},
		"auto as JSON":      {`{"f":1}`, "f.auto"},
		"auto as a line":    {`a FF b`, "f.auto"},
		"pairs":             {`<189>date=1 devname="x" type=traffic`, "g.kv"},
		"CEF":               {`<1>Nov 22 18:21:42 h CEF:0|Acme|X|1|1|n|5|a=1`, "h.cef"},
		"syslog":            {`<38>Nov  2 18:21:42 web1 sshd[812]: Failed`, "i.syslog"},
		"Zeek table":        {"#path\tconn\n#fields\tts\tuid\n1\tC1", "j.zeek"},
		"Zeek JSON":         {`{"_path":"conn","uid":"C1"}`, "j.zeek"},
		"audit":             {`type=X msg=audit(1.1:2): a=1`, "k.audit"},
		"CSV":               {`1,THREAT`, "l.csv"},
		"JSON in a string":  {`{"body":"{\"m\":1}"}`, "m.body"},
		"escaped":           {`{"kind":"\u0061","id":1}`, "a.json"},
		"unknown JSON":      {`{"zzz":1}`, ""},
		"unknown text":      {`zzz`, ""},
		"broken":            {`{"kind":"a","id":1`, ""},
		"empty":             {``, ""},
	}
	f := set.NewFinder()
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := ""
			if m := f.Find([]byte(tt.record)); m != nil {
				got = m.Source
			}
			if got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestFirstBytes(t *testing.T) {
	tests := map[string]struct{ pattern, want string }{
		"literal":      {`^abc`, "a"},
		"class":        {`^[x-z]1`, "xyz"},
		"choice":       {`^(?:a|b+|\d{0}c)`, "abc"},
		"optional":     {`^a?b`, "ab"},
		"not anchored": {`abc`, "any"},
		"one is not":   {`^a|b`, "any"},
		"may be empty": {`^a*`, "any"},
	}
	for name, tt := range tests {
		bytes, ok := firstBytes(regexp.MustCompile(tt.pattern))
		got := "any"
		if ok {
			got = ""
			for b := range 128 {
				if bytes[b] {
					got += string(rune(b))
				}
			}
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

func TestNeedle(t *testing.T) {
	tests := map[string]struct{ pattern, want string }{
		"literal":  {`^abc`, "abc"},
		"longest":  {`^ab\d+(cde)f`, "cde"},
		"optional": {`^(abc)?d`, "d"},
		"repeated": {`(?:abc){2,3}x`, "abc"},
		"choice":   {`^(?:abc|xyz)`, ""},
		"any case": {`(?i)abc`, ""},
		"escaped":  {`msg=audit\(`, "msg=audit("},
		"none":     {`^\d+`, ""},
	}
	for name, tt := range tests {
		if got := string(needle(regexp.MustCompile(tt.pattern))); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// TestEverySampleIsRecognised: a record must be told by what is in it.
func TestEverySampleIsRecognised(t *testing.T) {
	set, err := Load(sources.FS)
	if err != nil {
		t.Fatal(err)
	}
	f := set.NewFinder()
	for _, id := range set.Sources() {
		m := set.Get(id)
		if len(m.detect) == 0 {
			t.Errorf("%s: the mapping has no detect", id)
			continue
		}
		wrong := map[string]int{}
		r := NewRunner(m, &sampleSink{})
		err := m.eachSample(sources.FS, func(name string, record []byte) {
			got := f.Find(record)
			switch {
			case got == nil && r.Map(Record{Received: fixedReceived, Data: record}).Dropped > 0: // noise, such as a line at the start
			case got == nil:
				wrong[name+": recognised as nothing"]++
			case got != m:
				wrong[name+": recognised as "+got.Source]++
			case f.Ambiguous():
				wrong[name+": another source is as sure"]++
			}
		})
		if err != nil {
			t.Error(err)
		}
		var lines []string
		for what, n := range wrong {
			lines = append(lines, fmt.Sprintf("%s (%d records)", what, n))
		}
		slices.Sort(lines)
		for _, l := range lines {
			t.Error(l)
		}
	}
}

// BenchmarkFind recognises one record of each sample.
func BenchmarkFind(b *testing.B) {
	set, err := Load(sources.FS)
	if err != nil {
		b.Fatal(err)
	}
	f := set.NewFinder()
	for _, id := range set.Sources() {
		var records [][]byte
		bytes := 0
		if err := set.Get(id).eachSample(sources.FS, func(_ string, record []byte) {
			records = append(records, record)
			bytes += len(record)
		}); err != nil || len(records) == 0 {
			continue
		}
		b.Run(id, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(bytes / len(records)))
			for n := range b.N {
				f.Find(records[n%len(records)])
			}
		})
	}
}

// FuzzFind: no record makes detection panic.
func FuzzFind(f *testing.F) {
	set, err := Load(sources.FS)
	if err != nil {
		f.Fatal(err)
	}
	for _, id := range set.Sources() {
		_ = set.Get(id).eachSample(sources.FS, func(_ string, record []byte) {
			if len(record) < 2000 {
				f.Add(record)
			}
		})
	}
	finder := set.NewFinder()
	f.Fuzz(func(_ *testing.T, record []byte) { finder.Find(record) })
}
