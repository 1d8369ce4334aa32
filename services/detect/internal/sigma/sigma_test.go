package sigma

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/match"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/ruletest"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// process is a rule about process creations, with a detection to be filled in.
func process(detection string) string {
	return "title: Test\nid: 5f0c1c9e-0000-4000-8000-000000000001\nstatus: test\nlevel: high\nauthor: somebody\ntags: [attack.execution, attack.t1059.001, cve.2021.44228]\nlogsource: {category: process_creation, product: windows}\ndetection:\n" +
		indent(detection)
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n  ") + "\n"
}

func one(t *testing.T, text string) *rule.Rule {
	t.Helper()
	res := Load([]rule.File{{Name: "r.yml", Data: []byte(text)}})
	if rule.Failed(res.Problems) || len(res.Rules) != 1 {
		t.Fatalf("rules %d, problems %v\n%s", len(res.Rules), res.Problems, text)
	}
	return res.Rules[0]
}

type fields map[string]any

// launched is an event of Sysmon's process creation.
func launched(f fields) rule.TestEvent {
	e := fields{"class_uid": int64(1007), "activity_name": "Launch", "source": "microsoft.sysmon", "metadata.event_code": "1", "device.hostname": "pc-1"}
	for k, v := range f {
		e[k] = v
	}
	return testEvent(event.FamilyHost, e)
}

func testEvent(family event.Family, f fields) rule.TestEvent {
	e := rule.TestEvent{Repeat: 1, Family: family}
	for path, v := range f {
		col, ok := event.ByPath(path)
		if !ok {
			panic(path)
		}
		e.Fields = append(e.Fields, rule.TestField{Column: col, Value: v})
	}
	return e
}

