package mapping

import (
	"strconv"
	"strings"
	"testing"
)

// TestLanguage maps one record with each form of the language.
func TestLanguage(t *testing.T) {
	const head = "source: test.app\nabsent: ['-']\n"
	const tail = "\nclasses: [{class: api_activity, activity: Read}]\n"
	tests := map[string]struct {
		yaml, record string
		want         []string
	}{
		"kv":             {"format: kv\nfields: {actor.user.name: user, message: _text}", `hello user="a b" rest=x`, []string{`"actor.user.name":"a b"`, `"message":"hello"`, `{\"rest\":\"x\"}`}},
		"kv as JSON":     {"format: kv\nfields: {actor.user.name: user}", `{"user":"ana"}`, []string{`"actor.user.name":"ana"`}},
		"kv with a path": {"format: kv\nfields: {actor.user.name: user.name}", `user.name=ana`, []string{`"actor.user.name":"ana"`}},
		"csv":            {"format: csv\ncolumns: [a, user, c]\nseparator: \"\\t\"\nfields: {actor.user.name: user}", "1\tana\t3", []string{`"actor.user.name":"ana"`, `\"a\":\"1\"`}},
		"two lines":      {"format: csv\ncolumns: [user]\nfields: {actor.user.name: user}", "ana\nbo", []string{`"ana"`, `"bo"`}},
		"zeek":           {"format: zeek\nfields: {src_endpoint.ip: id.orig_h}", "#fields\tts\tid.orig_h\n1\t192.0.2.1", []string{`"src_endpoint.ip":"192.0.2.1"`}},
		"zeek as JSON":   {"format: zeek\nfields: {src_endpoint.ip: id.orig_h}", `{"id.orig_h":"192.0.2.1"}`, []string{`"src_endpoint.ip":"192.0.2.1"`}},
		"cef":            {"format: cef\nfields: {actor.user.name: suser}\nseverity: {path: cef.severity, map: {'7': High}}", "CEF:0|A|B|1|1|n|7|suser=ana", []string{`"actor.user.name":"ana"`, `"severity_id":4`}},
		"leef":           {"format: leef\nfields: {actor.user.name: usrName}", "LEEF:1.0|A|B|1|1|usrName=ana", []string{`"actor.user.name":"ana"`}},
		"syslog":         {"format: syslog\nlines: [{regexp: 'for (?P<user>\\S+)$'}]\nfields: {actor.user.name: user, resource.name: syslog.hostname}\ntime: [{path: syslog.timestamp, format: syslog}]", "<38>Nov 22 18:21:42 web1 sshd[1]: password for ana", []string{`"actor.user.name":"ana"`, `"resource.name":"web1"`, `"time":"2026-11-22T18:21:42.000Z"`}},
		"audit":          {"format: audit\nfields: {actor.user.name: SYSCALL.exe, message: EXECVE.argv, metadata.labels: 'PATH[*].name', resource.name: 'PATH[1].name', resource.uid: FIRST.exe}", "type=SYSCALL msg=audit(1.0:1): exe=\"/bin/x\"\ntype=EXECVE msg=audit(1.0:1): a0=\"x\" a1=\"y\"\ntype=PATH msg=audit(1.0:1): name=\"/a\"\ntype=PATH msg=audit(1.0:1): name=\"/b\" mode=7", []string{`"actor.user.name":"/bin/x"`, `"message":"x y"`, `"metadata.labels":["/a","/b"]`, `"resource.name":"/b"`, `"resource.uid":"/bin/x"`, `PATH[1].mode`}},
		"concat":         {"fields: {message: {paths: [a, b, c], concat: ' '}}", `{"a":1,"b":"-","c":"x"}`, []string{`"message":"1 x"`}},
		"capture":        {"fields: {message: {path: a, regexp: 'k=(\\w+)', as: upper}}", `{"a":"j k=v"}`, []string{`"message":"V"`}},
		"split":          {"fields: {metadata.labels: {path: a, split: ',', as: lower}}", `{"a":"X, Y"}`, []string{`"metadata.labels":["x","y"]`}},
		"scale":          {"fields: {duration: {path: a, scale: 1000}}", `{"a":1.5}`, []string{`"duration":1500`}},
		"severity":       {"severity: [{path: a}, High]", `{"b":1}`, []string{`"severity_id":4`}},
		"severity word":  {"severity: {path: a}", `{"a":"critical"}`, []string{`"severity_id":5`}},
		"trim":           {"fields: {message: {path: a, as: trim}}", `{"a":" x "}`, []string{`"message":"x"`}},
		"two spellings":  {"aliases: {m: method}\nlines: ['%{_x} $http_method=%{$m}']\nformat: auto\nfields: {message: method, http_request.method: [$m]}", `{"method":"GET"}`, []string{`"message":"GET"`, `"http_request.method":"GET"`}},
		"alias of alias": {"aliases: {a: b.c, x: '$a[\"d.e\"]'}\nfields: {message: $x.f}", `{"b":{"c":{"d.e":{"f":"x"}}}}`, []string{`"message":"x"`}},
		"ignored parent": {"ignore: [a, e]\nembedded: [e]\nfields: {message: a.b.c, resource.name: e.x}", `{"a":{"b":{"c":"x","d":1},"y":[1]},"e":"{\"x\":\"n\",\"y\":2}","k":1}`, []string{`"message":"x"`, `"resource.name":"n"`, `"unmapped":"{\"k\":1}"`}},
		"base64":         {"fields: {message: {path: a, as: base64}}", `{"a":"d2hvYW1pCg=="}`, []string{`"message":"whoami\n"`}},
		"base64, UTF-16": {"fields: {message: {path: a, as: base64}}", `{"a":"dwBoAG8AYQBtAGkA"}`, []string{`"message":"whoami"`}},
		"no base64":      {"fields: {message: {path: a, as: base64}}", `{"a":"who am i"}`, []string{`"message":"who am i"`}},
		"unescape":       {"fields: {message: {path: a, as: unescape}}", `{"a":"b'x\\n\\x41\\'\\q\\xc3\\xa9'"}`, []string{`"message":"x\nA'\\qé"`}},
		"dotted key":     {"fields: {message: a.b.c}", `{"a.b":{"c":"x"}}`, []string{`"message":"x"`}},
		"fragment":       {"use: [http]\naliases: {http_status: code}\nfields: {message: m}", `{"m":"x","code":403}`, []string{`"status_id":2`, `"message":"x"`}},
		"condition":      {"drop: [{when: {a: {gt: 5, lt: 9}, b: {suffix: x, contains: y, regexp: '^z'}}, reason: noise}]", `{"a":7,"b":"z y x"}`, []string{"dropped noise"}},
		"not exists":     {"drop: [{when: {b: {not_exists: true}}, reason: noise}]", `{"a":7}`, []string{"dropped noise"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			text := head + tt.yaml + tail
			set := setOf(t, map[string]string{"test.app": strings.TrimPrefix(head+tt.yaml, "source: test.app\n")})
			m := set.Get("test.app")
			if m == nil {
				t.Fatal(text)
			}
			res, got := runWith(t, m, tt.record)
			if res.Dropped > 0 {
				got += "dropped " + res.Why
			}
			for _, w := range tt.want {
				if !strings.Contains(got, w) {
					t.Errorf("got %s %v\nwant %s", got, res.Err, w)
				}
			}
		})
	}
}

