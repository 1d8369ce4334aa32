package mapping

import (
	"fmt"
	"sort"
	"strings"

	"github.com/vagus-hub/vagus/services/internal/near"
)

// suggest names the nearest known word, as the tail of a message.
func suggest(got string, known []string) string {
	best, at := "", len(got)/2+2
	sorted := append([]string(nil), known...)
	sort.Strings(sorted)
	for _, k := range sorted {
		d := near.Distance(got, k)
		if strings.HasSuffix(k, "."+got) || strings.HasPrefix(k, got+".") {
			d = 1
		}
		if d < at {
			best, at = k, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// Missing is the error of a source that the set has no mapping for, with the
// nearest one that it has.
func (s *Set) Missing(source string) error {
	hint := suggest(source, s.Sources())
	if hint == "" {
		hint = ";"
	}
	return fmt.Errorf("no sound mapping for source %s%s `vagus sources list` names those there are", source, hint)
}
