package lang

import (
	"reflect"
	"strings"
	"testing"

	"github.com/vagus-hub/vagus/schemas/event"
)

const all = event.Families(0x3f)

func TestCompileProblems(t *testing.T) {
	for name, tc := range map[string]struct {
		src  string
		fam  event.Families
		line int
		col  int
		want string
	}{
		"unknown field":     {`process.cmdline contains "x"`, all, 1, 1, "unknown field process.cmdline: did you mean process.cmd_line?"},
		"second line":       {"process.name == \"a\" and\n  proces.name == \"b\"", all, 2, 3, "did you mean process.name?"},
		"column name":       {`process_name == "a"`, all, 1, 1, "write process.name"},
		"group":             {`process == "a"`, all, 1, 1, "group of fields"},
		"type":              {`http_response.code == "401"`, all, 1, 20, "mismatched types int and string"},
		"not bool":          {`process.name`, all, 1, 1, "expected bool, but got string: compare it with something"},
		"quoted number":     {`http_response.code == "401"`, all, 1, 20, "without quotes"},
		"text unquoted":     {`process.name == 5`, all, 1, 14, "in quotes"},
		"quoted truth":      {`ai.stream == "true"`, all, 1, 11, "write true without quotes"},
		"list and text":     {`event.text contains "mimikatz"`, all, 1, 12, `icontains(list, "…")`},
		"not of a text":     {`not process.name contains "x"`, all, 1, 1, `not (field contains "…")`},
		"like":              {`process.name like "%x%"`, all, 1, 14, "iwildcard(field"},
		"group of words":    {`path == "x"`, all, 1, 1, "give the whole path (actor.process.path, "},
		"name of ECS":       {`source.ip == "192.0.2.1"`, all, 1, 1, "unknown field source.ip: here it is src_endpoint.ip"},
		"look-ahead":        {`process.name matches "a(?=b)"`, all, 1, 22, "RE2 does not look around"},
		"last word":         {`cmd_line == "x"`, all, 1, 1, "unknown field cmd_line: give the whole path (actor.process.cmd_line, "},
		"last word of some": {`user_agent == "x"`, all, 1, 1, "unknown field user_agent: did you mean http_request.user_agent?"},
		"always":            {`true or process.name == "a"`, all, 1, 1, "always true"},
		"always contains":   {`process.name contains ""`, all, 1, 1, "always true"},
		"never":             {`process.name in []`, all, 1, 1, "always false"},
		"contradiction":     {`process.name == "a" and process.name == "b"`, all, 1, 1, "two values at once"},
		"family":            {`process.name == "a"`, 1 << event.FamilyAI, 1, 1, "does not occur in the families ai"},
		"unknown function":  {`icontain(process.name, "a")`, all, 1, 1, "did you mean icontains?"},
		"dynamic list":      {`icontains(process.name, lower(process.path))`, all, 1, 25, "constant"},
		"deep brackets":     {strings.Repeat("(", 101) + `process.name == "a"`, all, 1, 101, "nested more than 100 deep"},
		"pattern of field":  {`iwildcard(process.name, process.path)`, all, 1, 25, "constant"},
		"key of unmapped":   {`unmapped.Ticket == 1`, all, 1, 17, "mismatched types string and int"},
		"bad network":       {`cidr(src_endpoint.ip, "10.0.0.0")`, all, 1, 23, "not a network"},
		"bad pattern":       {`process.name matches "("`, all, 1, 22, "missing closing )"},
		"part of a date":    {`date_part(time, "weak") == 3`, all, 1, 17, "date_part knows no weak: did you mean week?"},
		"dynamic pattern":   {`process.name matches process.path`, all, 1, 22, "constant text"},
		"clock":             {`now().Unix() > 3`, all, 1, 1, "not available"},
		"operator's case":   {`process.name startswith "a"`, all, 1, 14, "did you mean startsWith?"},
		"assignment":        {`process.name = "a"`, all, 1, 14, "did you mean ==?"},
		"syntax":            {`process.name ==`, all, 1, 15, "unexpected token"},
		"method":            {`process.name.foo == "a"`, all, 1, 1, "unknown field"},
		"nested loops":      {`any(actor.user.groups, any(metadata.labels, # == "a"))`, all, 1, 47, "must not be nested"},
		"range as list":     {`len(1..1000000) > 3`, all, 1, 6, "only stand after in"},
		"growing values":    {`reduce(actor.user.groups, #acc + #) == "a"`, all, 1, 1, "stay small"},
		"environment trick": {`$env["process_name"] == "a"`, all, 1, 1, "$env"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Compile(tc.src, tc.fam)
			p, ok := err.(Problems)
			if !ok {
				t.Fatalf("got %v, want problems", err)
			}
			if p[0].Line != tc.line || p[0].Column != tc.col || !strings.Contains(p[0].Message, tc.want) {
				t.Errorf("got %v, want %d:%d: …%s…", p[0], tc.line, tc.col, tc.want)
			}
		})
	}
}

