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
	return []plan{
		ev("default", g, nil, 1),
		ev("compact", compact, nil, 1),
		ev("compact-x4", compact, nil, 4),
		ev("compact-merge-rows", compact+", merge_max_block_size = 65536", nil, 1),
		ev("compact-one-thread", compact, map[string]any{"max_threads": 1, "max_insert_threads": 1}, 1),
		ev("compact-no-optimize", compact, map[string]any{"optimize_on_insert": 0}, 1),
		raw("zstd1", "ZSTD(1)", g, nil, 1),
		raw("zstd1-limited", "ZSTD(1)", limited, nil, 1),
		raw("zstd1-limited-x4", "ZSTD(1)", limited, nil, 4),
		raw("zstd1-one-thread", "ZSTD(1)", limited, map[string]any{"max_threads": 1, "max_insert_threads": 1}, 1),
		raw("lz4-limited", "LZ4", limited, nil, 1),
	}
}
