package text

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// recorder writes down what a parser hands over.
type recorder struct {
	path []string
	got  []string
}

func (r *recorder) Set(key, value []byte) {
	r.got = append(r.got, strings.Join(append(r.path, string(key)), ".")+"="+string(value))
}

func (r *recorder) Open(key []byte, index int) {
	name := string(key)
	if index > 0 {
		name += fmt.Sprintf("[%d]", index)
	}
	r.path = append(r.path, name)
}

func (r *recorder) Close() { r.path = r.path[:len(r.path)-1] }

func TestParsers(t *testing.T) {
	tests := map[string]struct {
		parser Parser
		in     string
		want   []string // nil: an error
	}{
		"logfmt":             {&Pairs{}, `level=info msg="a \"b\" c" path=C:\x empty= n=1`, []string{"level=info", `msg=a "b" c`, `path=C:\x`, "empty=", "n=1"}},
		"text before pairs":  {&Pairs{}, `login ok user=ana`, []string{"_text=login ok", "user=ana"}},
		"bare words between": {&Pairs{}, `a=1 flag b=2`, []string{"a=1", "b=2"}},
		"pairs with header":  {&Pairs{}, `<189>date=2026-11-22 devname="fw 1"`, []string{"syslog.priority=189", "syslog.facility=23", "syslog.severity=5", "date=2026-11-22", "devname=fw 1"}},
		"pairs by comma":     {&Pairs{Separator: ','}, `a=b c, d="e,f"`, []string{"a=b c", "d=e,f"}},
		"no pairs":           {&Pairs{}, `nothing at all`, nil},
		"open quote":         {&Pairs{}, `a="b c=d`, []string{`a="b`, "c=d"}},
		"CEF": {&CEF{}, `<13>Nov 22 18:21:42 fw1 CEF:0|Acme|Wall\|X|1.0|100|block me|7|src=192.0.2.1 msg=a b\=c d request=http://x.example.com/?q=1 cs1Label=Rule cs1=r 1`,
			[]string{"syslog.priority=13", "syslog.facility=1", "syslog.severity=5", "syslog.timestamp=Nov 22 18:21:42", "syslog.hostname=fw1",
				"cef.version=0", "cef.device_vendor=Acme", "cef.device_product=Wall|X", "cef.device_version=1.0", "cef.signature_id=100", "cef.name=block me", "cef.severity=7",
				"src=192.0.2.1", "msg=a b=c d", "request=http://x.example.com/?q=1", "cs1Label=Rule", "cs1=r 1"}},
		"CEF cut off": {&CEF{}, "CEF:0|Acme|X", nil},
		"LEEF 1":      {&LEEF{}, "LEEF:1.0|Acme|X|1|evt|src=192.0.2.1\tusrName=ana", []string{"leef.version=1.0", "leef.vendor=Acme", "leef.product=X", "leef.product_version=1", "leef.event_id=evt", "src=192.0.2.1", "usrName=ana"}},
		"LEEF 2":      {&LEEF{}, "LEEF:2.0|Acme|X|1|evt|^|a=1^b=2", []string{"leef.version=2.0", "leef.vendor=Acme", "leef.product=X", "leef.product_version=1", "leef.event_id=evt", "a=1", "b=2"}},
		"LEEF 2 hex":  {&LEEF{}, "LEEF:2.0|Acme|X|1|evt|0x7C|a=1|b=2", []string{"leef.version=2.0", "leef.vendor=Acme", "leef.product=X", "leef.product_version=1", "leef.event_id=evt", "a=1", "b=2"}},
		"RFC 5424": {&Syslog{}, `<165>1 2026-11-22T18:21:42.003Z host.example.com app 8710 ID47 [ex@1 a="b\"c"][y z="1"] hello`,
			[]string{"syslog.priority=165", "syslog.facility=20", "syslog.severity=5", "syslog.timestamp=2026-11-22T18:21:42.003Z", "syslog.hostname=host.example.com", "syslog.appname=app", "syslog.procid=8710", "syslog.msgid=ID47",
				`syslog.structured=[ex@1 a="b\"c"][y z="1"]`, `syslog.structured.ex@1.a=b"c`, "syslog.structured.y.z=1", "syslog.message=hello"}},
		"RFC 3164": {&Syslog{}, `<38>Nov  2 18:21:42 web1 sshd[812]: Failed password for root`,
			[]string{"syslog.priority=38", "syslog.facility=4", "syslog.severity=6", "syslog.timestamp=Nov  2 18:21:42", "syslog.hostname=web1", "syslog.appname=sshd", "syslog.procid=812", "syslog.message=Failed password for root"}},
		"file": {&Syslog{}, `2026-11-22T18:21:42.1+00:00 web1 sudo: ana : TTY=pts/0`,
			[]string{"syslog.timestamp=2026-11-22T18:21:42.1+00:00", "syslog.hostname=web1", "syslog.appname=sudo", "syslog.message=ana : TTY=pts/0"}},
		"Cisco": {&Syslog{}, `<166>Nov 22 2026 18:21:42: %ASA-6-302013: Built outbound`,
			[]string{"syslog.priority=166", "syslog.facility=20", "syslog.severity=6", "syslog.timestamp=Nov 22 2026 18:21:42", "syslog.message=%ASA-6-302013: Built outbound"}},
		"Cisco host": {&Syslog{}, `<166>Nov 22 18:21:42 192.0.2.1 : %ASA-6-302013: Built`,
			[]string{"syslog.priority=166", "syslog.facility=20", "syslog.severity=6", "syslog.timestamp=Nov 22 18:21:42", "syslog.hostname=192.0.2.1", "syslog.message=%ASA-6-302013: Built"}},
		"plain": {&Syslog{}, `just text`, []string{"syslog.message=just text"}},
		"audit": {&Audit{}, "type=SYSCALL msg=audit(1795371702.348:99): arch=c000003e syscall=59 success=yes a0=1000 exe=\"/usr/bin/curl\" key=\"exec\"\x1dUID=\"root\"\n" +
			"type=EXECVE msg=audit(1795371702.348:99): argc=3 a0=\"curl\" a1=2D6F a2=\"x\"\n" +
			"type=PATH msg=audit(1795371702.348:99): item=0 name=\"/usr/bin/curl\"\ntype=PATH msg=audit(1795371702.348:99): item=1 name=2F746D702F612062",
			[]string{"audit.id=1795371702.348:99", "audit.time=1795371702.348", "audit.serial=99", "audit.type=SYSCALL",
				"FIRST.arch=c000003e", "FIRST.syscall=59", "FIRST.success=yes", "FIRST.a0=1000", "FIRST.exe=/usr/bin/curl", "FIRST.key=exec", "FIRST.UID=root",
				"SYSCALL.arch=c000003e", "SYSCALL.syscall=59", "SYSCALL.success=yes", "SYSCALL.a0=1000", "SYSCALL.exe=/usr/bin/curl", "SYSCALL.key=exec", "SYSCALL.UID=root",
				"EXECVE.a0=curl", "EXECVE.a1=-o", "EXECVE.a2=x", "EXECVE.argv=curl -o x", "PATH.item=0", "PATH.name=/usr/bin/curl", "PATH[1].item=1", "PATH[1].name=/tmp/a b",
				"audit.records= SYSCALL EXECVE PATH "}},
		"audit of a user": {&Audit{}, `type=USER_LOGIN msg=audit(1.000:7): pid=3 uid=0 msg='op=login acct="ana" res=success'`,
			[]string{"audit.id=1.000:7", "audit.time=1.000", "audit.serial=7", "audit.type=USER_LOGIN", "FIRST.pid=3", "FIRST.uid=0", "FIRST.op=login", "FIRST.acct=ana", "FIRST.res=success",
				"USER_LOGIN.pid=3", "USER_LOGIN.uid=0", "USER_LOGIN.op=login", "USER_LOGIN.acct=ana", "USER_LOGIN.res=success"}},
		"no audit": {&Audit{}, "type=SYSCALL nothing", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for range 2 { // parsers are used again
				var r recorder
				err := tt.parser.Parse([]byte(tt.in), &r)
				if (err != nil) != (tt.want == nil) {
					t.Fatalf("error %v, got %q", err, r.got)
				}
				if tt.want != nil {
					if d := cmp.Diff(tt.want, r.got); d != "" {
						t.Errorf("(-want +got)\n%s", d)
					}
				}
			}
		})
	}
}

