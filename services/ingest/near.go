package ingest

import (
	"sort"
	"strings"
)

// near returns up to five names that resemble a wrong one: few letters apart,
// or of the same vendor.
func near(name string, known []string) []string {
	if len(name) > 128 {
		return nil
	}
	type match struct {
		name string
		d    int
	}
	var found []match
	vendor, _, _ := strings.Cut(name, ".")
	for _, k := range known {
		d := distance(strings.ToLower(name), k)
		v, product, _ := strings.Cut(k, ".")
		switch {
		case d <= 1+len(k)/5:
		case vendor != "" && (v == vendor || product == vendor):
			d += 100
		default:
			continue
		}
		found = append(found, match{k, d})
	}
	sort.Slice(found, func(i, j int) bool {
		return found[i].d < found[j].d || found[i].d == found[j].d && found[i].name < found[j].name
	})
	var out []string
	for _, m := range found[:min(len(found), 5)] {
		out = append(out, m.name)
	}
	return out
}

// distance is the number of letters to change, add or take away.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diag := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diag
			if a[i-1] != b[j-1] {
				cost++
			}
			diag = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
