-- Changes by users to their accounts. Every statement locks the row in users first and other rows after it, which
-- prevents deadlocks. A statement that only adds rows takes FOR KEY SHARE: it waits for a concurrent deletion and then
-- finds no account, instead of violating the foreign key.

-- name: find-account
SELECT u.id, u.email, u.created_at
FROM users u JOIN sessions s ON s.user_id = u.id
WHERE u.id = $1 AND u.disabled_at IS NULL AND s.id = $2 AND s.ended_at IS NULL AND s.expires_at > $3;

-- name: request-mail
-- $1 email_key, $2 template, $3 now, $4 key of the recipient's limit, $5 waits after the first, second, ... mail,
-- $6 time without mail after which the waits start again, $7 kind of the event or null, $8 actor, $9 IP
-- address, $10 request id.
-- One statement whether or not there is an account. It counts only mails that are queued: an attacker can send any
-- number of requests, which must not delay the next mail. Of concurrent requests, one updates the counter, and the
-- others find that it has changed.
WITH recipient AS (
  SELECT id FROM users
  WHERE email_key = $1 AND disabled_at IS NULL AND ($2 <> 'verify_email' OR email_verified_at IS NULL)
    AND NOT EXISTS (SELECT FROM outbox WHERE outbox.user_id = users.id AND template = $2)
  FOR KEY SHARE
), counted AS (
  INSERT INTO mail_limits (key, mails, next_at, expires_at)
  SELECT $4, 1, $3::timestamptz + ($5::interval[])[1], $3 + $6::interval FROM recipient
  ON CONFLICT (key) DO UPDATE
  SET (mails, next_at, expires_at) = (
    SELECT count, $3 + ($5::interval[])[count], $3 + $6
    FROM (
      SELECT CASE WHEN mail_limits.expires_at <= $3 THEN 1 ELSE least(mail_limits.mails + 1, cardinality($5)) END
    ) AS mail (count)
  )
  WHERE mail_limits.next_at <= $3
  RETURNING key
), queued AS (
  INSERT INTO outbox (user_id, template, created_at, next_attempt_at)
  SELECT id, $2, $3, $3 FROM recipient, counted
  ON CONFLICT (user_id, template) DO NOTHING
  RETURNING user_id
)
INSERT INTO audit_events (kind, user_id, actor, address, request_id)
SELECT $7, user_id, $8, $9, $10 FROM queued WHERE $7::text IS NOT NULL;

-- name: find-reset-account
SELECT users.id, users.email, users.created_at
FROM one_time_tokens JOIN users ON users.id = one_time_tokens.user_id
WHERE token_hash = $1 AND purpose = 'reset_password' AND expires_at > $2 AND disabled_at IS NULL;

-- name: verify-email
-- $1 hash, $2 now, $3 actor, $4 IP address, $5 request id. The deletion makes a token valid once: of any number of
-- concurrent requests, one deletes its row, and the others return no row. All other tokens of the purpose are deleted
-- too.
WITH account AS (
  SELECT users.id
  FROM one_time_tokens JOIN users ON users.id = one_time_tokens.user_id
  WHERE token_hash = $1 AND purpose = 'verify_email' AND expires_at > $2 AND disabled_at IS NULL
  FOR NO KEY UPDATE OF users
), deleted AS (
  DELETE FROM one_time_tokens USING account
  WHERE user_id = account.id AND purpose = 'verify_email'
  RETURNING user_id, token_hash
), verified AS (
  UPDATE users SET email_verified_at = coalesce(email_verified_at, $2)
  FROM deleted
  WHERE id = user_id AND token_hash = $1
  RETURNING id
)
INSERT INTO audit_events (kind, user_id, actor, address, request_id)
SELECT 'email_verified', id, $3, $4, $5 FROM verified
RETURNING user_id;

-- name: reset-password
-- $1 hash, $2 now, $3 new password hash. Works like verify-email. The user has received the mail, so the email is
-- verified too. All other tokens of the account are deleted with this one.
WITH account AS (
  SELECT users.id
  FROM one_time_tokens JOIN users ON users.id = one_time_tokens.user_id
  WHERE token_hash = $1 AND purpose = 'reset_password' AND expires_at > $2 AND disabled_at IS NULL
  FOR NO KEY UPDATE OF users
), deleted AS (
  DELETE FROM one_time_tokens USING account
  WHERE user_id = account.id
  RETURNING user_id, token_hash
)
UPDATE users
SET password_hash = $3, password_changed_at = $2, security_version = security_version + 1,
    password_disabled_at = NULL, email_verified_at = coalesce(email_verified_at, $2)
FROM deleted
WHERE id = user_id AND token_hash = $1
RETURNING id, email_key;

-- name: change-password
-- $1 account, $2 the security version at which the current password was checked, $3 now, $4 new password hash.
UPDATE users
SET password_hash = $4, password_changed_at = $3, password_disabled_at = NULL,
    security_version = security_version + 1
WHERE id = $1 AND security_version = $2 AND disabled_at IS NULL
RETURNING email_key;

-- name: delete-tokens
-- Deletes every one-time token of an account, after the statement that changed it.
DELETE FROM one_time_tokens WHERE user_id = $1;

-- name: queue-notice
-- $1 account, $2 template, $3 now, $4 key of the recipient's limit, $5 waits and $6 quiet as in request-mail.
-- A notice beyond the limit is postponed, not dropped. If one is queued already, it covers both changes. created_at is
-- the time from which the notice may be sent: with the present time, a postponed notice would be abandoned as too old.
WITH counted AS (
  INSERT INTO mail_limits (key, mails, next_at, expires_at)
  SELECT $4, 1, $3::timestamptz + ($5::interval[])[1], $3 + $6::interval
  WHERE NOT EXISTS (SELECT FROM outbox WHERE user_id = $1 AND template = $2)
  ON CONFLICT (key) DO UPDATE
  SET (mails, next_at, expires_at) = (
    SELECT count, send_at + ($5::interval[])[count], send_at + $6
    FROM (
      SELECT CASE WHEN mail_limits.expires_at <= $3 THEN 1 ELSE least(mail_limits.mails + 1, cardinality($5)) END,
        greatest(mail_limits.next_at, $3)
    ) AS mail (count, send_at)
  )
  RETURNING next_at - ($5::interval[])[mails] AS send_at
)
INSERT INTO outbox (user_id, template, created_at, next_attempt_at)
SELECT $1, $2, send_at, send_at FROM counted
ON CONFLICT (user_id, template) DO NOTHING;

-- name: reset-limit
DELETE FROM mail_limits WHERE key = $1;

-- name: lock-account
-- $1 account, $2 security version. Blocks logins, changes and mail until the end of the transaction.
SELECT id FROM users WHERE id = $1 AND security_version = $2 AND disabled_at IS NULL FOR UPDATE;

-- name: delete-account
-- Deletes sessions, one-time tokens and queued mail too (ON DELETE CASCADE).
DELETE FROM users WHERE id = $1;