func rows(t *Table, in string) []string {
	var out []string
	lines := t.Begin([]byte(in))
	for {
		var r recorder
		rest, more, err := t.Next(lines, &r)
		if !more {
			return out
		}
		if err != nil {
			return append(out, "error")
		}
		out, lines = append(out, strings.Join(r.got, " ")), rest
	}
}

func TestTables(t *testing.T) {
	names := func(s ...string) (out [][]byte) {
		for _, n := range s {
			out = append(out, []byte(n))
		}
		return out
	}
	tests := map[string]struct {
		table Table
		in    string
		want  []string
	}{
		"CSV":             {Table{Columns: names("a", "", "c")}, `1,2,"x, ""y"""`, []string{`a=1 c=x, "y"`}},
		"CSV, two lines":  {Table{Columns: names("a", "b")}, "1,2\r\n3,\"4\n5\"\n", []string{"a=1 b=2", "a=3 b=4\n5"}},
		"header line":     {Table{}, "a,b\n1,2\n", []string{"a=1 b=2"}},
		"no names":        {Table{}, "1,2", []string{"error"}},
		"too many values": {Table{Columns: names("a")}, "1,2,3", []string{"a=1"}},
		"W3C":             {Table{}, "#Software: x\n#Fields: date c-ip\n2026-11-22 192.0.2.1", []string{"date=2026-11-22 c-ip=192.0.2.1"}},
		"CSV with header": {Table{Columns: names("a", "b")}, "<14>Nov 22 18:21:42 fw1 1,THREAT", []string{"syslog.priority=14 syslog.facility=1 syslog.severity=6 syslog.timestamp=Nov 22 18:21:42 syslog.hostname=fw1 a=1 b=THREAT"}},
		"Zeek":            {Table{Zeek: true}, "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n#fields\tts\tid.orig_h\tuid\tx\n#types\ttime\taddr\tstring\tset\n1.5\t192.0.2.1\t-\t(empty)\n2.5\t192.0.2.2\tC1\ta,b\n#close\tx\n", []string{"_path=conn ts=1.5 id.orig_h=192.0.2.1", "_path=conn ts=2.5 id.orig_h=192.0.2.2 uid=C1 x=a,b"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				if d := cmp.Diff(tt.want, rows(&tt.table, tt.in)); d != "" {
					t.Errorf("(-want +got)\n%s", d)
				}
			}
		})
	}
}

