package match

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// naive is the reference: every rule's expression in expr's virtual machine on
// every event.
func naive(t testing.TB, rules []*rule.Rule, b *block.Block) []string {
	t.Helper()
	var out []string
	var vm lang.Machine
	for row := range b.Rows() {
		for _, r := range rules {
			if !wantedBy(r, b, row) {
				continue
			}
			env := map[string]any{}
			FillEnv(env, b, row, r.When)
			ok, err := vm.Eval(r.When, env)
			if err == nil && ok {
				out = append(out, fmt.Sprintf("%d %s", row, r.ID))
			}
		}
	}
	slices.Sort(out)
	return out
}

// wantedBy says whether a rule wants a row, by its source alone.
func wantedBy(r *rule.Rule, b *block.Block, row int) bool {
	source, class := b.Header.Source, uint32(0)
	if c := b.Column(event.Source); c != nil {
		source = c.Text(row)
	}
	if c := b.Column(event.ClassUID); c != nil {
		class = uint32(c.Int(row))
	}
	s := r.Source
	return s.Families.Has(event.Family(b.Header.Family)) && (len(s.Classes) == 0 || slices.Contains(s.Classes, class)) &&
		(len(s.Products) == 0 || slices.Contains(s.Products, source))
}

func indexed(m *Matcher, b *block.Block) []string {
	var out []string
	m.Match(b, func(r *rule.Rule, row int) { out = append(out, fmt.Sprintf("%d %s", row, r.ID)) })
	slices.Sort(out)
	return out
}

var words = []string{"", "a", "A", "ab", "cmd.exe", `C:\Windows\System32\cmd.exe`, "Powershell", "-enc", "admin", "ADMIN-1", "sſkK\u212a", "élan", "ÉLAN",
	"ignore previous instructions", "foo bar", "x", "/v1/chat", "10.0.0.1", "kube-system", "\xff\xfe", "a\x00b"}

func word(r *rand.Rand) string {
	switch r.IntN(4) {
	case 0:
		return words[r.IntN(len(words))] + words[r.IntN(len(words))]
	case 1:
		w := words[r.IntN(len(words))]
		return w[:r.IntN(len(w)+1)]
	}
	return words[r.IntN(len(words))]
}