// fires counts the events that a rule matches.
func fires(t *testing.T, r *rule.Rule, events ...rule.TestEvent) int {
	t.Helper()
	m := match.New([]*rule.Rule{r})
	n := 0
	if err := ruletest.Blocks(events, func(b *block.Block) { m.Match(b, func(*rule.Rule, int) { n++ }) }); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestSemantics holds detections against events that match and that do not.
func TestSemantics(t *testing.T) {
	cmd := func(s string) fields { return fields{"process.cmd_line": s} }
	for name, tc := range map[string]struct {
		detection string
		yes, no   []fields
	}{
		"case is ignored":        {"s: {CommandLine: WhoAmI}\ncondition: s", []fields{cmd("whoami"), cmd("WHOAMI")}, []fields{cmd("whoami /all"), {}}},
		"case matters":           {"s: {CommandLine|contains|cased: Abc}\ncondition: s", []fields{cmd("xAbcx")}, []fields{cmd("xabcx")}},
		"cased equality":         {"s: {CommandLine|cased: [Abc, Def]}\ncondition: s", []fields{cmd("Def")}, []fields{cmd("def")}},
		"other scripts":          {"s: {CommandLine|contains: ÄRGER}\ncondition: s", []fields{cmd("xärgerx")}, []fields{cmd("arger")}},
		"list is or":             {"s: {CommandLine: [a, b]}\ncondition: s", []fields{cmd("a"), cmd("B")}, []fields{cmd("c")}},
		"all":                    {"s: {CommandLine|contains|all: [a, b]}\ncondition: s", []fields{cmd("xbxa")}, []fields{cmd("a"), cmd("b")}},
		"all of ends":            {"s: {CommandLine|endswith|all: [c, bc]}\ncondition: s", []fields{cmd("abc")}, []fields{cmd("ac")}},
		"map is and":             {"s: {CommandLine: a, Image|endswith: '\\b.exe'}\ncondition: s", []fields{{"process.cmd_line": "a", "process.path": `c:\B.EXE`}}, []fields{cmd("a")}},
		"list of maps is or":     {"s:\n  - CommandLine: a\n  - Image: b\ncondition: s", []fields{cmd("a"), {"process.path": "b"}}, []fields{cmd("b")}},
		"wildcards":              {"s: {CommandLine: 'a*b?c'}\ncondition: s", []fields{cmd("axxbyc"), cmd("ABYC")}, []fields{cmd("abc"), cmd("xabyc")}},
		"escaped wildcards":      {`s: {CommandLine: 'a\*b\?'}` + "\ncondition: s", []fields{cmd("a*b?")}, []fields{cmd("axbx")}},
		"backslash and wildcard": {`s: {CommandLine: 'c:\\*'}` + "\ncondition: s", []fields{cmd(`c:\x`)}, []fields{cmd("c:x")}},
		"plain backslashes":      {`s: {CommandLine: 'c:\a\\b'}` + "\ncondition: s", []fields{cmd(`c:\a\b`)}, []fields{cmd(`c:\a\\b`)}},
		"any value":              {"s: {CommandLine: '*'}\ncondition: s", []fields{cmd("a")}, []fields{{}}},
		"null":                   {"s: {CommandLine: null}\ncondition: s", []fields{{}}, []fields{cmd("a")}},
		"empty":                  {"s: {CommandLine: ''}\ncondition: s", []fields{{}}, []fields{cmd("a")}},
		"empty or a value":       {"s: {CommandLine: ['', a]}\ncondition: s", []fields{{}, cmd("a")}, []fields{cmd("b")}},
		"dash is no value":       {"s: {CommandLine: '-'}\ncondition: s", []fields{{}}, []fields{cmd("a")}},
		"exists":                 {"s: {CommandLine|exists: true}\ncondition: s", []fields{cmd("a")}, []fields{{}}},
		"exists not":             {"s: {CommandLine|exists: false}\ncondition: s", []fields{{}}, []fields{cmd("a")}},
		"not of what is absent":  {"s: {Image: a}\nf: {CommandLine: b}\ncondition: s and not f", []fields{{"process.path": "a"}}, []fields{{"process.path": "a", "process.cmd_line": "b"}}},
		"neq":                    {"s: {CommandLine|neq: a}\ncondition: s", []fields{cmd("b"), {}}, []fields{cmd("a")}},
		"regular expression":     {"s: {CommandLine|re: '^a[0-9]+$'}\ncondition: s", []fields{cmd("a12")}, []fields{cmd("A12"), cmd("a")}},
		"flags":                  {"s: {CommandLine|re|i|s: 'a.b'}\ncondition: s", []fields{cmd("A\nB")}, []fields{cmd("ab")}},
		"windash":                {"s: {CommandLine|windash|contains: ' -f '}\ncondition: s", []fields{cmd("x /f y"), cmd("x –f y"), cmd("x -f y")}, []fields{cmd("x f y")}},
		"base64":                 {"s: {CommandLine|base64|contains: 'hello world'}\ncondition: s", []fields{cmd("x aGVsbG8gd29ybGQ= y")}, []fields{cmd("hello world")}},
		"base64offset":           {"s: {CommandLine|base64offset|contains: 'http://'}\ncondition: s", []fields{cmd("aHR0cDovL2V4YW1wbGU="), cmd("eGh0dHA6Ly9leGFtcGxl"), cmd("eHhodHRwOi8vZXhhbXBsZQ==")}, []fields{cmd("aHR0cHM6Ly8=")}},
		"wide":                   {"s: {CommandLine|wide|base64offset|contains: 'IEX'}\ncondition: s", []fields{cmd("SQBFAFgA"), cmd("powershell -enc IABJAEUAWAAgAA==")}, []fields{cmd("IEX")}},
		"keywords":               {"s: [mimi, 'a b']\ncondition: s", []fields{cmd("xMIMIx"), {"process.path": "a b"}, {"unmapped": `{"X":"mimi"}`}}, []fields{cmd("m")}},
		"keywords all":           {"s: {'|all': [foo, bar]}\ncondition: s", []fields{{"process.cmd_line": "foo", "process.path": "bar"}}, []fields{cmd("foo")}},
		"one of":                 {"a1: {CommandLine: a}\na2: {CommandLine: b}\nc: {Image: c}\ncondition: 1 of a* and c", []fields{{"process.cmd_line": "b", "process.path": "c"}}, []fields{cmd("b"), {"process.path": "c"}}},
		"all of them":            {"a: {CommandLine: a}\n_b: {CommandLine: b}\nc: {Image: c}\ncondition: all of them", []fields{{"process.cmd_line": "a", "process.path": "c"}}, []fields{cmd("a")}},
		"precedence":             {"a: {CommandLine: a}\nb: {CommandLine: b}\nc: {Image: c}\ncondition: a or b and not c", []fields{{"process.cmd_line": "a", "process.path": "c"}, cmd("b")}, []fields{{"process.cmd_line": "b", "process.path": "c"}}},
		"parentheses":            {"a: {CommandLine: a}\nb: {CommandLine: b}\nc: {Image: c}\ncondition: (a or b) and not (c)", []fields{cmd("a")}, []fields{{"process.cmd_line": "a", "process.path": "c"}}},
		"two conditions":         {"a: {CommandLine: a}\nb: {CommandLine: b}\ncondition: [a, b]", []fields{cmd("a"), cmd("b")}, []fields{cmd("c")}},
		"unmapped":               {"s: {FileVersion|startswith: '6.1'}\ncondition: s", []fields{{"unmapped": `{"FileVersion":"6.1.7601"}`}}, []fields{{"unmapped": `{"FileVersion":"10"}`}, {}}},
		"hash":                   {"s: {Imphash: ABC}\ncondition: s", []fields{{"process.hashes": "MD5=1,IMPHASH=abc"}}, []fields{{"process.hashes": "MD5=ABC"}}},
		"numbers":                {"s: {ProcessId: [4, 0x10]}\ncondition: s", []fields{{"process.pid": int64(4)}, {"process.pid": int64(16)}}, []fields{{"process.pid": int64(5)}}},
		"numbers compared":       {"s: {ProcessId|gte: 4, ProcessId|lt: 6}\ncondition: s", []fields{{"process.pid": int64(5)}}, []fields{{"process.pid": int64(6)}, {}}},
		"texts compared":         {"s: {Session|gt: 4}\ncondition: s", []fields{{"unmapped": `{"Session":"10"}`}}, []fields{{"unmapped": `{"Session":"2"}`}, {"unmapped": `{"Session":"many"}`}, {}}},
		"digits of a number":     {"s: {ProcessId|startswith: '44'}\ncondition: s", []fields{{"process.pid": int64(4401)}}, []fields{{"process.pid": int64(544)}}},
		"field":                  {"s: {CommandLine|fieldref: Image}\ncondition: s", []fields{{"process.cmd_line": "A", "process.path": "a"}}, []fields{cmd("a"), {}}},
		"account":                {"s: {User: 'NT AUTHORITY\\SYSTEM'}\ncondition: s", []fields{{"actor.user.domain": "nt authority", "actor.user.name": "SYSTEM"}}, []fields{{"actor.user.name": "SYSTEM"}}},
		"part of an account":     {"s: {User|contains: AUTHORI}\ncondition: s", []fields{{"actor.user.domain": "NT AUTHORITY", "actor.user.name": "x"}}, []fields{{"actor.user.domain": "CORP", "actor.user.name": "x"}}},
		"across an account":      {"s: {User|contains: 'RP\\a'}\ncondition: s", []fields{{"actor.user.domain": "CORP", "actor.user.name": "ada"}}, []fields{{"actor.user.domain": "CORP", "actor.user.name": "bo"}}},
		"week":                   {"s: {Start|week: 53}\ncondition: s", []fields{{"unmapped": `{"Start":"2027-01-03 05:10:00"}`}, {"unmapped": `{"Start":"2026-12-28"}`}}, []fields{{"unmapped": `{"Start":"2027-01-04"}`}, {"unmapped": `{"Start":"soon"}`}, {}}},
		"week of the time":       {"s: {UtcTime|week: 3, UtcTime|hour: 5}\ncondition: s", []fields{{"time": int64(1768281000000)}}, []fields{{"time": int64(1768284600000)}, {"time": int64(1767676200000)}}},
		"hour":                   {"s: {Start|hour: 5}\ncondition: s", []fields{{"unmapped": `{"Start":"2026-01-02T05:10:00Z"}`}}, []fields{{"unmapped": `{"Start":"2026-01-02T15:05:00Z"}`}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := one(t, process(tc.detection))
			back, problems := rule.Load("sigma/x.yml", []byte(strings.Replace(string(rule.Marshal(r)), r.ID, "sigma.x", 1)))
			if back == nil {
				t.Fatalf("its import does not load: %v\n%s", problems, rule.Marshal(r))
			}
			for _, r := range []*rule.Rule{r, back} {
				for _, f := range tc.yes {
					if fires(t, r, launched(f)) != 1 {
						t.Errorf("%v does not match\n%s", f, r.When.Source)
					}
				}
				for _, f := range tc.no {
					if fires(t, r, launched(f)) != 0 {
						t.Errorf("%v matches\n%s", f, r.When.Source)
					}
				}
			}
		})
	}
}

// TestFacts: what a rule fixes decides where its other fields can be.
func TestFacts(t *testing.T) {
	const cleared = "title: T\nlogsource: {product: windows, service: system}\ndetection:\n"
	for name, tc := range map[string]struct{ detection, want string }{
		"the log that was cleared": {"  s: {EventID: 104}\n  f: {Channel: [System, Security]}\n  condition: s and not f\n",
			`ieq(metadata.log_name, "System") and ieq(metadata.event_code, "104") and not (ieq(unmapped.LogFileCleared.Channel, "System", "Security") or ieq(unmapped.Event.UserData.LogFileCleared.Channel, "System", "Security") or ieq(unmapped.winlog.user_data.Channel, "System", "Security"))`},
		"another event": {"  s: {EventID: [7045, 7036], Channel: System}\n  condition: s\n",
			`ieq(metadata.log_name, "System") and ieq(metadata.event_code, "7045", "7036") and (ieq(unmapped.LogFileCleared.Channel, "System") or ieq(unmapped.Event.UserData.LogFileCleared.Channel, "System") or ieq(unmapped.winlog.user_data.Channel, "System") or ieq(metadata.log_name, "System"))`},
		"any event": {"  s: {Channel: System}\n  condition: s\n",
			`ieq(metadata.log_name, "System") and (ieq(unmapped.LogFileCleared.Channel, "System") or ieq(unmapped.Event.UserData.LogFileCleared.Channel, "System") or ieq(unmapped.winlog.user_data.Channel, "System") or (metadata.event_code != "104" and ieq(metadata.log_name, "System")))`},
		"only a branch": {"  s: {EventID: 104}\n  t: {Channel: System}\n  condition: s or t\n",
			`ieq(metadata.log_name, "System") and (ieq(metadata.event_code, "104") or ieq(unmapped.LogFileCleared.Channel, "System") or ieq(unmapped.Event.UserData.LogFileCleared.Channel, "System") or ieq(unmapped.winlog.user_data.Channel, "System") or (metadata.event_code != "104" and ieq(metadata.log_name, "System")))`},
		"fixed elsewhere": {"  s: {EventID: '10*'}\n  t: {Channel: System}\n  condition: s and t\n",
			`ieq(metadata.log_name, "System") and istartsWith(metadata.event_code, "10") and (ieq(unmapped.LogFileCleared.Channel, "System") or ieq(unmapped.Event.UserData.LogFileCleared.Channel, "System") or ieq(unmapped.winlog.user_data.Channel, "System") or (metadata.event_code != "104" and ieq(metadata.log_name, "System")))`},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, one(t, cleared+tc.detection).When.Source); diff != "" {
				t.Error(diff)
			}
		})
	}
	azure := one(t, "title: T\nlogsource: {product: azure, service: auditlogs}\ndetection: {s: {operationName: Update user, ActivityType: Assign, properties.message: Update User}, condition: s}\n")
	want := `ieq(metadata.event_code, "Update user") and ieq(unmapped.properties.operationType, "Assign") and (ieq(metadata.event_code, "Update User") or ieq(unmapped.properties.message, "Update User") or ieq(unmapped.properties.activityDisplayName, "Update User"))`
	if diff := cmp.Diff(want, azure.When.Source); diff != "" {
		t.Error(diff)
	}
}

