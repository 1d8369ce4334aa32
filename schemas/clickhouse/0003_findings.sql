-- Every revision of every alert.
CREATE TABLE IF NOT EXISTS alerts_log
(
    uid String COMMENT 'deterministic id',
    revision UInt32 COMMENT '1 when raised, one more with each change',
    status LowCardinality(String) COMMENT 'raised, amended, retracted',
    rule LowCardinality(String) COMMENT 'rule id',
    rule_title LowCardinality(String),
    rule_version LowCardinality(String) COMMENT 'hash of the rule text',
    level LowCardinality(String) COMMENT 'informational to critical',
    severity_id UInt8 COMMENT 'the level as a number, 1 to 5',
    lane LowCardinality(String) COMMENT 'hunt, alert or enforce',
    title String,
    reason String COMMENT 'why it fired, with the numbers',
    entity_type LowCardinality(String),
    entity_value String,
    entity_name String,
    `group` Map(String, String) COMMENT 'values it was grouped by, by path',
    fields Map(String, String) COMMENT 'facts of the last event, by path',
    tags Array(LowCardinality(String)) COMMENT 'ATLAS, ATT&CK, OWASP, NIST',
    sources Array(LowCardinality(String)),
    count Int64 COMMENT 'events',
    value Float64 COMMENT 'what was measured',
    threshold Float64 COMMENT 'what it was held against',
    first_seen DateTime64(3, 'UTC'),
    last_seen DateTime64(3, 'UTC'),
    raised_at DateTime64(3, 'UTC'),
    event_uids Array(String) COMMENT 'the newest events, at most 100',
    traceback String COMMENT 'trace context',
    stored_at DateTime64(3, 'UTC') COMMENT 'when the bus stored the revision'
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(raised_at)
ORDER BY (raised_at, uid, revision)
TTL toDateTime(raised_at) + INTERVAL {ttl_alerts_days} DAY DELETE
SETTINGS non_replicated_deduplication_window = 1000;

-- The newest revision of each alert: read it with FINAL.
CREATE TABLE IF NOT EXISTS alerts AS alerts_log
ENGINE = ReplacingMergeTree(revision)
PARTITION BY toYYYYMM(raised_at)
ORDER BY uid
TTL toDateTime(raised_at) + INTERVAL {ttl_alerts_days} DAY DELETE
SETTINGS non_replicated_deduplication_window = 1000;

CREATE MATERIALIZED VIEW IF NOT EXISTS alerts_mv TO alerts AS SELECT * FROM alerts_log;

-- Every transition of every playbook run and step: the audit log.
CREATE TABLE IF NOT EXISTS run_steps
(
    run String COMMENT 'run id',
    seq UInt32 COMMENT '1, 2, … within the run',
    at DateTime64(3, 'UTC'),
    playbook LowCardinality(String),
    playbook_version LowCardinality(String) COMMENT 'hash of the playbook text',
    alert String COMMENT 'alert uid',
    incident String,
    entity String COMMENT 'type:value',
    step LowCardinality(String) COMMENT 'empty: the run itself',
    kind LowCardinality(String) COMMENT 'action, if, approve, undo',
    action LowCardinality(String) COMMENT 'connector.operation',
    state LowCardinality(String),
    attempt UInt32,
    idempotency_key String,
    reason String COMMENT 'why: condition, who approved, what failed',
    `by` LowCardinality(String) COMMENT 'engine or a person',
    due_at DateTime64(3, 'UTC') COMMENT 'approval deadline or undo time; 1970 when there is none',
    detail Map(String, String) COMMENT 'request and response in brief'
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (at, run, seq)
TTL toDateTime(at) + INTERVAL {ttl_runs_days} DAY DELETE
SETTINGS non_replicated_deduplication_window = 1000;

-- The state of each run: read it with FINAL.
CREATE TABLE IF NOT EXISTS runs AS run_steps
ENGINE = ReplacingMergeTree(seq)
ORDER BY run
TTL toDateTime(at) + INTERVAL {ttl_runs_days} DAY DELETE
SETTINGS non_replicated_deduplication_window = 1000;

CREATE MATERIALIZED VIEW IF NOT EXISTS runs_mv TO runs AS SELECT * FROM run_steps WHERE step = '';

-- Alerts about the same entity, grouped: read it with FINAL.
CREATE TABLE IF NOT EXISTS incidents
(
    uid String,
    revision UInt32,
    entity String COMMENT 'type:value',
    title String,
    level LowCardinality(String),
    status LowCardinality(String),
    first_seen DateTime64(3, 'UTC'),
    last_seen DateTime64(3, 'UTC'),
    count UInt32 COMMENT 'alerts',
    alerts Array(String) COMMENT 'alert uids',
    rules Array(String),
    sources Array(String),
    tags Array(String)
)
ENGINE = ReplacingMergeTree(revision)
PARTITION BY toYYYYMM(first_seen)
ORDER BY uid
TTL toDateTime(first_seen) + INTERVAL {ttl_alerts_days} DAY DELETE
SETTINGS non_replicated_deduplication_window = 1000;