var (
	textCols = []event.ColumnID{event.ActorUserName, event.HTTPRequestPath, event.MessageContextPromptText, event.ToolArguments, event.SrcEndpointIP, event.ActorUserCredentialUID}
	listCols = []event.ColumnID{event.MetadataLabels, event.AIDocumentUIDs}
	numCols  = []event.ColumnID{event.HTTPResponseCode, event.StatusID, event.AICost, event.GuardrailScore, event.MessageContextTotalTokens}
)

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\x00", `\x00`).Replace(strings.ToValidUTF8(s, "?")) + `"`
}

func list(r *rand.Rand) string {
	var out []string
	for range 1 + r.IntN(4) {
		out = append(out, quote(word(r)))
	}
	return "[" + strings.Join(out, ", ") + "]"
}

var patterns = []string{`(?i)powershell`, `(?i)sk`, `^a`, `exe$`, `[a-z]+`, `ignore (all )?previous`, `(?i)(adm|foo).*`, `\d+\.\d+`, `(?i)KELVIN|k`, `é|É`, `(?i)élan`, `^$`, `a{2,}`, `�`, `.{3,}`, `(?s).{12,}`, "\x60?/.*/", `a.*a`, `\bfoo\b`, `^.{4}$`, `(?i)prev.{1,3}us|k.*k`, `(?is)É`, `(?i)é|Ԝ`}

// field is a text that rules read: a column, a key of unmapped, a number.
func field(r *rand.Rand) string {
	switch r.IntN(6) {
	case 0:
		return pick(r, []string{`unmapped.Key`, `unmapped["Some Key"]`, `unmapped.a.b`, "unmapped.number"})
	case 1:
		return pick(r, []string{"text(http_response.code)", "text(ai.cost)", "text(ai.stream)"})
	}
	return event.Columns[pick(r, textCols)].Path
}

var globs = []string{"*", "a*", "*admin*1", "c?d.exe", "*\\\\System32\\\\*.EXE", "?lan", "ign*pre?ious*", "", "A?*", "*?", "a\\*", "*k*\\?"}

func expression(r *rand.Rand, depth int) string {
	if depth > 0 {
		switch r.IntN(5) {
		case 0:
			return "(" + expression(r, depth-1) + " and " + expression(r, depth-1) + ")"
		case 1:
			return "(" + expression(r, depth-1) + " or " + expression(r, depth-1) + ")"
		case 2:
			return "not (" + expression(r, depth-1) + ")"
		}
	}
	text := field(r)
	listCol := pick(r, []string{event.Columns[pick(r, listCols)].Path, "event.text"})
	num := event.Columns[pick(r, numCols)].Path
	switch r.IntN(22) {
	case 0, 1:
		return text + pick(r, []string{" == ", " != ", " contains ", " startsWith ", " endsWith "}) + quote(word(r))
	case 2:
		return text + " in " + list(r)
	case 3, 4:
		return fmt.Sprintf("%s(%s, %s)", pick(r, []string{"ieq", "iin", "icontains", "icontains_all", "istartsWith", "iendsWith", "contains_any", "contains_all", "startsWith_any", "endsWith_any"}),
			pick(r, []string{text, listCol}), list(r))
	case 5:
		return text + " matches " + quote(pick(r, patterns))
	case 6:
		return quote(word(r)) + " in " + listCol
	case 7:
		return fmt.Sprintf("any(%s, # %s %s)", listCol, pick(r, []string{"==", "contains", "startsWith", "endsWith", "!="}), quote(word(r)))
	case 8:
		return num + pick(r, []string{" == ", " != ", " < ", " <= ", " > ", " >= "}) + pick(r, []string{"0", "1", "401", "-1", "0.5", "2.5"})
	case 9:
		return event.Columns[event.HTTPResponseCode].Path + " in " + pick(r, []string{"[1, 401]", "[0]", "200..403"})
	case 10:
		return `cidr(src_endpoint.ip, ` + pick(r, []string{`"10.0.0.0/8"`, `"2001:db8::/32"`, `"0.0.0.0/0"`}) + ")"
	case 11:
		return pick(r, []string{"ai.stream", "not ai.stream", "ai.stream == false", "ai.stream != true"})
	case 12:
		return text + pick(r, []string{" == ", " != ", " contains ", " startsWith ", " endsWith "}) + field(r)
	case 14:
		return fmt.Sprintf("%s(%s, %s, %s)", pick(r, []string{"ieq", "icontains", "istartsWith", "endsWith_any", "contains_all"}), text, quote(word(r)), event.Columns[pick(r, textCols)].Path)
	case 15, 16:
		return fmt.Sprintf("%s(%s, %s, %s)", pick(r, []string{"wildcard", "iwildcard"}), pick(r, []string{text, listCol}), quote(pick(r, globs)), quote(pick(r, globs)))
	case 18:
		return pick(r, []string{`metadata.event_code == "1"`, `metadata.event_code in ["1", "Logon"]`, `ieq(metadata.event_code, "10")`, `ieq(metadata.event_code, "logon")`, `metadata.event_code != "1"`, `activity_name == "Launch"`, `ieq(activity_name, "launch", "open")`, `not ieq(metadata.log_name, "System")`, `metadata.log_name in ["system", "Security"]`, `metadata.event_code == ""`})
	case 19:
		return pick(r, []string{"activity_id == 1", "activity_id in [0, 2]", "activity_id == -1", "class_uid == 6003", "class_uid in [0, 4002]", "activity_id > 1"})
	case 20:
		return pick(r, []string{"activity_id == 1", `metadata.event_code == "10"`}) + " and (" + expression(r, 1) + ")"
	case 17:
		return fmt.Sprintf("any(event.text, # matches %s)", quote(pick(r, patterns)))
	case 13:
		return "exists(" + pick(r, []string{text, listCol, num}) + ")"
	}
	return pick(r, []string{`len(` + text + `) > 3`, `scores["a"] > 0.5`, `lower(` + text + `) == "admin"`, text + `?.foo == nil`, `any(` + listCol + `, # contains "a" and # contains "b")`,
		`all(` + listCol + `, # != "a")`, quantified(r, listCol), quantified(r, listCol), quantified(r, listCol), `scores.` + pick(r, []string{"a", "b", "c"}) + pick(r, []string{" == ", " != ", " < ", " <= ", " > ", " >= "}) + pick(r, []string{"0", "0.5", "-1", "1"}), `len(unmapped.Key) > 2`, `len(event.text) > 5`, `(` + text + ` contains "a" ? true : ` + num + ` > 1)`})
}

