//go:build linux || darwin

package history

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/history/historytest"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/match"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/block"
)

var words = []string{"", "a", "A", "ab", "aB", "cmd.exe", `C:\Windows\System32\cmd.exe`, "Powershell", "-enc", "admin", "ADMIN-1", "sſkK\u212a", "élan", "ÉLAN",
	"ignore previous instructions", "foo bar", "x", "/v1/chat", "10.0.0.1", "kube-system", "\xff\xfe", "a\x00b", "a\nb", `it's`, `back\slash`, "'); DROP", "%_", "K", "ß", "\u0130"}

var (
	textCols = []event.ColumnID{event.ActorUserName, event.HTTPRequestPath, event.MessageContextPromptText, event.ToolArguments, event.SrcEndpointIP, event.ActorUserCredentialUID}
	listCols = []event.ColumnID{event.MetadataLabels, event.AIDocumentUIDs}
	numCols  = []event.ColumnID{event.HTTPResponseCode, event.StatusID, event.AICost, event.GuardrailScore, event.MessageContextTotalTokens, event.Time, event.TrafficBytesOut}
	patterns = []string{`(?i)powershell`, `(?i)sk`, `^a`, `exe$`, `[a-z]+`, `ignore (all )?previous`, `(?i)(adm|foo).*`, `\d+\.\d+`, `(?i)KELVIN|k`, `é|É`, `(?i)élan`, `^$`, `a{2,}`, `�`,
		`a.b`, `^.$`, `^[^a]$`, `\bcmd\b`, `\\System32\\`, `^..$`, `\W`, `(?s)^a.b$`, `[[:upper:]]`}
)

