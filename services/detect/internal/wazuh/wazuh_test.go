package wazuh

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/ruletest"
)

const example = `<!-- invented rules -->
<var name="OFTEN">3</var>
<group name="syslog,doord,">
  <rule id="100" level="0" noalert="1">
    <decoded_as>doord</decoded_as>
    <description>Messages of doord.</description>
  </rule>
  <rule id="101" level="5">
    <if_sid>100</if_sid>
    <match>^Wrong key|bad lock</match>
    <regex>slot \d+ \(\.*\)</regex>
    <description>doord: wrong key on $(hostname) {1}</description>
    <mitre><id>T1110</id><id>T0000</id></mitre>
    <group>authentication_failed,</group>
  </rule>
  <rule id="102" level="0">
    <if_sid>101</if_sid>
    <match>slot 99</match>
    <description>The test door.</description>
  </rule>
  <rule id="103" level="10" frequency="$OFTEN" timeframe="60" ignore="90">
    <if_matched_sid>101</if_matched_sid>
    <same_source_ip />
    <description>doord: many wrong keys</description>
  </rule>
  <rule id="104" level="12" frequency="2" timeframe="60">
    <if_matched_group>authentication_failed</if_matched_group>
    <different_user />
    <description>Keys of several people</description>
  </rule>
</group>
<group name="web,accesslog,">
  <rule id="200" level="3">
    <category>web-log</category>
    <id>^4|^503</id>
    <url>/admin|\<script</url>
    <description>Refused.</description>
  </rule>
  <rule id="201" level="6">
    <if_group>web</if_group>
    <field name="user_agent" type="pcre2">(?i)bot(?=/)</field>
    <srcip negate="yes">192.0.2.0/24</srcip>
    <description>A bot.</description>
  </rule>
  <rule id="202" level="5"><if_sid>200</if_sid><list field="srcip">x</list><description>Listed.</description></rule>
  <rule id="203" level="5"><if_sid>202</if_sid><match>x</match><description>Below.</description></rule>
  <rule id="204" level="5"><if_sid>999</if_sid><description>Lost.</description></rule>
  <rule id="205" level="5"><if_sid>206</if_sid><description>Round</description></rule>
  <rule id="206" level="5"><if_sid>205</if_sid><description>and round.</description></rule>
  <rule id="207" level="5"><if_matched_sid>103</if_matched_sid><frequency>2</frequency><description>Counts a count.</description></rule>
  <rule id="208" level="15"><category>windows</category><field name="win.eventdata.image">\\evil.exe$</field><description>Evil.</description></rule>
</group>
`

func convert(t *testing.T, text string) map[int]Converted {
	t.Helper()
	list, problems := Convert([]File{{"rules.xml", []byte(text)}})
	for _, p := range problems {
		t.Error(p)
	}
	out := map[int]Converted{}
	for _, c := range list {
		out[c.ID] = c
	}
	return out
}

