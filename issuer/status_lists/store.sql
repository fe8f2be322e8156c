-- Token Status Lists: leased indices, and the bits that are set.

-- name: lease-range
-- $1 how many, $2 seconds that a list has to be published before tokens may name it. The oldest list with room;
-- the very first may be named at once, since no verifier can have fetched lists before.
-- The condition is repeated outside: after waiting for the row lock it is checked against the new row.
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
-- A separate statement after the lock, so that its snapshot includes a list that another issuer has just added.
INSERT INTO status_lists (size, created_at)
SELECT $1, clock_timestamp()
WHERE NOT EXISTS (SELECT FROM status_lists WHERE size - next_idx >= $2);

-- name: list-states
-- $1 the range that is leased at once, $2 how long a token can be alive.
-- The time is that of this server when the statement arrived, before the rows were read. All issuers have it in
-- common, while the clocks of their machines differ.
-- Every list that can still be leased from, or that something refers to: a session whose tokens may live, a
-- client, a bit. The fingerprint is a sum over the rows that are visible, so it is right in whatever order commits
-- become visible; hashes, because sums of indices are easily equal.
WITH clock AS MATERIALIZED (SELECT statement_timestamp() AS now, statement_timestamp() - $2::interval AS dead)
SELECT l.id AS list_id, l.size, count(r.status_idx) || ':' || coalesce(sum(hashint8extended(r.status_idx, 0)), 0)
  AS fingerprint, coalesce(l.all_revoked_until > clock.now, false) AS all_revoked, clock.now AS read_at
FROM clock CROSS JOIN status_lists l
LEFT JOIN revocations r ON r.status_list_id = l.id AND r.expires_at > statement_timestamp()
WHERE l.next_idx + $1 <= l.size
  OR EXISTS (
    SELECT FROM sessions s
    WHERE s.status_list_id = l.id AND s.expires_at > clock.dead AND (s.ended_at IS NULL OR s.ended_at > clock.dead)
  )
  OR EXISTS (SELECT FROM clients c WHERE c.status_list_id = l.id)
  OR EXISTS (SELECT FROM revocations v WHERE v.status_list_id = l.id AND v.expires_at > clock.now)
  OR l.all_revoked_until > clock.now
GROUP BY l.id, clock.now
ORDER BY l.id;

-- name: revoked-indices
-- One value instead of a row for each bit: many rows would block the event loop.
SELECT coalesce(array_agg(status_idx), '{}') FROM revocations 
WHERE status_list_id = $1 AND expires_at > statement_timestamp();
