package match

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// planned describes the witnesses of a rule's only unit, in the order in which
// they are asked for.
func planned(t *testing.T, src string, sample *Sample) []string {
	t.Helper()
	e, err := lang.Compile(src, 1<<event.FamilyHost)
	if err != nil {
		t.Fatal(err)
	}
	m := NewLearned([]*rule.Rule{{ID: "r", When: e, Source: rule.Source{Families: 1 << event.FamilyHost}}}, sample)
	if len(m.units) != 1 {
		t.Fatalf("%d units", len(m.units))
	}
	show := func(lits []lang.Literal) string {
		var out []string
		for _, l := range lits {
			out = append(out, fmt.Sprint(l.Field.Path(), " ", l.Kind, " ", l.Text))
		}
		return strings.Join(out, "|")
	}
	u := &m.units[0]
	out := []string{show(u.first)}
	for _, g := range u.gates {
		out = append(out, strings.Repeat("no ", map[bool]int{true: 1}[g.refuse])+show(g.literals))
	}
	return out
}

func TestWitnesses(t *testing.T) {
	row := func(path, cmdLine string) texts {
		return texts{lang.Field{Col: event.ProcessPath}: path, lang.Field{Col: event.ProcessCmdLine}: cmdLine}
	}
	for name, tt := range map[string]struct {
		when string
		rows []texts
		want []string
	}{
		"a rare program before a common one": {
			when: `iendsWith(process.path, "\\mmc.exe") and iendsWith(process.parent_process.path, "\\svchost.exe")`,
			want: []string{`process.path ends with \mmc.exe`, `process.parent_process.path ends with \svchost.exe`},
		},
		"at most three": {
			when: `icontains_all(process.cmd_line, "alphabet", "betatron", "gammaray", "deltawing")`,
			want: []string{`process.cmd_line contains alphabet`, `process.cmd_line contains betatron`, `process.cmd_line contains gammaray`},
		},
		"what is harmless about a common program": {
			when: `iendsWith(process.path, "\\svchost.exe") and not ieq(process.path, "c:\\windows\\system32\\svchost.exe")`,
			want: []string{`process.path ends with \svchost.exe`, `no process.path equals c:\windows\system32\svchost.exe`},
		},
		"what another one implies is none": {
			when: `icontains_all(process.cmd_line, "advfirewall", "firewall")`,
			want: []string{`process.cmd_line contains advfirewall`},
		},
		"that there is a value says little": {
			when: `iendsWith(process.path, "\\svchost.exe") and process.cmd_line != ""`,
			want: []string{`process.path ends with \svchost.exe`},
		},
		"the sample knows what is rare": {
			when: `iendsWith(process.path, "\\mmc.exe") and iendsWith(process.parent_process.path, "\\svchost.exe")`,
			rows: slices.Repeat([]texts{row(`c:\tools\mmc.exe`, "")}, 90),
			want: []string{`process.parent_process.path ends with \svchost.exe`, `process.path ends with \mmc.exe`},
		},
		"and what is rare among those": {
			// Both hold in less than half of all events, but in the same ones.
			when: `icontains_all(process.cmd_line, "--one", "--two") and not icontains(process.path, "tools")`,
			rows: slices.Concat(slices.Repeat([]texts{row(`c:\tools\x.exe`, "--one --two")}, 40), slices.Repeat([]texts{row(`c:\x.exe`, "--one --two")}, 40), slices.Repeat([]texts{row(`c:\x.exe`, "")}, 100)),
			want: []string{`process.cmd_line contains --one`, `no process.path contains tools`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			sample := NewSample()
			sample.strata[routeKey{family: uint8(event.FamilyHost)}] = &stratum{rows: tt.rows}
			if diff := cmp.Diff(tt.want, planned(t, tt.when, sample)); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
		})
	}
}