func TestLanguageErrors(t *testing.T) {
	tests := map[string]struct{ yaml, want string }{
		"format":           {"format: jsn\n", `format "jsn" is none of`},
		"regexp":           {"fields:\n  message: {path: a, regexp: '('}\n", "m.yaml:6:30: error parsing regexp"},
		"split of a text":  {"fields:\n  message: {path: a, split: ','}\n", "column message is no list"},
		"scale of a text":  {"fields:\n  message: {path: a, scale: 2}\n", "column message is no number"},
		"concat of one":    {"fields:\n  message: {path: a, concat: ','}\n", "concat: joins several paths"},
		"unknown severity": {"severity: {path: a, map: {x: Huge}}\n", `severity "Huge" is none of`},
		"framing of JSON":  {"framing: {start: a}\n", "framing: JSON records need none"},
		"two framings":     {"format: kv\nframing: {start: a, header: b}\n", "framing: give one of"},
		"alias of itself":  {"aliases: {a: $b.x, b: $a}\nfields:\n  message: $a\n", `m.yaml:7:12: path "$a": the alias "a" leads back to itself`},
		"no fragment":      {"use: [nope]\n", `there is no fragment "nope"`},
		"weak detect":      {"detect: [{a: {not: x}}]\n", "detect: an alternative needs"},
		"empty condition":  {"drop: [{when: {a: {}}, reason: x}]\n", "the condition on a says nothing"},
		"groups":           {"format: text\nlines: [{regexp: 'a'}]\n", "has no (?P<name>"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Compile("m.yaml", []byte(minimal+tt.yaml))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

// FuzzCompile: no mapping makes the compiler panic.
func FuzzCompile(f *testing.F) {
	f.Add(minimal + "detect: [{a: {prefix: [x, y]}}]\nframing: {start: '^x'}\n")
	f.Add("a: &x {b: *x}\nc: {<<: *x}")
	f.Add(app)
	f.Fuzz(func(_ *testing.T, text string) { _, _ = Compile("m.yaml", []byte(text)) })
}

// TestTables maps records as ingest frames them: a header and up to 500 lines,
// the header again in front of the lines after those.
func TestTables(t *testing.T) {
	set := setOf(t, map[string]string{
		"a.zeek": "format: zeek\nframing: {header: '#'}\nfields: {src_endpoint.ip: id.orig_h, metadata.original_uid: uid, metadata.log_name: _path}\n",
		"a.csv":  "format: csv\nframing: {header: '#'}\nfields: {src_endpoint.ip: c-ip, message: cs(Host)}\n",
	})
	const zeek = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n#fields\tts\tuid\tid.orig_h\tnote\n#types\ttime\tstring\taddr\tstring\n"
	const w3c = "#Version: 1.0\n#Fields: date c-ip cs(Host)\n"
	tests := map[string]struct {
		source, header, line string
		lines                int
		not                  string
	}{
		"zeek":              {"a.zeek", zeek, "1795371702.5\tC%d\t192.0.2.1\t-\n", 500, "note"},
		"zeek, line end":    {"a.zeek", strings.ReplaceAll(zeek, "\n", "\r\n"), "1795371702.5\tC%d\t192.0.2.1\t(empty)\r\n", 3, "empty"},
		"zeek, closed":      {"a.zeek", zeek, "1795371702.5\tC%d\t192.0.2.1\t-\n#close\t2026-11-22-18-21-42\n", 1, ""},
		"zeek, header only": {"a.zeek", zeek, "", 0, ""},
		"w3c":               {"a.csv", w3c, "2026-11-22 192.0.2.1 h%d\n", 500, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			record := tt.header
			for n := range max(tt.lines, 1) {
				record += strings.ReplaceAll(tt.line, "%d", strconv.Itoa(n))
			}
			res, got := runWith(t, set.Get(tt.source), strings.TrimRight(record, "\r\n"))
			if res.Reason != "" || res.Events != tt.lines || tt.lines > 0 && res.Dropped > 0 {
				t.Fatalf("%d events, %d dropped, %s %v", res.Events, res.Dropped, res.Reason, res.Err)
			}
			if n := strings.Count(got, `"src_endpoint.ip":"192.0.2.1"`); n != tt.lines {
				t.Errorf("%d addresses in\n%.400s", n, got)
			}
			if tt.not != "" && strings.Contains(got, tt.not) {
				t.Errorf("%s in\n%.400s", tt.not, got)
			}
			if tt.source == "a.zeek" && tt.lines > 0 && !strings.Contains(got, `"metadata.log_name":"conn"`) {
				t.Errorf("no path in\n%.400s", got)
			}
		})
	}
}
