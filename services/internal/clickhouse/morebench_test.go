package clickhouse_test

import (
	"fmt"
	"strings"
)

// morePlans are the variations that the recommended settings were chosen from.
func morePlans() []plan {
	cols := strings.Join(eventColumns, ", ")
	ev := func(name, settings string, ins map[string]any, blocks int) plan {
		return plan{name: "events/" + name, ddl: fmt.Sprintf(eventsDDL, "%s", cols, settings), settings: ins, blocks: blocks}
	}
	raw := func(name, codec, settings string, ins map[string]any, blocks int) plan {
		return plan{name: "raw/" + name, ddl: fmt.Sprintf(rawDDL, "%s", codec, settings), raw: true, settings: ins, blocks: blocks}
	}
	const (
		g       = "index_granularity = 8192"
		compact = g + ", min_bytes_for_wide_part = 134217728"
		limited = compact + ", max_bytes_to_merge_at_max_space_in_pool = 1073741824"
	)
	const lazy = ", min_parts_to_merge_at_once = 12, merge_selector_base = 12"
	const still = ", max_bytes_to_merge_at_max_space_in_pool = 1"
	return []plan{
		raw("zstd1-limited", "ZSTD(1)", limited, nil, 1),
		raw("zstd1-limited-lazy", "ZSTD(1)", limited+lazy, nil, 1),
		ev("compact", compact, nil, 1),
		ev("compact-lazy", compact+lazy, nil, 1),
		ev("compact-still", compact+still, nil, 1),
	}
}
