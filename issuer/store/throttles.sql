-- Counts of failures and of limited requests. Unlogged: a crash forgives everybody.

-- name: count
-- $1 keys, $2 when each is forgotten, $3 which of them slide, $4 now.
-- In the order of the keys, so that two who count the same ones never wait for each other.
INSERT INTO throttles (key, failures, failed_at, expires_at)
SELECT key, 1, $4, expires_at
FROM unnest($1::bytea[], $2::timestamptz[]) AS tally (key, expires_at)
ORDER BY key
ON CONFLICT (key) DO UPDATE SET
  failures = CASE WHEN throttles.expires_at <= $4 THEN 1 ELSE throttles.failures + 1 END,
  failed_at = greatest(throttles.failed_at, $4),
  expires_at = CASE
    WHEN throttles.expires_at <= $4 OR throttles.key = ANY ($3::bytea[]) THEN EXCLUDED.expires_at
    ELSE throttles.expires_at
  END
RETURNING key, failures, failed_at, expires_at;

-- name: clear
-- The locks come in the order of the keys, as in `count`.
DELETE FROM throttles
USING (SELECT key FROM throttles WHERE key = ANY ($1::bytea[]) ORDER BY key FOR UPDATE) AS held
WHERE throttles.key = held.key;
