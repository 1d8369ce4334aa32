package lint

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

const families = event.Families(1<<event.FamilyHost | 1<<event.FamilyNetwork)

func TestCondition(t *testing.T) {
	for name, tc := range map[string]struct{ expr, want string }{
		"sound":                 {`process.name == "a" and process.pid > 4`, ""},
		"equality and prefix":   {`process.path == "/bin/sh" and process.path startsWith "/usr/"`, "never-matches"},
		"equality and suffix":   {`process.path endsWith ".exe" and process.path in ["a.dll", "b.dll"]`, "never-matches"},
		"case ignored":          {`ieq(process.path, "A.EXE") and process.path endsWith ".dll"`, "never-matches"},
		"case matters to one":   {`ieq(process.path, "A.EXE") and process.path endsWith ".EXE"`, ""},
		"two prefixes":          {`process.path startsWith "/usr/" and process.path startsWith "/opt/"`, "never-matches"},
		"prefix of a prefix":    {`process.path startsWith "/usr/" and process.path startsWith "/usr/bin"`, "redundant"},
		"two suffixes":          {`iendsWith(process.path, ".exe") and iendsWith(process.path, ".dll")`, "never-matches"},
		"and its opposite":      {`process.path contains "foo" and not (process.path contains "foo")`, "never-matches"},
		"wider opposite":        {`process.path contains "foobar" and not (process.path contains "oba")`, "never-matches"},
		"empty range":           {`process.pid > 10 and process.pid < 11`, "never-matches"},
		"empty float range":     {`ai.cost > 1.5 and ai.cost < 1.5`, "never-matches"},
		"float range":           {`ai.cost > 1.5 and ai.cost < 1.6`, ""},
		"beyond the type":       {`status_id == 300`, "never-matches"},
		"always of the type":    {`process.pid >= 0`, "always-matches"},
		"negative":              {`process.pid < 0`, "never-matches"},
		"tautology":             {`process.path contains "x" or not (process.path contains "xy")`, "always-matches"},
		"excluded middle":       {`process.path contains "xy" or not (process.path contains "xy")`, "always-matches"},
		"no empty middle":       {`process.pid < 10 or process.pid > 5`, "always-matches"},
		"absent and present":    {`not exists(process.path) and process.path == "a"`, "never-matches"},
		"list is not a text":    {`"a" in metadata.labels and "b" in metadata.labels`, ""},
		"dead branch":           {`process.pid == 1 and (process.pid == 2 or process.name == "x")`, "unreachable-branch"},
		"dead branches":         {`process.pid == 1 and (process.pid == 2 or process.pid > 3)`, "never-matches"},
		"redundant branch":      {`process.name == "x" or (process.name == "x" and process.pid == 1)`, "redundant"},
		"redundant literal":     {`icontains(process.cmd_line, ["foo", "xfoo"])`, "redundant"},
		"two networks":          {`cidr(src_endpoint.ip, "192.0.2.0/24") and cidr(src_endpoint.ip, "10.0.0.0/8")`, "never-matches"},
		"network in network":    {`cidr(src_endpoint.ip, "10.0.0.0/8") and cidr(src_endpoint.ip, "10.1.0.0/16")`, "redundant"},
		"address in network":    {`src_endpoint.ip == "192.0.2.7" and cidr(src_endpoint.ip, "10.0.0.0/8")`, "never-matches"},
		"no address":            {`src_endpoint.ip == "2001:DB8::1"`, "never-matches"},
		"an address":            {`src_endpoint.ip == "2001:db8::1"`, ""},
		"pattern and equality":  {`process.name == "abc" and process.name matches "^x"`, "never-matches"},
		"values filtered":       {`process.name in ["ab", "cd"] and process.name startsWith "a" and process.name endsWith "d"`, "never-matches"},
		"against the class":     {`class_uid == 1001 and process.pid == 1`, "never-matches"},
		"keys of unmapped":      {`unmapped.a == "x" and unmapped.b == "y"`, ""},
		"one key of unmapped":   {`unmapped.a startsWith "x" and unmapped.a startsWith "y"`, "never-matches"},
		"text and number":       {`text(process.pid) startsWith "1" and process.pid > 5`, ""},
		"virtual machine":       {`len(process.name) > 3 and process.pid == 1`, ""},
		"virtual machine twice": {`len(process.name) > 3 and len(process.name) > 3`, "redundant"},
	} {
		t.Run(name, func(t *testing.T) {
			fam := families
			if strings.Contains(tc.expr, "ai.cost") {
				fam = 1 << event.FamilyAI
			}
			e, err := lang.Compile(tc.expr, fam)
			if err != nil {
				t.Fatal(err)
			}
			class := &lang.Node{Op: lang.Num, Cmp: lang.EQ, Nums: []float64{1007, 4001}}
			class.Col = event.ClassUID
			var got []string
			for _, r := range condition(e.Root, []*lang.Node{class}) {
				got = append(got, r.code+": "+r.message)
			}
			if tc.want == "" && len(got) > 0 || tc.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], tc.want+":")) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// What is said of conditions is so on random events.
func TestSound(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	said := 0
	for range 1200 {
		a, b := expression(r, 2), expression(r, 2)
		if a == nil || b == nil {
			continue
		}
		never, _ := (&logic{}).never(a.Root, nil, false)
		always := (&logic{}).always(a.Root)
		covers := (&logic{}).covers(a.Root, b.Root)
		if never == "" && !always && !covers {
			continue
		}
		said++
		var m lang.Machine
		for range 60 {
			env := environment(r)
			x, err := m.Eval(a, env)
			if err != nil {
				t.Fatal(err)
			}
			y, err := m.Eval(b, env)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case never != "" && x:
				t.Fatalf("seed %d: said to be never true (%s): %s for %v", seed, never, a.Source, env)
			case always && !x:
				t.Fatalf("seed %d: said to be always true: %s for %v", seed, a.Source, env)
			case covers && x && !y:
				t.Fatalf("seed %d: %s does not imply %s for %v", seed, a.Source, b.Source, env)
			}
		}
	}
	if said < 15 {
		t.Errorf("only %d conditions were judged", said)
	}
}

