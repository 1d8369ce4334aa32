-- What analysts found alerts to be: read it with FINAL, joined to alerts by uid.
CREATE TABLE IF NOT EXISTS alert_dispositions
(
    alert String COMMENT 'alert uid',
    rule LowCardinality(String) COMMENT 'id of its rule',
    verdict LowCardinality(String) COMMENT 'true_positive, benign, false_positive; empty: taken back',
    note String,
    `by` LowCardinality(String) COMMENT 'who found it',
    at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(at)
ORDER BY alert
TTL toDateTime(at) + INTERVAL {ttl_alerts_days} DAY DELETE
SETTINGS non_replicated_deduplication_window = 1000;
