package sigma

import (
	"testing"
	"unicode/utf8"

	"github.com/vagus-hub/vagus/services/detect/internal/match"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// FuzzLoad: no file makes the loader panic, what loads can be matched, and its
// import loads and means the same.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(process("s: {CommandLine|contains|all: [a, 'b*c'], User: 'x\\y'}\nk: [a, b]\ncondition: s or not 1 of k*")))
	f.Add([]byte(process("s: {Image|windash|endswith: ' -a', ProcessId|gte: 4, Description: null}\ncondition: (s)")))
	f.Add([]byte(correlated("correlation: {type: temporal, rules: [refused, process], aliases: {w: {refused: TargetUserName, process: User}}, group-by: [w], timespan: 5m}")))
	f.Add([]byte("vars: {a: [b*, 1]}\n---\n" + process("s: {CommandLine|expand: 'x%a%\\%'}\ncondition: s")))
	f.Add([]byte("title: F\nlogsource: {product: windows}\nfilter: {rules: any, s: {EventID: 1}, condition: not s}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		res := Load([]rule.File{{Name: "f.yml", Data: data}})
		match.New(rule.Matched(res.Rules))
		for _, r := range res.Rules {
			if !utf8.Valid(data) {
				t.Error("a file that is not UTF-8 loads")
			}
			if len(Format{}.Locate(data, r.ID)) == 0 {
				t.Errorf("%s is not found in its file", r.ID)
			}
			text := rule.Marshal(r)
			back, problems := rule.Load("f.yml", text)
			if back == nil {
				t.Fatalf("the import of %s does not load: %v\n%s", r.ID, problems, text)
			}
			if r.When != nil && back.When.Root.String() != r.When.Root.String() {
				t.Fatalf("the import of %s means something else:\n%s\n%s", r.ID, r.When.Root, back.When.Root)
			}
		}
	})
}

// FuzzCondition: no condition makes the parser panic.
func FuzzCondition(f *testing.F) {
	for _, s := range []string{"a and (b or not c)", "1 of a* and all of them", "not not a", "((a", "a | count() by b > 5", ""} {
		f.Add(s)
	}
	searches := map[string]*tree{"a": {}, "ab": {}, "b": {}, "c": {}}
	f.Fuzz(func(t *testing.T, s string) {
		p := problems{}
		tree := p.condition(&node{kind: text, text: s}, searches, []string{"a", "ab", "b", "c"}, map[string]bool{})
		if (tree == nil) != (p.errors() > 0) {
			t.Errorf("%q: tree %v, problems %v", s, tree != nil, p.list)
		}
	})
}
