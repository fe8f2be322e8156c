-- The outbox. An issuer claims a row by moving its next attempt into the future, and holds no lock while it sends the
-- mail. If it crashes, the row is due again later.

-- name: claim-due-mail
-- $1 now, $2 end of the claim, $3 templates of this release, $4 maximum number.
WITH due AS (
  SELECT id FROM outbox
  WHERE next_attempt_at <= $1 AND template = ANY ($3)
  ORDER BY next_attempt_at
  LIMIT $4
  FOR UPDATE SKIP LOCKED
)
UPDATE outbox
SET attempts = attempts + 1, next_attempt_at = $2
FROM due, users
WHERE outbox.id = due.id AND users.id = outbox.user_id
RETURNING outbox.id, user_id, users.email, template, outbox.created_at, attempts;

-- name: lock-recipient
-- $1 account, $2 purpose. The lock waits for a concurrent disabling or password change, and a later one finds the new
-- token and deletes it. It also serializes two mails to one account, which could otherwise exceed the maximum by one.
SELECT id FROM users
WHERE id = $1 AND disabled_at IS NULL AND ($2 <> 'verify_email' OR email_verified_at IS NULL)
FOR NO KEY UPDATE;

-- name: add-token
-- $1 hash, $2 account, $3 purpose, $4 now, $5 expiry, $6 maximum number of tokens for the purpose.
WITH displaced AS (
  DELETE FROM one_time_tokens WHERE token_hash = ANY (ARRAY(
    SELECT token_hash FROM one_time_tokens
    WHERE user_id = $2 AND purpose = $3
    ORDER BY created_at DESC, token_hash
    OFFSET $6 - 1
  ))
)
INSERT INTO one_time_tokens (token_hash, user_id, purpose, created_at, expires_at) VALUES ($1, $2, $3, $4, $5);

-- name: discard-token
DELETE FROM one_time_tokens WHERE token_hash = $1;

-- name: remove-mail
DELETE FROM outbox WHERE id = $1;

-- name: abandon-mail
-- $1 mail, $2 kind of the event, $3 its detail. Locks the account first, as a deletion of the account does: that locks a
-- chain of events, then this mail, so the opposite order would deadlock.
WITH account AS (
  SELECT users.id FROM outbox JOIN users ON users.id = outbox.user_id WHERE outbox.id = $1 FOR KEY SHARE OF users
), removed AS (
  DELETE FROM outbox USING account WHERE outbox.id = $1
  RETURNING user_id
)
INSERT INTO audit_events (kind, user_id, actor, detail)
SELECT $2, user_id, 'issuer', $3 FROM removed;

-- name: postpone-mail
UPDATE outbox SET next_attempt_at = $2 WHERE id = $1;

-- name: measure-outbox
SELECT count(*) AS waiting, min(created_at) AS oldest FROM outbox;
