-- The outbox. A row is claimed by moving its next attempt into the future, not by a lock that is held while a
-- mail server is talked to: whoever dies while sending leaves a row that is due again later.

-- name: claim-due-mail
-- $1 now, $2 how long the claim holds, $3 templates that this release can write, $4 at most so many.
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

-- name: replace-token
-- $1 hash, $2 account, $3 purpose, $4 now, $5 its end. The one live token of this purpose, in place of a former.
-- FOR SHARE, as a login: a disabling or a new password that is under way is waited for, and the next one finds the
-- token. FOR KEY SHARE conflicts with neither, and a token of before would open the account after.
INSERT INTO one_time_tokens (token_hash, user_id, purpose, created_at, expires_at)
SELECT $1, id, $3, $4, $5
FROM users
WHERE id = $2 AND disabled_at IS NULL AND ($3 <> 'verify_email' OR email_verified_at IS NULL)
FOR SHARE
ON CONFLICT (user_id, purpose) DO UPDATE
SET token_hash = excluded.token_hash, created_at = excluded.created_at, expires_at = excluded.expires_at
RETURNING user_id;

-- name: remove-mail
DELETE FROM outbox WHERE id = $1;

-- name: postpone-mail
UPDATE outbox SET next_attempt_at = $2 WHERE id = $1;

-- name: measure-outbox
SELECT count(*) AS waiting, min(created_at) AS oldest FROM outbox;
