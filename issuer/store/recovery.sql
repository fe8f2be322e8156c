-- Accounts beyond registration. Every statement that touches a person's rows locks the row in users first and
-- the others after it, so that no two of them can wait for each other. FOR KEY SHARE where a row is only added:
-- an account that is being deleted is waited for and then not found, instead of failing the foreign key.

-- name: request-mail
-- $1 email_key, $2 template, $3 purpose of the token in it, $4 now, $5 no earlier token may be younger than this,
-- $6 kind of the event or null, $7 actor, $8 address, $9 request id.
-- One statement whether or not there is an account. Nobody is sent a second mail of a kind at once: this can be
-- asked for by strangers.
WITH owner AS (
  SELECT id FROM users
  WHERE email_key = $1 AND disabled_at IS NULL AND ($3 <> 'verify_email' OR email_verified_at IS NULL)
    AND NOT EXISTS (
      SELECT FROM one_time_tokens
      WHERE one_time_tokens.user_id = users.id AND purpose = $3 AND one_time_tokens.created_at > $5
    )
  FOR KEY SHARE
), queued AS (
  INSERT INTO outbox (user_id, template, created_at, next_attempt_at)
  SELECT id, $2, $4, $4 FROM owner
  ON CONFLICT (user_id, template) DO NOTHING
  RETURNING user_id
)
INSERT INTO audit_events (kind, user_id, actor, address, request_id)
SELECT $6, user_id, $7, $8, $9 FROM queued WHERE $6::text IS NOT NULL;

-- name: find-owner-of-token
SELECT users.id, users.email
FROM one_time_tokens JOIN users ON users.id = one_time_tokens.user_id
WHERE token_hash = $1 AND purpose = $2 AND expires_at > $3 AND disabled_at IS NULL;

-- name: verify-email
-- $1 hash, $2 now, $3 actor, $4 address, $5 request id. The deletion is what makes it good once: of any number
-- at the same time one deletes the row, and the others find nothing to return.
WITH owner AS (
  SELECT users.id
  FROM one_time_tokens JOIN users ON users.id = one_time_tokens.user_id
  WHERE token_hash = $1 AND purpose = 'verify_email' AND expires_at > $2 AND disabled_at IS NULL
  FOR NO KEY UPDATE OF users
), consumed AS (
  DELETE FROM one_time_tokens USING owner
  WHERE user_id = owner.id AND token_hash = $1
  RETURNING user_id
), verified AS (
  UPDATE users SET email_verified_at = coalesce(email_verified_at, $2)
  FROM consumed
  WHERE id = user_id
  RETURNING id
)
INSERT INTO audit_events (kind, user_id, actor, address, request_id)
SELECT 'email_verified', id, $3, $4, $5 FROM verified
RETURNING user_id;

-- name: reset-password
-- $1 hash, $2 now, $3 new password hash. As verify-email; and since the mail has reached its owner, the address
-- is verified too. Every other token of the account dies with this one.
WITH owner AS (
  SELECT users.id
  FROM one_time_tokens JOIN users ON users.id = one_time_tokens.user_id
  WHERE token_hash = $1 AND purpose = 'reset_password' AND expires_at > $2 AND disabled_at IS NULL
  FOR NO KEY UPDATE OF users
), deleted AS (
  DELETE FROM one_time_tokens USING owner
  WHERE user_id = owner.id
  RETURNING user_id, token_hash
)
UPDATE users
SET password_hash = $3, password_changed_at = $2, security_version = security_version + 1,
    password_disabled_at = NULL, email_verified_at = coalesce(email_verified_at, $2)
FROM deleted
WHERE id = user_id AND token_hash = $1
RETURNING id, email_key;

-- name: change-password
-- $1 account, $2 the security version that the present password was checked at, $3 now, $4 new password hash.
UPDATE users
SET password_hash = $4, password_changed_at = $3, password_disabled_at = NULL,
    security_version = security_version + 1
WHERE id = $1 AND security_version = $2 AND disabled_at IS NULL
RETURNING id;

-- name: forget-tokens
-- Every outstanding one-time token of an account, after the statement that changed it.
DELETE FROM one_time_tokens WHERE user_id = $1;

-- name: queue-notice
-- $1 account, $2 template, $3 now.
INSERT INTO outbox (user_id, template, created_at, next_attempt_at)
VALUES ($1, $2, $3, $3)
ON CONFLICT (user_id, template) DO NOTHING;

-- name: lock-account
-- $1 account, $2 security version. Nobody logs in, changes or mails it until the end of the transaction.
SELECT id FROM users WHERE id = $1 AND security_version = $2 AND disabled_at IS NULL FOR UPDATE;

-- name: delete-account
-- Sessions, one-time tokens and waiting mail go with the row.
DELETE FROM users WHERE id = $1;

-- name: insert-unverified
-- $1 to $5 as insert-account of users.sql, $6 no earlier token may be younger than this, $7 actor, $8 address,
-- $9 request id.
-- One statement whether or not the address has an account: a new one is sent a token for its address, the owner
-- of an old one a token for a new password. The old one may be somebody's who never had the mailbox and waits for
-- its owner to verify the stranger's password: that is why the owner is not sent a token for the address here.
WITH inserted AS (
  INSERT INTO users (id, email, email_key, password_hash, created_at)
  VALUES ($1, $2, $3, $4, $5)
  ON CONFLICT (email_key) DO NOTHING
  RETURNING id
), present AS (
  SELECT id FROM users
  WHERE email_key = $3 AND disabled_at IS NULL AND NOT EXISTS (
    SELECT FROM one_time_tokens
    WHERE one_time_tokens.user_id = users.id AND purpose = 'reset_password' AND one_time_tokens.created_at > $6
  )
  FOR KEY SHARE
), queued AS (
  INSERT INTO outbox (user_id, template, created_at, next_attempt_at)
  SELECT id, 'verify_email', $5, $5 FROM inserted
  UNION ALL
  SELECT id, 'account_exists', $5, $5 FROM present
  ON CONFLICT (user_id, template) DO NOTHING
)
INSERT INTO audit_events (kind, user_id, actor, address, request_id)
SELECT 'account_registered', id, $7, $8, $9 FROM inserted
RETURNING user_id;
