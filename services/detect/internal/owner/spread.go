package owner

import (
	"slices"

	"github.com/zeebo/xxh3"
)

// spread assigns every item to one of the instances. It depends on nothing but
// its arguments. Of every leading part of the items an instance gets its even
// share at most, rounded up, so earlier items may be the heavier kind.
func spread(items, instances []string) map[string]string {
	out := make(map[string]string, len(items))
	if len(instances) == 0 {
		return out
	}
	instances = slices.Sorted(slices.Values(instances))
	load := make(map[string]int, len(instances))
	for i, item := range items {
		share := i/len(instances) + 1
		best, weight := "", uint64(0)
		for _, id := range instances {
			if w := xxh3.HashString(item + "\x1f" + id); load[id] < share && (best == "" || w > weight) {
				best, weight = id, w
			}
		}
		out[item] = best
		load[best]++
	}
	return out
}
