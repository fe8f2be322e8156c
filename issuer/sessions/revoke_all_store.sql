-- The end of everything that was issued so far, for a database that was restored from a backup.

-- name: count-issued
SELECT (SELECT count(*) FROM sessions WHERE ended_at IS NULL) AS sessions,
  (SELECT count(*) FROM clients WHERE status_list_id IS NOT NULL) AS clients,
  (SELECT count(*) FROM one_time_tokens) AS one_time_tokens,
  (SELECT max(at) FROM audit_events) AS last_event_at;

-- name: lock-extension
-- As in status_lists.sql: no issuer adds a list meanwhile.
SELECT pg_advisory_xact_lock(1734439781);

-- name: close-lists
-- $1 how long an access token can be alive. Every bit is published as set until then, and no index is leased any more.
UPDATE status_lists
SET next_idx = size, all_revoked_until = clock_timestamp() + $1::interval;

-- name: skip-list-ids
-- The database that was lost may have had lists that this one has not. Tokens that name one of them must not find a
-- new list under its id: they are undecidable at verifiers, and not accepted.
SELECT setval(sequence, nextval(sequence) + 999)
FROM pg_get_serial_sequence('status_lists', 'id') AS sequence;

-- name: add-list
-- $1 its size, $2 seconds that it counts as published already.
INSERT INTO status_lists (size, created_at) VALUES ($1, clock_timestamp() - make_interval(secs => $2));

-- name: forget-client-bits
-- Clients get a bit of the new list with their next token. What was read of them before no longer counts.
UPDATE clients
SET status_list_id = NULL, status_idx = NULL, security_version = security_version + 1
WHERE status_list_id IS NOT NULL;

-- name: delete-one-time-tokens
DELETE FROM one_time_tokens;

-- name: end-sessions
-- $1 how many at most. Those whose list is closed: sessions of logins since then are in the new list.
-- Their bits need no rows, since all bits of their list are set.
UPDATE sessions
SET ended_at = clock_timestamp(), end_reason = 'administrator'
WHERE id = ANY (ARRAY(
  SELECT s.id FROM sessions s
  WHERE s.ended_at IS NULL AND NOT EXISTS (
    SELECT FROM status_lists l WHERE l.id = s.status_list_id AND l.all_revoked_until IS NULL
  )
  LIMIT $1
)) AND ended_at IS NULL;