func word(r *rand.Rand) string {
	return []string{"", "a", "A", "b", "ab", "aB", "ba", "aab", "bab"}[r.IntN(9)]
}

func expression(r *rand.Rand, depth int) *lang.Expr {
	var build func(depth int) string
	build = func(depth int) string {
		if depth > 0 && r.IntN(3) > 0 {
			op := []string{" and ", " or "}[r.IntN(2)]
			return "(" + build(depth-1) + op + build(depth-1) + ")"
		}
		atom := ""
		text := []string{"process.name", "process.path", "metadata.labels"}[r.IntN(3)]
		switch r.IntN(6) {
		case 0:
			atom = fmt.Sprintf("process.pid %s %d", []string{"<", "<=", ">", ">=", "==", "!="}[r.IntN(6)], r.IntN(4))
		case 1:
			atom = fmt.Sprintf("exists(%s)", text)
		case 2:
			atom = fmt.Sprintf("%s(process.name, %q, %q)", []string{"ieq", "icontains", "istartsWith", "iendsWith"}[r.IntN(4)], word(r), word(r))
		case 3:
			atom = fmt.Sprintf(`process.name matches %q`, []string{"^a", "b$", "(?i)ab", "a|b"}[r.IntN(4)])
		case 4:
			atom = fmt.Sprintf("%s(%s, %q)", []string{"contains_any", "startsWith_any", "endsWith_any", "ieq"}[r.IntN(4)], text, word(r))
		default:
			atom = fmt.Sprintf("ai.cost %s 1.5", []string{"<", "<=", ">", ">="}[r.IntN(4)])
		}
		if r.IntN(3) == 0 {
			return "not (" + atom + ")"
		}
		return atom
	}
	e, err := lang.Compile(build(depth), 1<<len(event.FamilyNames)-1)
	if err != nil {
		return nil // always or never true for the compiler
	}
	return e
}

func environment(r *rand.Rand) map[string]any {
	env := map[string]any{}
	for i := range event.Columns {
		env[event.Columns[i].Name] = lang.Zero(event.Columns[i].Kind)
	}
	env["process_name"], env["process_path"], env["process_pid"] = word(r), word(r), r.IntN(4)
	list := []string{}
	for range r.IntN(3) {
		list = append(list, word(r))
	}
	env["metadata_labels"] = list
	env["ai_cost"] = float64(r.IntN(4)) / 2
	return env
}
