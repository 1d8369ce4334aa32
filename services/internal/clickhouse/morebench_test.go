package clickhouse_test

import (
	"fmt"
	"strings"
)

// morePlans are the variations that the recommended settings were chosen from.
func morePlans() []plan {
	cols := strings.Join(eventColumns, ", ")
	ev := func(name, settings string, ins map[string]any) plan {
		return plan{name: "events/" + name, ddl: fmt.Sprintf(eventsDDL, "%s", cols, settings), settings: ins}
	}
	raw := func(name, codec, settings string, ins map[string]any) plan {
		return plan{name: "raw/" + name, ddl: fmt.Sprintf(rawDDL, "%s", codec, settings), raw: true, settings: ins}
	}
	const g = "index_granularity = 8192"
	lz4 := g + ", default_compression_codec = 'LZ4'"
	return []plan{
		ev("default", g, nil),
		ev("zstd", g+", default_compression_codec = 'ZSTD(1)'", nil),
		ev("compact", g+", min_bytes_for_wide_part = 1073741824", nil),
		ev("no-optimize", g, map[string]any{"optimize_on_insert": 0}),
		ev("compress-block-1m", g+", min_compress_block_size = 1048576, max_compress_block_size = 4194304", nil),
		ev("no-merges", g+", max_bytes_to_merge_at_max_space_in_pool = 1", nil),
		ev("granularity-32k", "index_granularity = 32768, index_granularity_bytes = 0", nil),
		raw("lz4", "LZ4", lz4, nil),
		raw("zstd1", "ZSTD(1)", lz4, nil),
		raw("none", "NONE", lz4, nil),
		raw("zstd-fast", "ZSTD(-5)", lz4, nil),
		raw("lz4-compact", "LZ4", lz4+", min_bytes_for_wide_part = 1073741824", nil),
		raw("lz4-1m", "LZ4", lz4+", min_compress_block_size = 1048576, max_compress_block_size = 4194304", nil),
		raw("lz4-no-merges", "LZ4", lz4+", max_bytes_to_merge_at_max_space_in_pool = 1", nil),
		raw("zstd1-no-merges", "ZSTD(1)", lz4+", max_bytes_to_merge_at_max_space_in_pool = 1", nil),
	}
}
