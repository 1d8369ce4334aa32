package ingest

import (
	"sort"
	"strings"

	"github.com/vagus-hub/vagus/services/internal/near"
)

// alike returns up to five names that resemble a wrong one: few letters apart,
// or of the same vendor.
func alike(name string, known []string) []string {
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
		d := near.Distance(strings.ToLower(name), k)
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
