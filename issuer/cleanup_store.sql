-- What is removed once nobody needs it. $1 the moment before which it was of no use, $2 how many rows at most.
-- Rows that somebody holds are passed over and found again a minute later: nobody waits for a clean-up, and it
-- waits for nobody. Status lists are not among them: indices of a list are leased into the memory of issuers,
-- so no row tells when the last of them is used.

-- name: take-turn
SELECT pg_try_advisory_xact_lock(1734439782);

-- name: expired-sessions
DELETE FROM sessions WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM sessions WHERE expires_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED
));

-- name: ended-sessions
-- Their owner sees for a day how they ended.
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

-- name: throttles
DELETE FROM throttles WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM throttles WHERE expires_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED
));

-- name: outbox
-- Mail that could not be sent for a week is of no use to anybody.
DELETE FROM outbox WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM outbox WHERE created_at < $1::timestamptz - interval '7 days' LIMIT $2 FOR UPDATE SKIP LOCKED
));