// quantified is a loop over a list.
func quantified(r *rand.Rand, list string) string {
	element := func() string {
		switch r.IntN(5) {
		case 0:
			return "not (# contains " + quote(word(r)) + ")"
		case 1:
			return "# matches " + quote(pick(r, patterns))
		case 2:
			return "icontains(#, " + quote(word(r)) + ", " + quote(word(r)) + ")"
		}
		return "# " + pick(r, []string{"==", "!=", "contains", "startsWith", "endsWith"}) + " " + quote(word(r))
	}
	pred := element()
	if r.IntN(3) == 0 {
		pred += pick(r, []string{" and ", " or "}) + element()
	}
	if r.IntN(2) == 0 {
		return fmt.Sprintf("%s(%s, %s)", pick(r, []string{"any", "all", "none"}), list, pred)
	}
	call, op, n := fmt.Sprintf("count(%s, %s)", list, pred), pick(r, []string{" == ", " != ", " < ", " <= ", " > ", " >= "}), fmt.Sprint(r.IntN(4)-r.IntN(2))
	if r.IntN(4) == 0 {
		return n + op + call
	}
	return call + op + n
}

func randomRules(r *rand.Rand, n int) []*rule.Rule {
	var out []*rule.Rule
	for len(out) < n {
		e, err := lang.Compile(expression(r, r.IntN(4)), 0x3f)
		if err != nil {
			continue
		}
		x := &rule.Rule{ID: fmt.Sprintf("r%d", len(out)), When: e, Source: rule.Source{Families: 0x3f}}
		if r.IntN(3) == 0 {
			x.Source.Classes = []uint32{pick(r, []uint32{6003, 4002})}
		}
		if r.IntN(4) == 0 {
			x.Source.Products = []string{pick(r, []string{"one", "two"})}
		}
		if n > 60 { // so many routings that they share bits
			x.Source.Products = append(x.Source.Products, fmt.Sprint("other-", len(out)))
		}
		if r.IntN(6) == 0 {
			x.Source.Families = 1 << event.FamilyHost
		}
		out = append(out, x)
	}
	return out
}

// unmapped is mostly a flat object, sometimes a damaged one.
func unmapped(r *rand.Rand) string {
	var parts []string
	for range r.IntN(5) {
		value := pick(r, []string{"1", "-2.50", "true", "null", `["admin",1]`, `{"x":"foo, }"}`, `"a\u0062\"c"`, `"\ud83d\ude00\/"`, `"k\\"`, ""})
		if value == "" {
			encoded, _ := json.Marshal(word(r))
			value = string(encoded)
		}
		parts = append(parts, pick(r, []string{`"Key"`, `"Some Key"`, `"a.b"`, `"number"`, `"K\u0065y"`, `"other"`})+":"+value)
	}
	s := "{" + strings.Join(parts, ",") + "}"
	if r.IntN(8) == 0 {
		s = s[:r.IntN(len(s))]
	}
	return s
}

