package match

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

func TestArrangedPutsSharedWitnessesTogether(t *testing.T) {
	with := func(rule int32, texts ...string) unit {
		u := unit{rule: rule}
		for _, s := range texts {
			u.first = append(u.first, lang.Literal{Kind: lang.LitSuffix, Text: s})
		}
		return u
	}
	all := []unit{with(0, "cmd"), with(1, "mshta"), with(2, "rare"), with(3, "other", "cmd"), with(4), with(5, "mshta"), with(6, "cmd", "mshta"), with(7)}
	before := slices.Clone(all)
	var got []int32
	for _, u := range arranged(all) {
		got = append(got, u.rule)
	}
	if diff := cmp.Diff([]int32{4, 7, 2, 0, 3, 6, 1, 5}, got); diff != "" {
		t.Errorf("want (-) got (+):\n%s", diff)
	}
	for i := range all {
		if all[i].rule != before[i].rule {
			t.Error("the planner's units have changed")
		}
	}
}