func TestRouting(t *testing.T) {
	r := one(t, process("s: {CommandLine: a}\ncondition: s"))
	for name, f := range map[string]fields{
		"another activity": {"activity_name": "Terminate"}, "another class": {"class_uid": int64(1001)}, "another source": {"source": "linux.auditd"},
	} {
		f["process.cmd_line"] = "a"
		if fires(t, r, launched(f)) != 0 {
			t.Errorf("%s matches", name)
		}
	}
}

func TestHead(t *testing.T) {
	text := process("s: {CommandLine: a}\ncondition: s") + "falsepositives: [Administrators]\nreferences: https://example.com/x\nfields: [Image]\ndescription: What it is.\n"
	r := one(t, text)
	got := fmt.Sprint(r.ID, "|", r.Level, r.Status, r.Lane, r.Tags, r.FalsePositives, r.References, "|", r.Alert.EntityType, event.Columns[r.Alert.EntityPath].Path)
	want := "sigma.5f0c1c9e-0000-4000-8000-000000000001|hightestalert[attack.execution attack.t1059.001] [Administrators] [https://example.com/x]|hostdevice.hostname"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(r.Description, "What it is.\nAuthor: somebody\nLicense: ") {
		t.Errorf("description %q", r.Description)
	}
	for name, tc := range map[string]struct{ old, new, want string }{
		"hunt":         {"level: high", "level: low", "hunt"},
		"experimental": {"status: test\nlevel: high", "status: experimental\nlevel: medium", "hunt"},
		"deprecated":   {"status: test", "status: deprecated", "alert disabled"},
		"no id":        {"id: 5f0c1c9e-0000-4000-8000-000000000001\n", "", "alert"},
	} {
		r := one(t, strings.Replace(text, tc.old, tc.new, 1))
		got := string(r.Lane)
		if r.Disabled {
			got += " disabled"
		}
		if got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
		if tc.new == "" && !strings.HasPrefix(r.ID, "sigma.test-") {
			t.Errorf("id %s", r.ID)
		}
	}
}

