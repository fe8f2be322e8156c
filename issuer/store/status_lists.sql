-- Token Status Lists: leases of indices, and the bits that are set.

-- name: lease-range
-- $1 how many, $2 seconds that a list has to be published before tokens may name it. The oldest list with room;
-- the very first may be named at once, since no verifier can know an older state of the world.
-- The condition is repeated outside: who waited for the row looks at what the other has left.
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
-- A statement of its own after the lock: it has to see the list that somebody else added meanwhile.
INSERT INTO status_lists (size, created_at)
SELECT $1, clock_timestamp()
WHERE NOT EXISTS (SELECT FROM status_lists WHERE size - next_idx >= $2);