func randomBlock(t testing.TB, r *rand.Rand, rows int) *block.Block {
	t.Helper()
	b := block.NewBuilder(event.FamilyAI)
	for range rows {
		for _, id := range textCols {
			if r.IntN(3) == 0 {
				continue
			}
			if id == event.SrcEndpointIP {
				b.SetIP(id, netip.MustParseAddr(pick(r, []string{"10.0.0.1", "192.0.2.7", "2001:db8::1"})))
			} else {
				b.SetString(id, word(r))
			}
		}
		for _, id := range listCols {
			for range r.IntN(4) {
				b.AppendKeyword(id, []byte(word(r)))
			}
		}
		b.SetInt(event.HTTPResponseCode, pick(r, []int64{0, 1, 200, 401, 403}))
		b.SetInt(event.StatusID, int64(r.IntN(3)))
		b.SetInt(event.MessageContextTotalTokens, int64(r.IntN(3)))
		b.SetFloat(event.AICost, pick(r, []float64{0, 0.5, 2.5, -1}))
		b.SetFloat(event.GuardrailScore, pick(r, []float64{0, 0.5, 0.9}))
		b.SetInt(event.AIStream, int64(r.IntN(2)))
		b.SetInt(event.ClassUID, pick(r, []int64{0, 6003, 4002}))
		b.SetInt(event.ActivityID, int64(r.IntN(3)))
		b.SetString(event.ActivityName, pick(r, []string{"", "Launch", "launch", "Open", "Other"}))
		b.SetString(event.MetadataLogName, pick(r, []string{"", "System", "system", "Security"}))
		b.SetString(event.MetadataEventCode, pick(r, []string{"", "1", "10", "Logon", "logon", "7"}))
		if r.IntN(2) == 0 {
			b.SetString(event.Source, pick(r, []string{"one", "two", "three"}))
		}
		if r.IntN(3) == 0 {
			b.AppendScore(event.Scores, pick(r, []string{"a", "b", "A"}), pick(r, []float64{0, 0.5, r.Float64()}))
		}
		if r.IntN(2) == 0 {
			b.SetString(event.Unmapped, unmapped(r))
		}
		b.EndRow()
	}
	var out block.Block
	if err := block.Decode(b.AppendTo(nil, block.Header{Kind: block.KindEvents, Source: "one"}), &out); err != nil {
		t.Fatal(err)
	}
	return &out
}

// The index and the columnar evaluation change nothing: whatever the rules and
// the events, the matches are those of the virtual machine.
func TestIndexEqualsNaive(t *testing.T) {
	matches := 0
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 1))
		rules := randomRules(r, 40+int(seed%10/9)*60)
		sample := NewSample()
		m := NewLearned(rules, sample)
		for i := range 3 {
			if i == 2 { // what was learned changes nothing but the way
				m = NewLearned(rules, sample)
			}
			b := randomBlock(t, r, 1+r.IntN(60))
			want, got := naive(t, rules, b), indexed(m, b)
			if diff := cmp.Diff(want, got); diff != "" {
				for _, x := range rules {
					if strings.Contains(diff, " "+x.ID+"\"") {
						t.Logf("%s: %s\n  %s\n  %+v", x.ID, x.When.Source, x.When.Root, x.Source)
					}
				}
				t.Fatalf("seed %d: naive (-) index (+):\n%s", seed, diff)
			}
			matches += len(got)
		}
	}
	if matches < 10_000 {
		t.Errorf("only %d matches: the test proves little", matches)
	}
}

func FuzzIndexEqualsNaive(f *testing.F) {
	f.Add(uint64(1), uint64(2), `icontains(message_context.prompt_text, "Ignore")`)
	f.Add(uint64(3), uint64(4), `not (actor.user.name matches "(?i)a|b") or http_response.code > 3`)
	f.Fuzz(func(t *testing.T, a, b uint64, src string) {
		r := rand.New(rand.NewPCG(a, b))
		rules := randomRules(r, 8)
		if e, err := lang.Compile(src, 0x3f); err == nil {
			rules = append(rules, &rule.Rule{ID: "fuzzed", When: e, Source: rule.Source{Families: 0x3f}})
		}
		blk := randomBlock(t, r, 20)
		if diff := cmp.Diff(naive(t, rules, blk), indexed(New(rules), blk)); diff != "" {
			t.Fatalf("%s\n%s", src, diff)
		}
	})
}