func TestProblems(t *testing.T) {
	good := process("s: {CommandLine: a}\ncondition: s")
	for name, tc := range map[string]struct{ old, new, want string }{
		"no title":           {"title: Test\n", "", "1:1: error: the document lacks title"},
		"misspelt":           {"status: test", "statsu: test", "3:1: warning: unknown key statsu: did you mean status?"},
		"level":              {"level: high", "level: hihg", "4:8: error: level hihg is unknown: did you mean high?"},
		"logsource":          {"category: process_creation, product: windows", "product: toaster", "7:13: error: unsupported: no events are known for the logsource -/toaster/-"},
		"modifier":           {"CommandLine: a", "CommandLine|contians: a", "unknown modifier contians: did you mean contains?"},
		"placeholder":        {"CommandLine: a", "CommandLine|expand: '%a%'", "9:27: error: unsupported: placeholder %a% has no values"},
		"expression":         {"CommandLine: a", "CommandLine|re: '(?<=a)b'", "9:23: error: unsupported: regular expression"},
		"search":             {"condition: s", "condition: t", "10:14: error: condition: there is no search t"},
		"no search":          {"condition: s", "condition: 1 of x*", "no search fits x*"},
		"parenthesis":        {"condition: s", "condition: (s", "closing parenthesis"},
		"aggregation":        {"condition: s", "condition: s | count() > 5", "aggregations such as"},
		"timeframe":          {"condition: s", "condition: s\n  timeframe: 5m", "timeframe is of Sigma 1"},
		"unused":             {"condition: s", "t: {Image: b}\n  condition: s", "warning: search t is not used"},
		"no condition":       {"  condition: s\n", "", "detection lacks condition"},
		"anchors":            {"status: test", "status: &a test", "anchors, aliases and tags"},
		"repeated":           {"status: test", "status: test\nstatus: test", "status"},
		"tag":                {"attack.t1059.001", "nonsense.x", "warning: tag nonsense.x"},
		"cidr":               {"CommandLine: a", "CommandLine|cidr: a", "is not a network"},
		"number":             {"CommandLine: a", "ProcessId|gt: a", "compares numbers"},
		"never":              {"CommandLine: a", "ProcessId: a", `warning: ProcessId is a number and never "a"`},
		"nested":             {"CommandLine: a", "CommandLine: {a: b}", "must have a value or a list of values"},
		"both":               {"detection:", "correlation: {}\ndetection:", "exactly one of"},
		"text for detection": {"detection:\n  s: {CommandLine: a}\n  condition: s", "detection: x", "detection must be a mapping"},
		"taxonomy":           {"status: test", "taxonomy: ecs", "unsupported: taxonomy ecs"},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(good, tc.old) {
				t.Fatalf("%q is not in the rule", tc.old)
			}
			res := Load([]rule.File{{Name: "r.yml", Data: []byte(strings.Replace(good, tc.old, tc.new, 1))}})
			var all []string
			for _, p := range res.Problems {
				all = append(all, p.String())
			}
			if text := strings.Join(all, "\n"); !strings.Contains(text, tc.want) {
				t.Errorf("got\n%s\nwant …%s…", text, tc.want)
			}
			if len(res.Reports) == 0 || res.Reports[0].Loaded != !rule.Failed(res.Problems) {
				t.Errorf("reports %+v", res.Reports)
			}
		})
	}
}

