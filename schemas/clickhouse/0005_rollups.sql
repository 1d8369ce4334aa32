-- Events by minute, source and family: for volume panels and silent sources.
CREATE TABLE IF NOT EXISTS events_per_minute
(
    minute DateTime('UTC'),
    source LowCardinality(String),
    family LowCardinality(String),
    count UInt64,
    failures UInt64 COMMENT 'with status_id 2'
)
ENGINE = SummingMergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (minute, source, family)
TTL minute + INTERVAL {ttl_rollups_days} DAY DELETE
SETTINGS non_replicated_deduplication_window = 1000;

CREATE MATERIALIZED VIEW IF NOT EXISTS events_per_minute_ai_mv TO events_per_minute AS
SELECT toStartOfMinute(toDateTime(time, 'UTC')) AS minute, source, 'ai' AS family, count() AS count, countIf(status_id = 2) AS failures
FROM events_ai
GROUP BY minute, source;

CREATE MATERIALIZED VIEW IF NOT EXISTS events_per_minute_api_mv TO events_per_minute AS
SELECT toStartOfMinute(toDateTime(time, 'UTC')) AS minute, source, 'api' AS family, count() AS count, countIf(status_id = 2) AS failures
FROM events_api
GROUP BY minute, source;

CREATE MATERIALIZED VIEW IF NOT EXISTS events_per_minute_host_mv TO events_per_minute AS
SELECT toStartOfMinute(toDateTime(time, 'UTC')) AS minute, source, 'host' AS family, count() AS count, countIf(status_id = 2) AS failures
FROM events_host
GROUP BY minute, source;

CREATE MATERIALIZED VIEW IF NOT EXISTS events_per_minute_network_mv TO events_per_minute AS
SELECT toStartOfMinute(toDateTime(time, 'UTC')) AS minute, source, 'network' AS family, count() AS count, countIf(status_id = 2) AS failures
FROM events_network
GROUP BY minute, source;

CREATE MATERIALIZED VIEW IF NOT EXISTS events_per_minute_identity_mv TO events_per_minute AS
SELECT toStartOfMinute(toDateTime(time, 'UTC')) AS minute, source, 'identity' AS family, count() AS count, countIf(status_id = 2) AS failures
FROM events_identity
GROUP BY minute, source;

CREATE MATERIALIZED VIEW IF NOT EXISTS events_per_minute_data_mv TO events_per_minute AS
SELECT toStartOfMinute(toDateTime(time, 'UTC')) AS minute, source, 'data' AS family, count() AS count, countIf(status_id = 2) AS failures
FROM events_data
GROUP BY minute, source;

-- Who used which model how much: tokens, cost, failures, blocks.
CREATE TABLE IF NOT EXISTS usage_by_principal_hour
(
    hour DateTime('UTC'),
    source LowCardinality(String),
    actor_user_name LowCardinality(String),
    actor_user_org LowCardinality(String),
    actor_user_credential_uid LowCardinality(String),
    ai_model_name LowCardinality(String),
    requests UInt64,
    failures UInt64 COMMENT 'with status_id 2',
    denied UInt64 COMMENT 'with action_id 2',
    prompt_tokens UInt64,
    completion_tokens UInt64,
    total_tokens UInt64,
    cost Float64 COMMENT 'US dollars'
)
ENGINE = SummingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (hour, source, actor_user_name, actor_user_org, actor_user_credential_uid, ai_model_name)
TTL hour + INTERVAL {ttl_rollups_days} DAY DELETE
SETTINGS non_replicated_deduplication_window = 1000;

CREATE MATERIALIZED VIEW IF NOT EXISTS usage_by_principal_hour_mv TO usage_by_principal_hour AS
SELECT toStartOfHour(toDateTime(time, 'UTC')) AS hour, source, actor_user_name, actor_user_org, actor_user_credential_uid, ai_model_name,
    count() AS requests, countIf(status_id = 2) AS failures, countIf(action_id = 2) AS denied,
    sum(toUInt64(message_context_prompt_tokens)) AS prompt_tokens, sum(toUInt64(message_context_completion_tokens)) AS completion_tokens,
    sum(toUInt64(message_context_total_tokens)) AS total_tokens, sum(ai_cost) AS cost
FROM events_ai
GROUP BY hour, source, actor_user_name, actor_user_org, actor_user_credential_uid, ai_model_name;
