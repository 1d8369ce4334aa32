package detect

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/services/internal/telemetry"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

// Groups beyond the bound are forgotten, and whoever looks is told of which rule.
func TestForgottenGroupsAreTold(t *testing.T) {
	b := testkit.Bus(t)
	opts := DefaultOptions()
	opts.Metrics, opts.Correlation.Groups = telemetry.NewRegistry(), 5
	_, stop := startWith(t, b, rulesDir(t, map[string]string{"test/burst.yml": burst}), opts)
	defer stop()
	const groups = 60
	for g := range groups {
		publish(t, b, fmt.Sprint(g), failures(fmt.Sprintf("192.0.2.%d", g), 0, 1))
	}
	var got Correlation
	testkit.Eventually(t, "all groups are known", func() bool {
		var err error
		got, err = ReadCorrelation(t.Context(), b)
		return err == nil && got.Groups+int(got.Evicted) == groups
	})
	r := got.Rules["test.burst"]
	if got.Groups > 4*5 || r.Groups != got.Groups || r.Evicted != got.Evicted || r.Evicted == 0 || r.Bytes <= 0 || r.Events != r.Groups || r.Signals != groups {
		t.Errorf("%+v", got)
	}
	var text strings.Builder
	if err := opts.Metrics.Write(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		fmt.Sprintf(`vagus_detect_rule_groups{rule="test.burst"} %d`, got.Groups),
		fmt.Sprintf(`vagus_detect_rule_groups_evicted_total{rule="test.burst"} %d`, got.Evicted),
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

// Of many rules those are told that take most, first those that had no room.
func TestRulesThatAreTold(t *testing.T) {
	rules := map[string]RuleState{
		"a": {Bytes: 10}, "b": {Bytes: 30}, "c": {Bytes: 20}, "d": {Bytes: 1, Evicted: 1}, "e": {Bytes: 2, Cut: 1},
	}
	got := strings.Join(slices.Sorted(maps.Keys(heaviest(rules, 3))), " ")
	if diff := cmp.Diff("b d e", got); diff != "" {
		t.Error(diff)
	}
	if n := len(heaviest(rules, 10)); n != 5 {
		t.Errorf("%d of 5 rules", n)
	}
}
