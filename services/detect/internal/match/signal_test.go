package match

import (
	"testing"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// TestSignalOfKeys: what a rule groups by and counts may be keys of unmapped, read
// as conditions read them.
func TestSignalOfKeys(t *testing.T) {
	b := block.NewBuilder(event.FamilyHost)
	for _, doc := range []string{`{"a":"x\u0041","a":"2","b.c":" 1.5e1","d e":null}`, `{"b.c":12,"d\u0020e":{"f":1}}`, ``, `{"a":"\u001f"}`} {
		b.SetString(event.Unmapped, doc)
		b.EndRow()
	}
	var blk block.Block
	if err := block.Decode(b.AppendTo(nil, block.Header{}), &blk); err != nil {
		t.Fatal(err)
	}
	keys := func(names ...string) (out []lang.Field) {
		for _, n := range names {
			out = append(out, lang.UnmappedKey(n))
		}
		return out
	}
	text := rule.Feed{Rule: &rule.Rule{}, Group: append(keys("a", "d e"), lang.Field{Col: event.DeviceHostname}), Value: keys("b.c")}
	sum := rule.Feed{Rule: &rule.Rule{Correlate: &rule.Correlate{Type: rule.ValueSum}}, Group: keys("a"), Value: keys("b.c")}
	for row, want := range []struct {
		group, value string
		number       float64
	}{
		{"xA\x1f\x1f", " 1.5e1", 0}, {"\x1f{\"f\":1}\x1f", "12", 12}, {"\x1f\x1f", "", 0}, {"\u241f\x1f\x1f", "", 0},
	} {
		if got := Signal(&text, &blk, row); got.GroupKey != want.group || got.Value != want.value {
			t.Errorf("row %d: group %q, value %q; want %+v", row, got.GroupKey, got.Value, want)
		}
		if got := Signal(&sum, &blk, row); got.Number != want.number {
			t.Errorf("row %d: number %v, want %v", row, got.Number, want.number)
		}
	}
}