// FuzzParsers: no parser panics, leaves an object open or hands over more than
// it may.
func FuzzParsers(f *testing.F) {
	for _, s := range []string{`a=1 b="c\"d"`, "CEF:0|a|b|c|d|e|5|x=1 y=2 3", "LEEF:2.0|a|b|c|d|^|x=1^y=2", `<13>1 2026-11-22T00:00:00Z h a p m [i a="b"] t`, "<13>Nov 22 18:21:42 h a[1]: t",
		"type=EXECVE msg=audit(1.0:1): argc=1 a0=4142", "#separator \\x09\n#fields\ta\tb\n1\t2", `"a""b",c`, "a,b\n1,2"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, p := range []Parser{&Pairs{}, &Pairs{Separator: ','}, &CEF{}, &LEEF{}, &Syslog{}, &Audit{}} {
			var r recorder
			_ = p.Parse(data, &r)
			if len(r.path) != 0 || len(r.got) > 3*MaxFields {
				t.Fatalf("%T: open %q, %d fields", p, r.path, len(r.got))
			}
		}
		for _, tb := range []*Table{{}, {Zeek: true}, {Columns: [][]byte{[]byte("a"), []byte("b")}}} {
			lines := tb.Begin(data)
			for n := 0; ; n++ {
				var r recorder
				rest, more, err := tb.Next(lines, &r)
				if !more || err != nil {
					break
				}
				if len(rest) >= len(lines) && len(lines) > 0 || n > len(data) {
					t.Fatal("no progress")
				}
				lines = rest
			}
		}
	})
}

// TestHostileLengths: what would cost the square of its length must not; the
// test would not end within its time limit.
func TestHostileLengths(t *testing.T) {
	const n = 1 << 20
	for name, in := range map[string]string{
		"equals signs": "CEF:0|a|b|c|d|e|5|a=" + strings.Repeat("=", n),
		"open quotes":  strings.Repeat(`a="\`, n/4),
		"headers":      strings.Repeat("<1>1 - - - - - [\n", n/17),
	} {
		for _, p := range []Parser{&Pairs{}, &CEF{}, &LEEF{}, &Syslog{}, &Audit{}} {
			_ = p.Parse([]byte(in), &recorder{})
		}
		tb := Table{Columns: [][]byte{[]byte("a")}}
		lines := tb.Begin([]byte(in))
		for {
			rest, more, err := tb.Next(lines, &recorder{})
			if !more || err != nil {
				break
			}
			lines = rest
		}
		t.Log(name)
	}
}
