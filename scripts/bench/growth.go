package main

import "fmt"

// Growth is measured from fewRules to manyRules, four times as many. A set of
// rules may cost maxGrowth times as much then, beside what matches themselves
// cost: so many more match, too.
const (
	fewRules  = 3000
	manyRules = 12000
	maxGrowth = 1.5
)

// growth says of each mix what manyRules generated rules cost, and how many of
// them match, by what fewRules do. It has nothing of a mix that was not
// measured with both.
func growth(results []result) []result {
	of := map[string]float64{}
	for _, r := range results {
		of[r.Name+" "+r.Unit] = r.Value
	}
	var out []result
	for _, mix := range mixes {
		times := func(unit string) float64 {
			name := "match.Match/" + mix + "/rules="
			few := of[fmt.Sprint(name, fewRules, " ", unit)]
			if few == 0 {
				return 0
			}
			return of[fmt.Sprint(name, manyRules, " ", unit)] / few
		}
		cost, matches := times("ns/event"), times("matches/event")
		if cost == 0 {
			continue
		}
		out = append(out, result{"match.growth." + mix + ".cost", cost, fmt.Sprintf("× of %d rules with %d; aim: at most %.1f", fewRules, manyRules, maxGrowth)},
			result{"match.growth." + mix + ".matches", matches, "×"})
	}
	return out
}
