-- Rate-limit counters. Unlogged: a crash of PostgreSQL clears them. `count-failed-login` of accounts/store.sql counts
-- failed logins. Rows are locked in the order of `login_limits`: pair, account, network; session, all_sessions.

-- name: count-request
-- $1 key, $2 now, $3 when the counter restarts.
INSERT INTO rate_limit_counters AS counter (key, count, last_at, expires_at)
VALUES ($1, 1, $2, $3)
ON CONFLICT (key) DO UPDATE SET
  count = CASE WHEN counter.expires_at <= $2 THEN 1 ELSE counter.count + 1 END,
  last_at = greatest(counter.last_at, $2),
  expires_at = CASE WHEN counter.expires_at <= $2 THEN EXCLUDED.expires_at ELSE counter.expires_at END
RETURNING count, expires_at;

-- name: clear
-- $1 keys, in the order in which their rows are locked.
DELETE FROM rate_limit_counters AS counter
USING (
  SELECT key FROM rate_limit_counters WHERE key = ANY ($1::bytea[]) ORDER BY array_position($1::bytea[], key) FOR UPDATE
) AS held
WHERE counter.key = held.key;