func TestConvert(t *testing.T) {
	got := convert(t, example)
	for id, want := range map[int]string{
		101: `(ieq(actor.app_name, "doord") and ((istartsWith(message, "Wrong key") or icontains(message, "bad lock")) and message matches "(?i)slot [0-9]+ \\([\\s\\S]*\\)"))`,
		103: `(ieq(actor.app_name, "doord") and ((istartsWith(message, "Wrong key") or icontains(message, "bad lock")) and message matches "(?i)slot [0-9]+ \\([\\s\\S]*\\)"))`,
		200: `(((http_response.code >= 400 and http_response.code <= 499) or http_response.code == 503) and icontains(http_request.path, "/admin", "<script"))`,
		208: `(iendsWith(process.path, "\\evil.exe") or iendsWith(actor.process.path, "\\evil.exe"))`,
	} {
		c := got[id]
		if !c.Loaded {
			t.Errorf("%d: %s", id, c.Reason)
			continue
		}
		if diff := cmp.Diff(want, c.Rule.When.Source); diff != "" {
			t.Errorf("%d:\n%s\n%s", id, diff, c.Text)
		}
	}
	r := got[101].Rule
	if r.Level != "low" || r.Lane != "alert" || !cmp.Equal(r.Tags, []string{"attack.t1110", "attack.t0000"}) || len(r.Exceptions) != 1 {
		t.Errorf("%+v", r)
	}
	if title := r.Alert.Title.Fill(func(s string) string { return "<" + s + ">" }); title != "doord: wrong key on <device.hostname> {1}" {
		t.Errorf("title %q", title)
	}
	if !got[100].Base || !got[102].Base || got[100].Loaded {
		t.Errorf("%+v", got[100])
	}
	c := got[103].Rule.Correlate
	if c == nil || c.Type != "event_count" || c.Timespan.Seconds() != 60 || got[103].Rule.Alert.Suppress.Seconds() != 90 {
		t.Errorf("%+v", c)
	}
	if diff := cmp.Diff([]string{"decoder doord"}, got[101].Guessed); diff != "" {
		t.Error(diff)
	}
	if c := got[104]; !c.Loaded || c.Rule.Correlate.Type != "value_count" || c.Rule.Level != "high" {
		t.Errorf("%+v", c)
	}
	if c := got[208]; c.Rule.Level != "critical" || len(c.Rule.Source.Products) != 4 {
		t.Errorf("%+v", c)
	}
}

func TestWhatIsNotSupported(t *testing.T) {
	got := convert(t, example)
	for id, want := range map[int]string{
		202: "unsupported: list",
		203: "refines rule 202, which unsupported: list",
		204: "rule 999, which is not among the files",
		205: "in a circle",
		207: "counts rule 103, which counts others",
	} {
		if c := got[id]; c.Loaded || !strings.Contains(c.Reason, want) {
			t.Errorf("%d: loaded %v, %s; want …%s…", id, c.Loaded, c.Reason, want)
		}
	}
	if c := got[201]; !c.Loaded || !strings.Contains(c.Rule.When.Source, `not (cidr(src_endpoint.ip, "192.0.2.0/24"))`) {
		t.Errorf("%+v", c)
	}
}

// What is converted matches, and counts, as Wazuh would.
func TestConvertedRulesRun(t *testing.T) {
	c := convert(t, example)[103]
	const tests = `tests:
  - name: three
    events:
      - {repeat: 3, after: 1s, family: host, actor.app_name: doord, src_endpoint.ip: 192.0.2.1, message: "wrong key in slot 7 (x)"}
    expect: {alerts: 1, entity: 192.0.2.1}
  - name: two, and one of another
    events:
      - {repeat: 2, after: 1s, family: host, actor.app_name: doord, src_endpoint.ip: 192.0.2.1, message: "wrong key in slot 7 (x)"}
      - {family: host, actor.app_name: doord, src_endpoint.ip: 192.0.2.2, message: "wrong key in slot 7 (x)"}
    expect: {alerts: 0}
`
	r, problems := rule.Load("wazuh/103.yml", []byte(c.Text+tests))
	if r == nil {
		t.Fatal(problems)
	}
	results := ruletest.Run(r, ruletest.Options{})
	if len(results) != 2 {
		t.Fatal(results)
	}
	for _, x := range results {
		if !x.OK {
			t.Errorf("%s: %s", x.Test, x.Message)
		}
	}
}