// A search whose only item is wrong is not also empty.
func TestOneMistakeIsOneProblem(t *testing.T) {
	text := process("s: {CommandLine|contians: a}\ncondition: s")
	if ps := Load([]rule.File{{Name: "r.yml", Data: []byte(text)}}).Problems; len(ps) != 1 || ps[0].Message != "unknown modifier contians: did you mean contains?" {
		t.Errorf("%v", ps)
	}
}

// TestBadBesideGood: a bad document takes nothing down, in its file or another.
func TestBadBesideGood(t *testing.T) {
	bad := strings.Replace(process("s: {CommandLine: a}\ncondition: nope"), "0001", "0002", 1)
	res := Load([]rule.File{{Name: "a.yml", Data: []byte(bad + "---\n" + process("s: {CommandLine: a}\ncondition: s"))}, {Name: "b.yml", Data: []byte("detection: [\n")}})
	if len(res.Rules) != 1 || !rule.Failed(res.Problems) {
		t.Errorf("%d rules, %v", len(res.Rules), res.Problems)
	}
	twice := []byte(process("s: {CommandLine: a}\ncondition: s"))
	if res := Load([]rule.File{{Name: "a.yml", Data: twice}, {Name: "b.yml", Data: twice}}); len(res.Rules) != 1 || !strings.Contains(fmt.Sprint(res.Problems), "is taken by a.yml") {
		t.Errorf("%d rules, %v", len(res.Rules), res.Problems)
	}
}