func TestLowering(t *testing.T) {
	for src, want := range map[string]string{
		`process.name == "a" or process.name == "B" or process.path endsWith "c"`:   `(process.name eq ["a" "B"] or process.path suffix ["c"])`,
		`not (process.name == "a" or process.pid > 5)`:                              `(not process.name eq ["a"] and not process.pid > [5])`,
		`icontains(process.cmd_line, ["Foo", "BAR"], "x")`:                          `process.cmd_line icontains ["foo" "bar" "x"]`,
		`icontains_all(process.cmd_line, "a", "b")`:                                 `(process.cmd_line icontains ["a"] and process.cmd_line icontains ["b"])`,
		`"admin" in actor.user.groups`:                                              `actor.user.groups eq ["admin"]`,
		`any(actor.user.groups, # startsWith "sys")`:                                `actor.user.groups prefix ["sys"]`,
		`http_response.code in [401, 403]`:                                          `http_response.code == [401 403]`,
		`401 < http_response.code`:                                                  `http_response.code > [401]`,
		`ai.stream and process.name != "x"`:                                         `(ai.stream == [1] and not process.name eq ["x"])`,
		`cidr(src_endpoint.ip, "192.0.2.0/24")`:                                     `cidr(src_endpoint.ip, [192.0.2.0/24])`,
		`process.name == actor.process.name`:                                        `process.name == actor.process.name`,
		`exists(process.name) and len(process.name) > 3`:                            `(exists(process.name) and vm{len(process_name) > 3})`,
		`scores.prompt_attack > 0.5`:                                                `scores["prompt_attack"] > [0.5]`,
		`0 != scores["a b"]`:                                                        `not scores["a b"] == [0]`,
		`all(actor.user.groups, # startsWith "a" and # != "ab")`:                    `(all(actor.user.groups prefix ["a"]) and not actor.user.groups eq ["ab"])`,
		`all(actor.user.groups, # == "a" or # == "b")`:                              `all(actor.user.groups eq ["a" "b"])`,
		`all(actor.user.groups, # == "a" or # startsWith "b")`:                      `vm{all(actor_user_groups, # == "a" or # startsWith "b")}`,
		`none(actor.user.groups, # matches "a+" or # == "b")`:                       `(not actor.user.groups matches "a+" and not actor.user.groups eq ["b"])`,
		`none(event.text, # == "b")`:                                                `not event.text eq ["b"]`,
		`all(event.text, # == "b")`:                                                 `vm{all(event_text, # == "b")}`,
		`count(actor.user.groups, # startsWith "a") >= 2`:                           `count(actor.user.groups prefix ["a"]) >= 2`,
		`2 > count(actor.user.groups, # startsWith "a")`:                            `not count(actor.user.groups prefix ["a"]) >= 2`,
		`count(actor.user.groups, # startsWith "a") == 1`:                           `(actor.user.groups prefix ["a"] and not count(actor.user.groups prefix ["a"]) >= 2)`,
		`count(actor.user.groups, # startsWith "a") == 0`:                           `not actor.user.groups prefix ["a"]`,
		`count(actor.user.groups, # == "a" or # contains "b") > 2`:                  `((actor.user.groups eq ["a"] or actor.user.groups contains ["b"]) and vm{count(actor_user_groups, # == "a" or # contains "b") > 2})`,
		`any(actor.user.groups, # != "x")`:                                          `not all(actor.user.groups eq ["x"])`,
		`any(actor.user.groups, # contains "x" and # contains "y")`:                 `vm{any(actor_user_groups, # contains "x" and # contains "y")}`,
		`unmapped.TicketOptions == "0x1" and unmapped["Some Key"] contains "b"`:     `(unmapped.TicketOptions eq ["0x1"] and unmapped["Some Key"] contains ["b"])`,
		`unmapped.winlog.event_data.Foo != ""`:                                      `not unmapped.winlog.event_data.Foo eq [""]`,
		`unmapped contains "x" and exists(unmapped.a)`:                              `(unmapped contains ["x"] and exists(unmapped.a))`,
		`icontains(event.text, "Mimi") or "x" in event.text`:                        `(event.text icontains ["mimi"] or event.text eq ["x"])`,
		`any(event.text, # matches "(?i)mimi")`:                                     `event.text matches "(?i)mimi"`,
		`iwildcard(process.path, "*\\foo*bar?.exe", "*\\x.exe", "C:\\\\*", "a\\*")`: `(process.path iwildcard ["*\\foo*bar?.exe"] or process.path isuffix ["\\x.exe"] or process.path iprefix ["c:\\"] or process.path ieq ["a*"])`,
		`wildcard(process.path, "A*b", "C?d")`:                                      `process.path wildcard ["A*b" "C?d"]`,
		`startsWith_any(text(dst_endpoint.port), "44") and text(ai.stream) == ""`:   `(text(dst_endpoint.port) prefix ["44"] and text(ai.stream) eq [""])`,
		`ieq(process.name, "a", actor.process.name)`:                                `(process.name ieq actor.process.name or process.name ieq ["a"])`,
		`not (process.name endsWith actor.process.name)`:                            `not process.name suffix actor.process.name`,
		`process.name matches "(?i)mimikatz"`:                                       `process.name matches "(?i)mimikatz"`,
	} {
		t.Run(src, func(t *testing.T) {
			e, err := Compile(src, all)
			if err != nil {
				t.Fatal(err)
			}
			if got := e.Root.String(); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if e.Lowered == strings.Contains(want, "vm{") {
				t.Errorf("Lowered = %v", e.Lowered)
			}
		})
	}
}

