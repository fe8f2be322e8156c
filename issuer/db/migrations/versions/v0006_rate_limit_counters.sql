-- Renames, before the first release: an earlier build does not work on this schema.

-- name: lock-timeout
-- As long as a login's own lock_timeout: logins that queue behind a revision that gives up are then served.
SET LOCAL lock_timeout = '800ms';

-- name: rename-throttles
ALTER TABLE throttles RENAME TO rate_limit_counters;

-- name: rename-failures
ALTER TABLE rate_limit_counters RENAME COLUMN failures TO count;

-- name: rename-failed-at
ALTER TABLE rate_limit_counters RENAME COLUMN failed_at TO last_at;

-- name: rename-primary-key
ALTER INDEX throttles_pkey RENAME TO rate_limit_counters_pkey;

-- name: rename-index-by-expiry
ALTER INDEX throttles_by_expiry RENAME TO rate_limit_counters_by_expiry;
