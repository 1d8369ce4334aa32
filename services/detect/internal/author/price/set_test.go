package price

import (
	"testing"

	"github.com/vagus-hub/vagus/services/detect/internal/match"
	"github.com/vagus-hub/vagus/services/detect/internal/rulegen"
	"github.com/vagus-hub/vagus/services/internal/block"
)

func TestSetAndCopies(t *testing.T) {
	rules, err := rulegen.Rules(200, 7)
	if err != nil {
		t.Fatal(err)
	}
	var b block.Block
	if err := block.Decode(rulegen.NewGenerator(rulegen.Process, 11).Block(500), &b); err != nil {
		t.Fatal(err)
	}
	blocks := []*block.Block{&b}
	one := OfSet(rules, blocks, 1, false)
	if one.Rules != 200 || one.Events != 500 || one.NsPerEvent <= 0 || one.Candidates <= 0 || one.Matches <= 0 || one.Matches > one.Candidates ||
		one.Applicable <= one.Candidates || one.CandidateShare <= 0 {
		t.Errorf("price %+v", one)
	}
	more := Copies(rules, 3)
	if len(more) != 600 || more[0] != rules[0] || more[200].ID == rules[0].ID || more[200].When.Root.String() == rules[0].When.Root.String() {
		t.Fatalf("%d copies, the second %s of %s", len(more), more[200].When.Root, rules[0].When.Root)
	}
	if many := OfSet(more, blocks, 1, true); many.Rules != 600 || many.Matches < one.Matches {
		t.Errorf("three copies match less than one: %+v, %+v", many, one)
	}
	if n := len(match.New(more).Always()); n != 3*len(match.New(rules).Always()) {
		t.Errorf("%d copies have no witness", n)
	}
}