func TestFilters(t *testing.T) {
	base := process("s: {CommandLine|contains: a}\ncondition: s")
	filter := "title: Filter\nlogsource: {category: process_creation, product: windows}\nfilter:\n  rules: [5f0c1c9e-0000-4000-8000-000000000001]\n  selection: {CommandLine|contains: good}\n  condition: %s\n"
	for name, tc := range map[string]struct {
		filter  string
		applies bool
	}{
		"suppresses":        {fmt.Sprintf(filter, "selection"), true},
		"says not":          {fmt.Sprintf(filter, "not selection"), true},
		"any":               {strings.Replace(fmt.Sprintf(filter, "selection"), "[5f0c1c9e-0000-4000-8000-000000000001]", "any", 1), true},
		"another rule":      {strings.Replace(fmt.Sprintf(filter, "selection"), "0001]", "0009]", 1), false},
		"another logsource": {strings.Replace(fmt.Sprintf(filter, "selection"), "process_creation", "image_load", 1), false},
	} {
		t.Run(name, func(t *testing.T) {
			res := Load([]rule.File{{Name: "f.yml", Data: []byte(tc.filter)}, {Name: "r.yml", Data: []byte(base)}})
			if rule.Failed(res.Problems) || len(res.Rules) != 1 {
				t.Fatal(res.Problems)
			}
			r := res.Rules[0]
			if fires(t, r, launched(fields{"process.cmd_line": "a bad"})) != 1 {
				t.Error("what is not filtered does not match")
			}
			if got := fires(t, r, launched(fields{"process.cmd_line": "a good"})); got != 1 && !tc.applies || got != 0 && tc.applies {
				t.Errorf("filtered event: %d matches\n%s", got, r.When.Source)
			}
		})
	}
}
