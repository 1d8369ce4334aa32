-- Risk, everybody concerned, and what kept an alert from being told.
ALTER TABLE alerts_log ADD COLUMN IF NOT EXISTS risk UInt8 COMMENT '0 to 100: how soon somebody should look',
    ADD COLUMN IF NOT EXISTS entities Array(String) COMMENT 'everybody concerned besides the subject: role, type and value with blanks between',
    ADD COLUMN IF NOT EXISTS firing_until DateTime64(3, 'UTC') COMMENT 'until then further matches amend it; 1970 if it is not known',
    ADD COLUMN IF NOT EXISTS muted_by LowCardinality(String) COMMENT 'silence, inhibition, or empty: told',
    ADD COLUMN IF NOT EXISTS muted_id String COMMENT 'the silence, or the name of the inhibition',
    ADD COLUMN IF NOT EXISTS muted_reason String,
    ADD COLUMN IF NOT EXISTS unmuted_at DateTime64(3, 'UTC') COMMENT 'when what muted it was over; 1970 while it is not';

ALTER TABLE alerts ADD COLUMN IF NOT EXISTS risk UInt8,
    ADD COLUMN IF NOT EXISTS entities Array(String),
    ADD COLUMN IF NOT EXISTS firing_until DateTime64(3, 'UTC'),
    ADD COLUMN IF NOT EXISTS muted_by LowCardinality(String),
    ADD COLUMN IF NOT EXISTS muted_id String,
    ADD COLUMN IF NOT EXISTS muted_reason String,
    ADD COLUMN IF NOT EXISTS unmuted_at DateTime64(3, 'UTC');

ALTER TABLE alerts_mv MODIFY QUERY SELECT * FROM alerts_log;
