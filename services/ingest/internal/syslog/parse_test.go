package syslog

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for name, tc := range map[string]struct {
		msg       string
		pri       int
		host, app string
	}{
		"5424":               {`<165>1 2026-10-11T22:14:15.003Z web1.example.com nginx 8710 - [a@32473 b="c"] text`, 165, "web1.example.com", "nginx"},
		"5424 nil values":    {"<34>1 - - - - - -", 34, "", ""},
		"3164":               {"<34>Oct 11 22:14:15 web1 su: 'su root' failed", 34, "web1", "su"},
		"3164 pid":           {"<34>Oct  1 22:14:15 web1 sshd[123]: text", 34, "web1", "sshd"},
		"3164 no host":       {"<13>Oct 11 22:14:15 cron[9]: text", 13, "", "cron"},
		"3164 ipv6 host":     {"<13>Oct 11 22:14:15 2001:db8::1 app: text", 13, "2001:db8::1", "app"},
		"3164 year":          {"<13>Oct 11 2026 22:14:15 fw1 app: text", 13, "fw1", "app"},
		"3164 no time":       {"<13>app: text", 13, "", "app"},
		"3339 time":          {"<13>2026-10-11T22:14:15.003+02:00 web1 app[1]: text", 13, "web1", "app"},
		"cisco":              {"<189>123: router1: *Mar  1 18:46:11.123: %SYS-5-CONFIG_I: Configured", 189, "router1", "%SYS-5-CONFIG_I"},
		"cisco without host": {"<189>123: Mar  1 18:46:11.123: %SYS-5-CONFIG_I: Configured", 189, "", "%SYS-5-CONFIG_I"},
		"no priority":        {"Oct 11 22:14:15 web1 app: text", -1, "web1", "app"},
		"priority too large": {"<192>1 - h a", -1, "<192>1", "-"},
		"empty":              {"", -1, "", ""},
		"only priority":      {"<1>", 1, "", ""},
		"endless":            {"<1>" + strings.Repeat("x", 1000), 1, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := parse([]byte(tc.msg))
			if h.pri != tc.pri || string(h.host) != tc.host || string(h.app) != tc.app {
				t.Errorf("got %d %q %q, want %d %q %q", h.pri, h.host, h.app, tc.pri, tc.host, tc.app)
			}
		})
	}
}

func TestPattern(t *testing.T) {
	for _, tc := range []struct {
		pattern, text string
		fold, want    bool
	}{
		{"", "anything", false, true}, {"a", "a", false, true}, {"a", "ab", false, false}, {"A", "a", true, true}, {"a", "A", true, true}, {"a", "A", false, false},
		{"web*", "web1", false, true}, {"*.example.com", "x.example.com", false, true}, {"*.example.com", "example.com", false, false},
		{"a*b*c", "axxbyyc", false, true}, {"a*b*c", "axxc", false, false}, {"a*a", "a", false, false}, {"*", "", false, true}, {"a**b", "ab", false, true},
	} {
		if p := newPattern(tc.pattern, tc.fold); p.matches([]byte(tc.text)) != tc.want {
			t.Errorf("%q on %q: want %v", tc.pattern, tc.text, tc.want)
		}
	}
}

func TestRoutes(t *testing.T) {
	l := &listener{Config: Config{Source: "auto"}}
	for _, r := range []Route{
		{App: "nginx", Host: "WEB*", Source: "one"}, {App: "nginx", Source: "two"}, {Facility: "auth", Source: "three"},
		{Network: "192.0.2.0/24", Source: "four"}, {Facility: "23", Source: "five"},
	} {
		compiled, err := r.compile()
		if err != nil {
			t.Fatal(err)
		}
		l.rules = append(l.rules, compiled)
	}
	lo, other := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.7")
	for _, tc := range []struct {
		msg  string
		from netip.Addr
		want string
	}{
		{"<13>1 - web7 nginx - - - x", lo, "one"}, {"<13>1 - db nginx - - - x", lo, "two"}, {"<34>1 - db su - - - x", lo, "three"},
		{"<13>1 - db su - - - x", other, "four"}, {"<190>x", lo, "five"}, {"odd", lo, "auto"}, {"odd", other, "four"},
	} {
		if got := l.source([]byte(tc.msg), tc.from); got != tc.want {
			t.Errorf("%q from %s goes to %s, want %s", tc.msg, tc.from, got, tc.want)
		}
	}
	msg := []byte("<13>Oct 11 22:14:15 web1.example.com sshd[12]: text")
	if n := testing.AllocsPerRun(100, func() { l.source(msg, lo) }); n != 0 {
		t.Errorf("%v allocations a message", n)
	}
}