func TestWitness(t *testing.T) {
	for src, want := range map[string]string{
		`process.name == "Cmd.exe" and process.cmd_line contains "download"`: `contains "download"`,
		`process.cmd_line matches "(?i)(invoke|download)-mimikatz\\s"`:       `contains "-mimi"`,
		`process.cmd_line matches "(alpha|beta)[0-9]+"`:                      `contains "alpha" contains "beta"`,
		`process.cmd_line matches "[a-z]+"`:                                  `present ""`,
		`not (process.name == "a")`:                                          ``,
		`process.name != ""`:                                                 `present ""`,
		`message_context.total_tokens > 100000`:                              `compares ""`,
		`iwildcard(process.cmd_line, "*foo?long part*x")`:                    `contains "long part"`,
		`wildcard(process.path, "C:\\Users\\\\*\\a.exe")`:                    `starts with "c:\users\"`,
		`icontains(event.text, "Mimi")`:                                      `contains "mimi"`,
		`count(actor.user.groups, # contains "Mimi") > 3`:                    `contains "mimi"`,
		`all(actor.user.groups, # contains "Mimi")`:                          ``,
		`any(actor.user.groups, # != "a")`:                                   `present ""`,
		`scores.Attack > 0.5`:                                                `equals "attack"`,
		`scores.attack < 0.5`:                                                ``,
		`exists(event.text)`:                                                 ``,
		`process.pid < 4`:                                                    ``,
		`process.name == "a" or process.pid < 4`:                             ``,
	} {
		t.Run(src, func(t *testing.T) {
			e, err := Compile(src, all)
			if err != nil {
				t.Fatal(err)
			}
			w, ok := e.Witness()
			var got []string
			for _, l := range w.Literals {
				got = append(got, l.Kind.String()+` "`+l.Text+`"`)
			}
			if strings.Join(got, " ") != want || ok != (want != "") {
				t.Errorf("got %v %v, want %s", ok, got, want)
			}
		})
	}
}

// The environment that rules are checked against and event.Env are the same
// thing in two shapes.
func TestEnvironmentAgreesWithSchema(t *testing.T) {
	seen := 0
	var walk func(prefix string, typ reflect.Type)
	walk = func(prefix string, typ reflect.Type) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			path := prefix + f.Tag.Get("expr")
			col, ok := event.ByPath(path)
			if !ok {
				walk(path+".", f.Type)
				continue
			}
			seen++
			if got := reflect.TypeOf(environment()[col.Name]); got != f.Type {
				t.Errorf("%s: environment has %v, event.Env %v", path, got, f.Type)
			}
		}
	}
	walk("", reflect.TypeOf(event.Env{}))
	if seen != event.NumColumns {
		t.Errorf("event.Env has %d columns of %d", seen, event.NumColumns)
	}
}

func TestLongChain(t *testing.T) {
	parts := make([]string, 5000)
	for i := range parts {
		parts[i] = `process.cmd_line contains "literal ` + strings.Repeat("x", i%50) + string(rune('a'+i%26)) + `"`
	}
	e, err := Compile(strings.Join(parts, " or "), all)
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Root.Lits) != len(parts) {
		t.Errorf("got %d literals", len(e.Root.Lits))
	}
}

func FuzzCompile(f *testing.F) {
	f.Add(`process.name == "a" and not (icontains(process.cmd_line, ["x"]) or http_response.code in [1, 2])`)
	f.Add(`any(actor.user.groups, # matches "(?i)adm.*n")`)
	f.Add(`scores["x"] > 1 ? true : cidr(src_endpoint.ip, "10.0.0.0/8")`)
	f.Fuzz(func(t *testing.T, src string) {
		e, err := Compile(src, all)
		if err != nil {
			if _, ok := err.(Problems); !ok {
				t.Fatalf("error is %T", err)
			}
			return
		}
		e.Witness()
		_ = e.Root.String()
	})
}
