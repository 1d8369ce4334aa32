package clickhouse

// Settings for the product's own tables, measured with BenchmarkInsertNative.
const (
	// TableSettings go into the SETTINGS of every table that blocks are
	// inserted into.
	TableSettings = "non_replicated_deduplication_window = 10000"
	// RawTableSettings are further settings of the table of raw records.
	RawTableSettings = "min_compress_block_size = 65536"
	// RawCodec is the codec of the raw text.
	RawCodec = "LZ4"
)
