package sigma

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

func TestPlaceholders(t *testing.T) {
	cmd := func(s string) fields { return fields{"process.cmd_line": s} }
	const vars = "name: ours\nvars:\n  hosts: [ws-*, 10]\n  who: ada\n"
	for name, tc := range map[string]struct {
		detection string
		yes, no   []fields
	}{
		"values":      {"s: {CommandLine|expand: '%hosts%'}\ncondition: s", []fields{cmd("WS-7"), cmd("10")}, []fields{cmd("%hosts%"), cmd("db-7")}},
		"within":      {"s: {CommandLine|expand: 'ping %hosts% %who%'}\ncondition: s", []fields{cmd("ping ws-7 ada"), cmd("ping 10 ada")}, []fields{cmd("ping 10 bo")}},
		"contains":    {"s: {CommandLine|contains|expand: '%who%'}\ncondition: s", []fields{cmd("x ada y")}, []fields{cmd("x")}},
		"in a list":   {"s: {CommandLine|expand: ['%who%', bo]}\ncondition: s", []fields{cmd("ada"), cmd("bo")}, []fields{cmd("eve")}},
		"escaped":     {`s: {CommandLine|expand: '\%plain%who%'}` + "\ncondition: s", []fields{cmd("%plainada")}, []fields{cmd("%plain%who%")}},
		"plain":       {"s: {CommandLine: '%who%'}\ncondition: s", []fields{cmd("%who%")}, []fields{cmd("ada")}},
		"in patterns": {"s: {CommandLine|re|expand: '^%hosts%$'}\ncondition: s", []fields{cmd("ws-*"), cmd("10")}, []fields{cmd("ws-1")}},
	} {
		t.Run(name, func(t *testing.T) {
			r := one(t, vars+"---\n"+process(tc.detection))
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
		})
	}
}

// TestPlaceholderValues: the caller's values go before those of files, a rule's
// version changes with its values alone, and a filter may have some too.
func TestPlaceholderValues(t *testing.T) {
	files := []rule.File{
		{Name: "r.yml", Data: []byte(process("s: {CommandLine|expand: '%who%'}\ncondition: s"))},
		{Name: "v.yml", Data: []byte("vars: {who: ada}\n")},
		{Name: "f.yml", Data: []byte("title: F\nlogsource: {product: windows}\nfilter: {rules: any, s: {Image|expand: '%ours%'}, condition: not s}\n")},
	}
	version := func(values Placeholders) string {
		res := LoadWith(files, values, func(int) {})
		if rule.Failed(res.Problems) || len(res.Rules) != 1 {
			t.Fatal(res.Problems)
		}
		return res.Rules[0].Version
	}
	a := version(Placeholders{"ours": {"x"}})
	for name, tc := range map[string]struct {
		values Placeholders
		same   bool
	}{
		"same":     {Placeholders{"ours": {"x"}, "others": {"y"}}, true},
		"filter's": {Placeholders{"ours": {"y"}}, false},
		"given":    {Placeholders{"ours": {"x"}, "who": {"bo"}}, false},
	} {
		if same := version(tc.values) == a; same != tc.same {
			t.Errorf("%s: the version is the same: %v, want %v", name, same, tc.same)
		}
	}
	res := LoadWith(files, Placeholders{"our": {"x"}}, func(int) {})
	got := fmt.Sprint(res.Problems)
	for _, want := range []string{"r.yml:1:1: error: filter F: unsupported: placeholder %ours% has no values", "--placeholder:1:1: warning: no rule has a placeholder %our%: did you mean ours?"} {
		if !strings.Contains(got, want) {
			t.Errorf("got %s\nwant …%s…", got, want)
		}
	}
}

func TestPlaceholderProblems(t *testing.T) {
	for name, tc := range map[string]struct{ file, want string }{
		"no mapping": {"vars: [a]\n", "1:7: error: vars must be a mapping"},
		"blank":      {"vars: {a b: c}\n", `1:8: error: "a b" cannot be the name of a placeholder`},
		"nested":     {"vars: {a: [[b]]}\n", "a value of the placeholder a must be a text or a number"},
		"twice":      {"vars: {a: b}\n---\nvars: {a: c}\n", "3:1: error: placeholder a has values in v.yml already"},
		"pipeline":   {"name: x\npriority: 1\nvars: {a: b}\ntransformations: []\n", "4:1: warning: transformations of a pipeline is not read"},
	} {
		res := Load([]rule.File{{Name: "v.yml", Data: []byte(tc.file)}})
		if got := fmt.Sprint(res.Problems); !strings.Contains(got, tc.want) {
			t.Errorf("%s: got %s\nwant …%s…", name, got, tc.want)
		}
	}
	res := Load([]rule.File{{Name: "v.yml", Data: []byte("name: ours\nvars: {a: b}\n")}})
	if diff := cmp.Diff([]Report{{File: "v.yml", Kind: "placeholders", Title: "ours", Loaded: true}}, res.Reports); diff != "" {
		t.Error(diff)
	}
}