func TestPatterns(t *testing.T) {
	for name, tc := range map[string]struct{ path, dialect, text, want string }{
		"addresses":  {"src_endpoint.ip", "osregex", `^192.0.2.1$|::1|198.51.100.0/24`, `cidr(src_endpoint.ip, "192.0.2.1/32", "::1/128", "198.51.100.0/24")`},
		"no address": {"src_endpoint.ip", "pcre2", `(\d+\.){3}`, ""},
		"ports":      {"dst_endpoint.port", "pcre2", `^(135|445)$`, `(dst_endpoint.port == 135 or dst_endpoint.port == 445)`},
		"status":     {"http_response.code", "osmatch", `^5|404`, `((http_response.code >= 500 and http_response.code <= 599) or http_response.code == 404)`},
		"present":    {"unmapped.x", "osregex", `\.+`, `exists(unmapped.x)`},
		"anything":   {"unmapped.x", "osregex", `\.*`, ``},
		"absent":     {"src_endpoint.ip", "osregex", `null`, `not exists(src_endpoint.ip)`},
		"texts":      {"message", "osregex", `^a$|b.c|d\$`, `(ieq(message, "a") or icontains(message, "b.c", "d$"))`},
		"classes":    {"message", "osregex", `a\d+`, `message matches "(?i)a[0-9]+"`},
		"perl":       {"message", "pcre2", `(?i)a(?=b)`, `message matches "(?i)a(?:b)"`},
		"list":       {"metadata.labels", "osregex", `x`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := compare(tc.path, tc.dialect, tc.text)
			if c.text != tc.want {
				t.Errorf("got %s, %v", c.text, err)
			}
			if strings.HasPrefix(name, "no ") && err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestBrokenFiles(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"cut":   {`<group name="a"><rule id="1" level="3"><match>x`, "x.xml:1:"},
		"utf-8": {"\xff", "x.xml:1:1: error: file is not UTF-8"},
		"id":    {"<rule id='a' level='3'><match>x</match></rule>", `x.xml:1:1: error: rule is left out: id "a" is no number`},
		"level": {"<rule id='1' level='-1'><match>x</match></rule>", `rule is left out: level "-1" is no number from 0 to 16`},
		"twice": {"<rule id='1' level='3'><match>x</match></rule>\n<rule id='1' level='3'><match>y</match></rule>", "x.xml:2:1: error: rule 1 is at x.xml:1 already"},
		"tags":  {"<rule id='1' level='3'>" + strings.Repeat("<match>x</match>", 300) + "</rule>", "more than 200 elements"},
	} {
		t.Run(name, func(t *testing.T) {
			_, problems := Convert([]File{{"x.xml", []byte(tc.text)}})
			if len(problems) != 1 || !strings.Contains(problems[0].Error(), tc.want) {
				t.Errorf("got %v, want …%s…", problems, tc.want)
			}
		})
	}
}

func FuzzConvert(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte(`<rule id="1" level="9"><field name="a.b">^\d+|x$</field><if_sid>1</if_sid></rule>`))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, _ := Convert([]File{{"x.xml", data}})
		for _, c := range list {
			if c.Loaded != (c.Rule != nil) || !c.Loaded && !c.Base && c.Reason == "" {
				t.Fatalf("%+v", c)
			}
		}
	})
}

// TestValues: what decoders call a value, and the hub a number.
func TestValues(t *testing.T) {
	const rules = `<group name="x,">
<rule id="1" level="3"><decoded_as>kernel</decoded_as><action>DROP</action><description>Dropped.</description></rule>
<rule id="2" level="3"><decoded_as>auditd</decoded_as><field name="audit.res">^failed$</field><description>Failed.</description></rule>
<rule id="3" level="3"><decoded_as>pam</decoded_as><match>check pass</match><description>PAM.</description></rule>
<rule id="4" level="3"><decoded_as>kernel</decoded_as><action>other</action><description>Other.</description></rule>
</group>`
	got := convert(t, rules)
	for id, want := range map[int]string{
		1: "action_id == 2", 2: "status_id == 2", 3: `iendsWith(actor.app_name, "(pam_unix)")`, 4: `icontains(unmapped.action, "other")`,
	} {
		c := got[id]
		if !c.Loaded || !strings.Contains(c.Rule.When.Source, want) || (id < 4) != (len(c.Guessed) == 0) {
			t.Errorf("%d: %s, guessed %v; want …%s…\n%s", id, c.Reason, c.Guessed, want, c.Text)
		}
	}
}
