-- Rate-limit counters. Unlogged: a crash of PostgreSQL clears them. A failed login is counted by `count-failed-login` of
-- accounts/store.sql. Rows are locked in the order of `login_limits`: pair, account, network; session, owner.

-- name: count-request
-- $1 key, $2 now, $3 when the counter restarts.
INSERT INTO throttles (key, failures, failed_at, expires_at)
VALUES ($1, 1, $2, $3)
ON CONFLICT (key) DO UPDATE SET
  failures = CASE WHEN throttles.expires_at <= $2 THEN 1 ELSE throttles.failures + 1 END,
  failed_at = greatest(throttles.failed_at, $2),
  expires_at = CASE WHEN throttles.expires_at <= $2 THEN EXCLUDED.expires_at ELSE throttles.expires_at END
RETURNING failures, expires_at;

-- name: clear
-- $1 keys, in the order in which their rows are locked.
DELETE FROM throttles
USING (
  SELECT key FROM throttles WHERE key = ANY ($1::bytea[]) ORDER BY array_position($1::bytea[], key) FOR UPDATE
) AS held
WHERE throttles.key = held.key;