func pick[T comparable](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

func word(r *rand.Rand) string {
	switch r.IntN(4) {
	case 0:
		return pick(r, words) + pick(r, words)
	case 1:
		w := pick(r, words)
		return w[:r.IntN(len(w)+1)]
	}
	return pick(r, words)
}

func literal(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\x00", `\x00`, "\n", `\n`).Replace(strings.ToValidUTF8(s, "?")) + `"`
}

func literals(r *rand.Rand) string {
	var out []string
	for range 1 + r.IntN(4) {
		out = append(out, literal(word(r)))
	}
	return "[" + strings.Join(out, ", ") + "]"
}

func expression(r *rand.Rand, depth int) string {
	if depth > 0 {
		switch r.IntN(5) {
		case 0, 1:
			return "(" + expression(r, depth-1) + " and " + expression(r, depth-1) + ")"
		case 2:
			return "(" + expression(r, depth-1) + " or " + expression(r, depth-1) + ")"
		case 3:
			return "not (" + expression(r, depth-1) + ")"
		}
	}
	text := event.Columns[pick(r, textCols)].Path
	list := event.Columns[pick(r, listCols)].Path
	num := event.Columns[pick(r, numCols)].Path
	switch r.IntN(19) {
	case 15:
		return pick(r, []string{"unmapped.a", `unmapped["b/c"]`, "unmapped.quo", `unmapped["k\\"y"]`}) + pick(r, []string{" == ", " != ", " contains ", " startsWith ", " endsWith "}) + literal(word(r))
	case 16:
		return fmt.Sprintf("%s(%s, %s)", pick(r, []string{"icontains", "contains_any", "wildcard", "istartsWith"}), pick(r, []string{"unmapped.a", "event.text", text, list}), literals(r))
	case 17:
		return text + pick(r, []string{" == ", " != ", " contains ", " startsWith ", " endsWith "}) + pick(r, []string{"actor.user.name", "process.path", "http_request.path", "tool.arguments"})
	case 18:
		return pick(r, []string{`text(http_response.code) == "401"`, `text(http_response.code) in ["", "0", "403"]`, `text(ai.stream) == "true"`, `text(http_response.code) startsWith "4"`, `text(traffic.bytes_out) == "401"`,
			`icontains(actor.user.name, http_request.path)`, `istartsWith(tool.arguments, actor.user.name)`, `event.text contains "10.0"`, `"cmd.exe" in event.text`, `any(event.text, # matches "(?i)foo b")`, `not ("x" in event.text)`})
	case 0, 1:
		return text + pick(r, []string{" == ", " != ", " contains ", " startsWith ", " endsWith "}) + literal(word(r))
	case 2:
		return text + " in " + literals(r)
	case 3, 4:
		return fmt.Sprintf("%s(%s, %s)", pick(r, []string{"ieq", "iin", "icontains", "icontains_all", "istartsWith", "iendsWith", "contains_any", "contains_all", "startsWith_any", "endsWith_any"}),
			pick(r, []string{text, list}), literals(r))
	case 5:
		return text + " matches " + literal(pick(r, patterns))
	case 6:
		return literal(word(r)) + " in " + list
	case 7:
		return fmt.Sprintf("any(%s, # %s %s)", list, pick(r, []string{"==", "contains", "startsWith", "endsWith", "!="}), literal(word(r)))
	case 8:
		return num + pick(r, []string{" == ", " != ", " < ", " <= ", " > ", " >= "}) + pick(r, []string{"0", "1", "401", "-1", "0.5", "2.5", "0.9", "9007199254740991"})
	case 9:
		return "http_response.code in " + pick(r, []string{"[1, 401]", "[0]", "200..403", "[-1, 70000, 403]"})
	case 10:
		return `cidr(src_endpoint.ip, ` + pick(r, []string{`"10.0.0.0/8"`, `"2001:db8::/32"`, `"0.0.0.0/0"`, `"::/0"`, `"::ffff:10.0.0.0/104"`, `"192.0.2.7/32"`}) + ")"
	case 11:
		return pick(r, []string{"ai.stream", "not ai.stream", "ai.stream == false", "ai.stream != true", "authorization.decision == \"x\"", "process.path == \"\"", "process.path contains \"a\""})
	case 12:
		return text + pick(r, []string{" == ", " != "}) + event.Columns[pick(r, textCols)].Path
	case 13:
		return "exists(" + pick(r, []string{text, list, num}) + ")"
	}
	return pick(r, []string{`len(` + text + `) > 3`, `scores["a"] > 0.5`, `lower(` + text + `) == "admin"`, `any(` + list + `, # contains "a" and # contains "b")`, `all(` + list + `, # contains "a")`, `none(` + list + `, # == "x")`, `count(` + list + `, # contains "a") >= 2`, `count(` + list + `, # contains "a") < 2`, `scores["a"] <= 0.5`,
		`src_endpoint.ip in ["10.0.0.1", "10.0.0.01", "::ffff:10.0.0.1", "2001:db8::1", ""]`, `any(` + list + `, # matches "^a")`, `event_uid == "00000000-0000-0000-0000-000000000003"`})
}

// randomEvents are events of a family, as a payload and as a block.
func randomEvents(t testing.TB, r *rand.Rand, f event.Family, rows int) ([]byte, *block.Block) {
	t.Helper()
	b := block.NewBuilder(f)
	has := func(id event.ColumnID) bool { return event.Columns[id].Families.Has(f) }
	for row := range rows {
		var uid [16]byte
		uid[0], uid[14], uid[15] = byte(f), byte(row>>8), byte(row)
		b.SetUUID(event.EventUID, uid)
		b.SetInt(event.Time, day.Add(time.Duration(r.IntN(86_400_000))*time.Millisecond).UnixMilli())
		b.SetString(event.Source, pick(r, []string{"one", "two", "three"}))
		b.SetInt(event.ClassUID, pick(r, []int64{6003, 4002}))
		for _, id := range textCols {
			switch {
			case r.IntN(3) == 0 || !has(id):
			case id == event.SrcEndpointIP:
				b.SetIP(id, netip.MustParseAddr(pick(r, []string{"10.0.0.1", "192.0.2.7", "2001:db8::1", "0.0.0.0", "::ffff:10.0.0.2", "::1"})))
			default:
				b.SetString(id, word(r))
			}
		}
		for _, id := range listCols {
			for range r.IntN(4) {
				if has(id) {
					b.AppendKeyword(id, []byte(word(r)))
				}
			}
		}
		set := func(id event.ColumnID, v int64) {
			if has(id) {
				b.SetInt(id, v)
			}
		}
		set(event.HTTPResponseCode, pick(r, []int64{0, 1, 200, 401, 403}))
		set(event.StatusID, int64(r.IntN(3)))
		set(event.MessageContextTotalTokens, int64(r.IntN(3)))
		set(event.TrafficBytesOut, pick(r, []int64{0, 1, 401, math.MaxInt64, -1, 1 << 53}))
		set(event.AIStream, int64(r.IntN(2)))
		if has(event.AICost) {
			b.SetFloat(event.AICost, pick(r, []float64{0, 0.5, 2.5, -1, 0.9}))
			b.SetFloat(event.GuardrailScore, pick(r, []float64{0, 0.5, 0.9}))
			if r.IntN(3) == 0 {
				b.AppendScore(event.Scores, pick(r, []string{"a", "b"}), r.Float64())
			}
		}
		if r.IntN(2) == 0 {
			text, _ := json.Marshal(map[string]any{pick(r, []string{"a", "b/c", "quo", `k"y`}): word(r), "n": r.IntN(3), "list": []string{word(r)}})
			if r.IntN(4) == 0 {
				text = text[:r.IntN(len(text)+1)] // cut
			}
			b.SetString(event.Unmapped, pick(r, []string{string(text), strings.ReplaceAll(string(text), "a", `\u0061`), strings.ReplaceAll(string(text), "/", `\/`)}))
		}
		b.EndRow()
	}
	payload := b.AppendTo(nil, block.Header{Kind: block.KindEvents})
	var out block.Block
	if err := block.Decode(payload, &out); err != nil {
		t.Fatal(err)
	}
	return payload, &out
}

var day = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func newRule(id string, e *lang.Expr, families event.Families) *rule.Rule {
	return &rule.Rule{ID: id, When: e, Source: rule.Source{Families: families}, Alert: rule.Alert{EntityPath: event.SrcEndpointIP}}
}

// direct lists the matches of rules on blocks that were never stored.
func direct(rules []*rule.Rule, blocks []*block.Block) []string {
	var out []string
	m := match.New(rules)
	for _, b := range blocks {
		m.Match(b, func(r *rule.Rule, row int) {
			out = append(out, r.ID+" "+b.Column(event.EventUID).Text(row))
		})
	}
	slices.Sort(out)
	return out
}

func scanned(t testing.TB, db Database, q Query) ([]string, Progress) {
	t.Helper()
	var out []string
	last := int64(math.MinInt64)
	p, err := Scan(t.Context(), db, q, func(m Match) error {
		if m.Time < last {
			t.Errorf("%d after %d", m.Time, last)
		}
		last = m.Time
		out = append(out, m.Rule.ID+" "+m.Block.Column(event.EventUID).Text(m.Row))
		return nil
	}, nil)
	if err != nil {
		for _, table := range q.tables() {
			t.Log(table.sql(Span{From: q.From, To: q.To}, false))
		}
		t.Fatalf("%s: %v", q.Sets[0].Rules[0].When.Source, err)
	}
	slices.Sort(out)
	return out, p
}

// The condition that ClickHouse gets lets every match through: whatever the
// expression and the events, filtered and exact is unfiltered and exact.
func TestConditionIsNecessary(t *testing.T) {
	db := historytest.Open(t)
	var blocks []*block.Block
	r := rand.New(rand.NewPCG(1, 2))
	rows := 0
	for _, f := range []event.Family{event.FamilyAI, event.FamilyNetwork} {
		payload, b := randomEvents(t, r, f, 400)
		historytest.Insert(t, db, payload)
		blocks = append(blocks, b)
		rows += b.Rows()
	}
	families := event.Families(1<<event.FamilyAI | 1<<event.FamilyNetwork)
	matches, candidates, all, narrowed, cases := 0, uint64(0), 0, 0, 0
	for seed := uint64(0); cases < 300; seed++ {
		r := rand.New(rand.NewPCG(seed, 7))
		var rules []*rule.Rule
		for range 1 + r.IntN(4)/3*3 {
			e, err := lang.Compile(expression(r, r.IntN(4)), families)
			if err != nil {
				continue
			}
			x := newRule(fmt.Sprint("r", len(rules)), e, families)
			if r.IntN(4) == 0 {
				x.Source.Classes = []uint32{6003}
			}
			if r.IntN(4) == 0 {
				x.Source.Products = []string{"two"}
			}
			rules = append(rules, x)
		}
		if len(rules) == 0 {
			continue
		}
		cases++
		want := direct(rules, blocks)
		got, p := scanned(t, db, Query{From: day, To: day.AddDate(0, 0, 1), Sets: []*Set{NewSet(rules)}})
		if diff := cmp.Diff(want, got); diff != "" {
			for _, x := range rules {
				t.Logf("%s: %s\n  %s\n  ai: %s\n  network: %s", x.ID, x.When.Source, x.When.Root, Condition(x.When.Root, event.FamilyAI), Condition(x.When.Root, event.FamilyNetwork))
			}
			t.Fatalf("seed %d: without ClickHouse (-), with it (+):\n%s", seed, diff)
		}
		matches += len(got)
		candidates += p.Candidates
		all += rows
		if p.Candidates < uint64(rows) {
			narrowed++
		}
	}
	t.Logf("%d cases, %d matches, %d candidates of %d events, %d cases narrowed", cases, matches, candidates, all, narrowed)
	if matches < 10_000 || narrowed < cases/2 {
		t.Errorf("%d matches, %d of %d cases narrowed: the test proves little", matches, narrowed, cases)
	}
}

// Every byte survives as a literal, and none ends it.
func TestLiterals(t *testing.T) {
	db := historytest.Open(t)
	var all []byte
	for i := range 256 {
		all = append(all, byte(i))
	}
	r := rand.New(rand.NewPCG(1, 1))
	for _, s := range []string{"", string(all), `'; DROP TABLE events_ai; --`, `\'`, `\\'`, "{x:String}", "?", "@a", "$1", strings.Repeat("'", 300), string(all[r.IntN(100):])} {
		rc, err := db.SelectNative(t.Context(), "SELECT hex("+quote(s)+") FORMAT TSV", nil)
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		got, err := io.ReadAll(rc)
		_ = rc.Close()
		if err != nil || strings.TrimSpace(string(got)) != fmt.Sprintf("%X", s) {
			t.Errorf("%q: got %s, %v", s, got, err)
		}
	}
}

func FuzzQuote(f *testing.F) {
	f.Add("it's")
	f.Add("\x00\\'")
	f.Fuzz(func(t *testing.T, s string) {
		q := quote(s)
		if q[0] != '\'' || q[len(q)-1] != '\'' {
			t.Fatal(q)
		}
		for i, c := range []byte(q[1 : len(q)-1]) {
			if c == '\'' || c < 0x20 || c > 0x7e || c == '\\' && q[i+2] != 'x' {
				t.Fatalf("%q has %q at %d", q, c, i)
			}
		}
	})
}

// What does not fit into a statement is left out and never turns into its
// opposite.
func TestConditionStaysSmall(t *testing.T) {
	long := make([]string, 20_000)
	for i := range long {
		long[i] = fmt.Sprintf("value-%d", i)
	}
	list := `["` + strings.Join(long, `","`) + `"]`
	for source, want := range map[string]string{
		`actor.user.name in ` + list:                                      "",
		`not (actor.user.name in ` + list + `)`:                           "",
		`actor.user.name in ` + list + ` and ai.stream`:                   "(`ai_stream` = 1)",
		`process.path == "a"`:                                             "0",
		`process.path == "a" or ai.stream`:                                "(`ai_stream` = 1)",
		`process.path == ""`:                                              "",
		`not (actor.user.name matches "a+b")`:                             "",
		`actor.user.name matches "(?i)secret.*key"`:                       "((positionCaseInsensitive(`actor_user_name`, 'ecret') > 0) AND (positionCaseInsensitive(`actor_user_name`, 'ey') > 0))",
		`cidr(src_endpoint.ip, "::ffff:10.0.0.0/104")`:                    "0",
		`src_endpoint.ip == "10.0.0.01" and not (src_endpoint.ip == "a")`: "0",
	} {
		e, err := lang.Compile(source, 0x3f)
		if err != nil {
			t.Fatal(err)
		}
		if got := Condition(e.Root, event.FamilyAI); got != want {
			t.Errorf("%.60s: got %.200s, want %s", source, got, want)
		}
	}
}

func TestScanStopsAndCancels(t *testing.T) {
	db := historytest.Open(t)
	payload, _ := randomEvents(t, rand.New(rand.NewPCG(1, 1)), event.FamilyAI, 300)
	historytest.Insert(t, db, payload)
	e, err := lang.Compile(`status_id >= 0 and exists(source)`, 0x3f)
	if err != nil {
		t.Fatal(err)
	}
	q := Query{From: day, To: day.AddDate(0, 0, 1), Sets: []*Set{NewSet([]*rule.Rule{newRule("r", e, 0x3f)})}, Newest: true}
	var times []int64
	if _, err := Scan(t.Context(), db, q, func(m Match) error {
		if times = append(times, m.Time); len(times) == 5 {
			return ErrStop
		}
		return nil
	}, nil); err != nil {
		t.Fatal(err)
	}
	if len(times) != 5 || !slices.IsSortedFunc(times, func(a, b int64) int { return int(b - a) }) {
		t.Errorf("times %v", times)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := Scan(ctx, db, q, func(Match) error { cancel(); return ctx.Err() }, nil); err == nil {
		t.Error("a cancelled scan ended without an error")
	}
}
