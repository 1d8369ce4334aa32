package main

import (
	"slices"
	"strings"
	"testing"
)

func TestGrowth(t *testing.T) {
	measured := []result{
		{"match.Match/natural/rules=3000", 200, "ns/event"},
		{"match.Match/process/rules=3000", 1000, "ns/event"},
		{"match.Match/process/rules=3000", 0.2, "matches/event"},
		{"match.Match/process/rules=3000/cold", 9000, "ns/event"},
		{"match.Match/process/rules=12000", 1400, "ns/event"},
		{"match.Match/process/rules=12000", 0.6, "matches/event"},
	}
	got := growth(measured)
	for i := range got {
		got[i].Unit, _, _ = strings.Cut(got[i].Unit, " ")
		got[i].Value = float64(int(got[i].Value*100+.5)) / 100
	}
	want := []result{{"match.growth.process.cost", 1.4, "×"}, {"match.growth.process.matches", 3, "×"}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := growth(nil); len(got) > 0 {
		t.Errorf("of nothing: %v", got)
	}
}
