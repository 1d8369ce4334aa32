-- What was applied, and when.
CREATE TABLE IF NOT EXISTS schema_migrations
(
    version UInt32 COMMENT 'number of the file',
    name String COMMENT 'its name',
    hash String COMMENT 'of the text as it was run, TTLs filled in',
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(applied_at)
ORDER BY version;

-- Records as they were received. Sorted by arrival, which is the order they
-- come in, so an insert sorts nothing. To find the record of an event, give its
-- received_at besides event_uid: that reads one granule.
CREATE TABLE IF NOT EXISTS raw
(
    event_uid UUID COMMENT 'the same as in the events made from it',
    received_at DateTime64(3, 'UTC') COMMENT 'when ingest took it' CODEC(Delta(8), LZ4),
    source LowCardinality(String) COMMENT 'source id',
    raw String COMMENT 'the bytes as sent, without the line end' CODEC(ZSTD(1)),
    INDEX ix_event_uid event_uid TYPE bloom_filter(0.01) GRANULARITY 4
)
ENGINE = MergeTree
PARTITION BY toDate(received_at)
ORDER BY received_at
TTL toDateTime(received_at) + INTERVAL {ttl_raw_days} DAY DELETE
SETTINGS ttl_only_drop_parts = 1, min_bytes_for_wide_part = 134217728, min_parts_to_merge_at_once = 12, merge_selector_base = 12,
    max_bytes_to_merge_at_max_space_in_pool = 1073741824, non_replicated_deduplication_window = 1000,
    parts_to_delay_insert = 2000, parts_to_throw_insert = 6000;

-- Records that could not be processed. A message that is no block of records
-- is one row, with its payload as raw and its records counted.
CREATE TABLE IF NOT EXISTS dead_letters
(
    event_uid UUID COMMENT 'of the record; made up for a whole message',
    received_at DateTime64(3, 'UTC') COMMENT 'when ingest took it, or when it died',
    source LowCardinality(String) COMMENT 'source id',
    stage LowCardinality(String) COMMENT 'where it died',
    seq UInt64 COMMENT 'sequence of the message in the stream DEAD, for replay',
    reason LowCardinality(String) COMMENT 'short reason, for counting',
    error String COMMENT 'the error in full' CODEC(ZSTD(1)),
    records UInt32 COMMENT 'records that this row stands for',
    raw String COMMENT 'the record' CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (stage, source, received_at)
TTL toDateTime(received_at) + INTERVAL {ttl_dead_days} DAY DELETE
SETTINGS non_replicated_deduplication_window = 1000;
