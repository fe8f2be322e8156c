-- Deletion of expired rows. $1 the time before which they expired, $2 maximum number of rows.
-- Locked rows are skipped and deleted by a later run, so no statement waits for a cleanup, and a cleanup waits for
-- none. Status lists are not deleted: an issuer holds leased indices in memory, so the database does not show when the
-- last index of a list is used.

-- name: try-lock
SELECT pg_try_advisory_xact_lock(1734439782);

-- name: expired-sessions
DELETE FROM sessions WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM sessions WHERE expires_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED
));

-- name: revoked-sessions
-- Deleted a day after the revocation, so that an operator can see the reason until then.
DELETE FROM sessions WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM sessions WHERE ended_at < $1::timestamptz - interval '1 day' LIMIT $2 FOR UPDATE SKIP LOCKED
));

-- name: revocations
DELETE FROM revocations WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM revocations WHERE expires_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED
));

-- name: one-time-tokens
DELETE FROM one_time_tokens WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM one_time_tokens WHERE expires_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED
));

-- name: mail-limits
DELETE FROM mail_limits WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM mail_limits WHERE expires_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED
));

-- name: client-assertions
DELETE FROM client_assertions WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM client_assertions WHERE expires_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED
));

-- name: rate-limit-counters
DELETE FROM rate_limit_counters WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM rate_limit_counters WHERE expires_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED
));

-- name: outbox
-- Mail that could not be sent within a week.
DELETE FROM outbox WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM outbox WHERE created_at < $1::timestamptz - interval '7 days' LIMIT $2 FOR UPDATE SKIP LOCKED
));
