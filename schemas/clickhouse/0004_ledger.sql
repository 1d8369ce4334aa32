-- What each message accounted for, in the same plan as its rows: the ledger is
-- as exact as the data. Stages: ingest (one row a RAW message), normalize (one
-- row an output), store (one row an EVENTS message), dead (one row a DEAD
-- message), replay (RAW messages that were stored before).
CREATE TABLE IF NOT EXISTS ledger
(
    stage LowCardinality(String),
    source LowCardinality(String),
    seq UInt64 COMMENT 'of the message in its stream',
    raw_seq UInt64 COMMENT 'of the RAW message that it comes from',
    at DateTime64(3, 'UTC') COMMENT 'when ingest took the records',
    `in` UInt64 COMMENT 'records taken from the stage before',
    extra UInt64 COMMENT 'events beyond the first of records that hold several',
    `out` UInt64 COMMENT 'records given to the next stage',
    dead UInt64 COMMENT 'records that became dead letters',
    dropped Map(String, UInt64) COMMENT 'records left out on purpose, by reason'
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (stage, source, seq)
TTL toDateTime(at) + INTERVAL {ttl_ledger_days} DAY DELETE
SETTINGS non_replicated_deduplication_window = 1000;
