package clickhouse

// Settings for the product's own tables, chosen with BenchmarkInsertNative.
const (
	// TableSettings go into the SETTINGS of every MergeTree table that blocks
	// are inserted into. Parts of a few blocks are kept compact, which halves
	// the cost of an insert with many columns. Merges wait for a dozen parts,
	// so that a row is rewritten less often. The last thousand tokens are
	// remembered, so that a repeated insert is seen. Bursts may leave many
	// parts behind before inserts are slowed down: the merges catch up.
	TableSettings = "min_bytes_for_wide_part = 134217728, min_parts_to_merge_at_once = 12, merge_selector_base = 12, " +
		"non_replicated_deduplication_window = 1000, parts_to_delay_insert = 2000, parts_to_throw_insert = 6000"
	// RawTableSettings are further settings of tables of raw text: merging it
	// costs as much as inserting it, so merges end at parts of 1 GiB. Such a
	// table is best ordered by time, as its rows arrive.
	RawTableSettings = "max_bytes_to_merge_at_max_space_in_pool = 1073741824"
	// RawCodec is the codec of raw text: half the size of LZ4 at the same cost.
	RawCodec = "ZSTD(1)"
)