func TestConfigMistakes(t *testing.T) {
	for want, c := range map[string]Config{
		`want udp://HOST:PORT`:             {Listen: "127.0.0.1:514"},
		"tls is missing":                   {Listen: "tls://127.0.0.1:0"},
		"listen must begin with tls://":    {Listen: "tcp://127.0.0.1:0", TLS: &TLS{Cert: "c", Key: "k"}},
		"tls.cert and tls.key":             {Listen: "tls://127.0.0.1:0", TLS: &TLS{}},
		"tls.client_ca is needed":          {Listen: "tls://127.0.0.1:0", TLS: &TLS{Cert: "c", Key: "k", ClientAuth: "required"}},
		"is none of none, optional":        {Listen: "tls://127.0.0.1:0", TLS: &TLS{Cert: "c", Key: "k", ClientAuth: "yes"}},
		`allow: "x" is no network`:         {Listen: "udp://127.0.0.1:0", Allow: []string{"x"}},
		"routes[0]: has no condition":      {Listen: "udp://127.0.0.1:0", Routes: []Route{{Source: "auto"}}},
		"routes[0]: source is missing":     {Listen: "udp://127.0.0.1:0", Routes: []Route{{App: "a"}}},
		`routes[0]: facility "x"`:          {Listen: "udp://127.0.0.1:0", Routes: []Route{{Facility: "x", Source: "auto"}}},
		"only * has a meaning of its own":  {Listen: "udp://127.0.0.1:0", Routes: []Route{{App: "a?", Source: "auto"}}},
		`routes[0]: unknown source "no.s`:  {Listen: "udp://127.0.0.1:0", Routes: []Route{{App: "a", Source: "no.such"}}},
		"must not be negative":             {Listen: "udp://127.0.0.1:0", QueueBytes: -1},
		`unknown source "no.such"`:         {Listen: "udp://127.0.0.1:0", Source: "no.such"},
		"tls certificate missing.pem and ": {Listen: "tls://127.0.0.1:0", TLS: &TLS{Cert: "missing.pem", Key: "missing.pem"}},
	} {
		if _, err := New([]Config{c}, Options{Hub: &fakeHub{}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
}

// kept is a sink that keeps messages; bad ones begin with "!".
type kept struct{ got []string }

func (k *kept) message(m []byte) error { k.got = append(k.got, string(m)); return nil }
func (k *kept) bad(m []byte, reason, _ string) error {
	k.got = append(k.got, "!"+reason+" "+string(m[:min(len(m), 8)]))
	return nil
}

// deframe feeds the input in pieces.
func deframe(input []byte, piece, limit int, clean bool) []string {
	d, k := &deframer{limit: limit}, &kept{got: []string{}}
	var buf []byte
	for len(input) > 0 {
		n := min(piece, len(input))
		buf = append(buf, input[:n]...)
		input = input[n:]
		used, _ := d.next(buf, k)
		buf = append([]byte{}, buf[used:]...)
	}
	_ = d.finish(buf, clean, k)
	return k.got
}

func TestDeframe(t *testing.T) {
	long := strings.Repeat("x", 100)
	for name, tc := range map[string]struct {
		in    string
		want  []string
		reset bool
	}{
		"counted":             {"7 <1>a\nb!8 <2>cdefg", []string{"<1>a\nb!", "<2>cdefg"}, false},
		"counted, line ends":  {"6 <1>abc\n6 <2>cde\n", []string{"<1>abc", "<2>cde"}, false},
		"counted, cut":        {"6 <1>abc20 <2>c", []string{"<1>abc", "!incomplete_message 20 <2>c"}, false},
		"counted, broken":     {"6 <1>abcoops\n6 <2>cde", []string{"<1>abc", "oops", "<2>cde"}, false},
		"counted, zero":       {"6 <1>abc0 \n6 <2>cde", []string{"<1>abc", "0 ", "<2>cde"}, false},
		"counted, too long":   {"6 <1>abc103 <1>" + long + "6 <2>cde", []string{"<1>abc", "!line_too_long <1>xxxxx", "<2>cde"}, false},
		"lines":               {"<1>a\n<2>b\r\n\n<3>c", []string{"<1>a", "<2>b", "<3>c"}, false},
		"lines, reset":        {"<1>a\n<2>b", []string{"<1>a", "!incomplete_message <2>b"}, true},
		"lines, no smuggling": {"<1>a\n5 <2>b\n", []string{"<1>a", "5 <2>b"}, false},
		"lines, too long":     {"<1>a\n<2>" + long + "\n<3>c\n", []string{"<1>a", "!line_too_long <2>xxxxx", "<3>c"}, false},
		"first too long":      {"<2>" + long + "\n<3>c\n", []string{"!line_too_long <2>xxxxx", "<3>c"}, false},
		"nul":                 {"<1>a\nb\x00<2>c\x00", []string{"<1>a", "b\x00<2>c"}, false},
		"only nul":            {"<1>a\x00<2>b\nc\x00", []string{"<1>a", "<2>b\nc"}, false},
		"no priority":         {"2026-10-11 text\nmore\n", []string{"2026-10-11 text", "more"}, false},
		"starts with a count": {"12 monkeys\n", []string{"12 monkeys"}, false},
		"empty":               {"", []string{}, false},
		"only ends":           {"\n\n\r\n", []string{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			for piece := 1; piece <= len(tc.in)+1; piece++ {
				got := deframe([]byte(tc.in), piece, 64, !tc.reset)
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Fatalf("in pieces of %d: %s", piece, diff)
				}
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"<34>1 2026-10-11T22:14:15Z h app 1 - - x", "<13>Oct 11 22:14:15 h a[1]: x", "<189>1: r: *Mar  1 2026 18:46:11: %S-5-C: x", "<999>", "<", "1 <"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		h := parse(msg)
		if h.pri < -1 || h.pri > 191 || len(h.host) > maxToken || len(h.app) > maxToken {
			t.Fatalf("%+v of %q", h, msg)
		}
		if !bytes.Contains(msg, h.host) || !bytes.Contains(msg, h.app) {
			t.Fatalf("%q %q are not in %q", h.host, h.app, msg)
		}
	})
}

// FuzzDeframe: how the bytes are cut into reads changes nothing, and no
// message is longer than the limit.
func FuzzDeframe(f *testing.F) {
	for _, s := range []string{"5 <1>ab5 <2>cd", "<1>a\n<2>b", "<1>a\x00<2>b\n", "999999999 <1>x", "5 <1>abx\n5 <2>cd", "0 <1>", "100 <1>" + strings.Repeat("y", 120)} {
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, in []byte, piece uint8) {
		whole := deframe(in, len(in)+1, 32, true)
		parts := deframe(in, int(piece)+1, 32, true)
		if !slices.Equal(whole, parts) {
			t.Fatalf("%q in pieces of %d: %q, whole: %q", in, piece+1, parts, whole)
		}
		for _, m := range whole {
			if len(m) > 32 && m[0] != '!' || m == "" {
				t.Fatalf("message %q of %q", m, in)
			}
		}
	})
}

func BenchmarkDeframe(b *testing.B) {
	var lines, counted bytes.Buffer
	for i := range 1000 {
		msg := fmt.Sprintf(`<165>1 2026-10-11T22:14:15.%06dZ web1.example.com nginx 8710 - - 203.0.113.%d - - "POST /v1/chat/completions HTTP/1.1" 200 %d "-" "python-requests/2.32" 0.312`, i, i%256, i)
		fmt.Fprintln(&lines, msg)
		fmt.Fprintf(&counted, "%d %s", len(msg), msg)
	}
	l := &listener{Config: Config{Source: "auto"}}
	for _, r := range []Route{{App: "sshd", Source: "linux.auth"}, {App: "nginx", Host: "web*", Source: "nginx.access"}} {
		compiled, _ := r.compile()
		l.rules = append(l.rules, compiled)
	}
	for name, in := range map[string][]byte{"lines": lines.Bytes(), "counted": counted.Bytes()} {
		b.Run(name, func(b *testing.B) {
			l.hub = &fakeHub{quiet: true}
			s := &session{l: l, batch: newCollector(&l.pool)}
			s.sub = l.submitter
			s.ctx = b.Context()
			s.frames.limit = 1 << 20
			s.release = func() {}
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.frames.next(in, s); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/record")
		})
	}
}
