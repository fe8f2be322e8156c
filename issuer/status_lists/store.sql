-- Token Status Lists: leased indices, and the bits that are set.

-- name: lease-range
-- $1 number of indices, $2 seconds for which a list must be published before tokens may refer to it. Takes the oldest
-- list with enough free indices. Tokens may refer to the very first list at once, since no verifier has fetched lists
-- yet. The condition is repeated outside of the subquery: after a wait for the row lock, it is checked for the new row.
UPDATE status_lists
SET next_idx = next_idx + $1
WHERE next_idx + $1 <= size AND id = (
  SELECT id FROM status_lists
  WHERE next_idx + $1 <= size
    AND (created_at <= clock_timestamp() - make_interval(secs => $2) OR id = (SELECT min(id) FROM status_lists))
  ORDER BY id
  LIMIT 1
)
RETURNING id, next_idx - $1 AS first, size - next_idx AS remaining;

-- name: lock-extension
SELECT pg_advisory_xact_lock(1734439781);

-- name: extend
-- A separate statement after the lock, so that it sees a list that another issuer has just added.
INSERT INTO status_lists (size, created_at)
SELECT $1, clock_timestamp()
WHERE NOT EXISTS (SELECT FROM status_lists WHERE size - next_idx >= $2);

-- name: list-states
-- $1 the range that is leased at once, $2 the maximum lifetime of an access token.
-- read_at is the time at this server when the statement arrived, before the rows were read. All issuers use this clock,
-- since those of their machines differ.
-- Returns every list with free indices, and every list to which something refers: a bit, a client, a session that was
-- not revoked and whose tokens may be valid. The fingerprint is a sum over the visible rows, so it does not depend on
-- the order in which commits become visible. It adds hashes, since sums of indices are easily equal.
-- A list that is used up is never deleted, so there are ever more of them. ORDER BY makes PostgreSQL look for a session of
-- each by its index; EXISTS would read all sessions for each list that has none (1.4 s at 20 lists and a million sessions).
-- So would IS NULL in a database without statistics, such as one that was just restored: PostgreSQL then expects few nulls,
-- and reads the index of live sessions. It does not for num_nulls.
WITH clock AS MATERIALIZED (
  SELECT statement_timestamp() AS now, statement_timestamp() - $2::interval AS expired_before
)
SELECT l.id AS list_id, l.size, count(r.status_idx) || ':' || coalesce(sum(hashint8extended(r.status_idx, 0)), 0)
  AS fingerprint, coalesce(l.all_revoked_until > clock.now, false) AS all_revoked, clock.now AS read_at
FROM clock CROSS JOIN status_lists l
LEFT JOIN revocations r ON r.status_list_id = l.id AND r.expires_at > statement_timestamp()
GROUP BY l.id, clock.now, clock.expired_before
HAVING l.next_idx + $1 <= l.size
  OR count(r.status_idx) > 0
  OR l.all_revoked_until > clock.now
  OR EXISTS (SELECT FROM clients c WHERE c.status_list_id = l.id)
  OR (
    SELECT s.status_idx FROM sessions s
    WHERE s.status_list_id = l.id AND num_nulls(s.ended_at) > 0 AND s.expires_at > clock.expired_before
    ORDER BY s.status_idx LIMIT 1
  ) IS NOT NULL
ORDER BY l.id;

-- name: revoked-indices
-- One array instead of a row for each bit: many rows would block the event loop.
SELECT coalesce(array_agg(status_idx), '{}') FROM revocations
WHERE status_list_id = $1 AND expires_at > statement_timestamp();
