-- Revokes all sessions and tokens that were issued so far, after a restore from a backup.

-- name: count-issued
SELECT (SELECT count(*) FROM sessions WHERE ended_at IS NULL) AS sessions,
  (SELECT count(*) FROM clients WHERE status_list_id IS NOT NULL) AS clients,
  (SELECT count(*) FROM one_time_tokens) AS one_time_tokens,
  (SELECT max(at) FROM audit_events) AS last_event_at;

-- name: lock-extension
-- The lock of `lock-extension` in status_lists/store.sql: no issuer adds a list concurrently.
SELECT pg_advisory_xact_lock(1734439781);

-- name: close-lists
-- $1 the maximum lifetime of an access token, for which every bit is published as set. No further index is leased.
UPDATE status_lists
SET next_idx = size, all_revoked_until = clock_timestamp() + $1::interval;

-- name: skip-list-ids
-- The lost database may have had lists that this one does not have. No new list may get the id of such a list: so
-- verifiers find no list for the tokens that refer to it, and reject these tokens.
SELECT setval(sequence, nextval(sequence) + 999)
FROM pg_get_serial_sequence('status_lists', 'id') AS sequence;

-- name: add-list
-- $1 its size, $2 by how many seconds created_at is set back, so that tokens may refer to it sooner.
INSERT INTO status_lists (size, created_at) VALUES ($1, clock_timestamp() - make_interval(secs => $2));

-- name: detach-client-indices
-- Of closed lists. Clients get an index of the new list with their next token. A concurrent request with the old state
-- fails.
UPDATE clients
SET status_list_id = NULL, status_idx = NULL, security_version = security_version + 1
WHERE status_list_id IS NOT NULL AND NOT EXISTS (
  SELECT FROM status_lists l WHERE l.id = clients.status_list_id AND l.all_revoked_until IS NULL
);

-- name: delete-one-time-tokens
DELETE FROM one_time_tokens;

-- name: revoke-sessions
-- $1 maximum number. Only sessions whose list is closed: those of later logins are in the new list. Their bits need no
-- rows, since all bits of their list are set.
UPDATE sessions
SET ended_at = clock_timestamp(), end_reason = 'revoked_by_operator'
WHERE id = ANY (ARRAY(
  SELECT s.id FROM sessions s
  WHERE s.ended_at IS NULL AND NOT EXISTS (
    SELECT FROM status_lists l WHERE l.id = s.status_list_id AND l.all_revoked_until IS NULL
  )
  LIMIT $1
)) AND ended_at IS NULL;

-- name: extend-closures
-- $1 the maximum lifetime of an access token. A session of a closed list could be refreshed until it was revoked.
UPDATE status_lists
SET all_revoked_until = clock_timestamp() + $1::interval
WHERE all_revoked_until > clock_timestamp();
