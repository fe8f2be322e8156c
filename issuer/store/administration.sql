-- What an operator does. In every transaction the account's row is locked first, and events come last.

-- name: list-accounts
-- $1 the id after which to begin or null, $2 disabled ones only, $3 how many.
SELECT id, email, created_at, email_verified_at, password_changed_at, password_disabled_at, disabled_at,
  scope, roles
FROM users
WHERE ($1::uuid IS NULL OR id > $1) AND (NOT $2 OR disabled_at IS NOT NULL)
ORDER BY id
LIMIT $3;

-- name: find-record
SELECT id, email, created_at, email_verified_at, password_changed_at, password_disabled_at, disabled_at,
  scope, roles
FROM users
WHERE id = $1;

-- name: find-record-by-key
SELECT id, email, created_at, email_verified_at, password_changed_at, password_disabled_at, disabled_at,
  scope, roles
FROM users
WHERE email_key = $1;

-- name: lock-account
SELECT id, email, created_at, email_verified_at, password_changed_at, password_disabled_at, disabled_at,
  scope, roles
FROM users
WHERE id = $1
FOR UPDATE;

-- name: update-grants
UPDATE users SET scope = $2, roles = $3 WHERE id = $1;

-- name: disable-account
UPDATE users
SET disabled_at = $2, security_version = security_version + 1
WHERE id = $1 AND disabled_at IS NULL
RETURNING id;

-- name: enable-account
WITH enabled AS (
  UPDATE users
  SET disabled_at = NULL, security_version = security_version + 1
  WHERE id = $1 AND disabled_at IS NOT NULL
  RETURNING id
)
INSERT INTO audit_events (kind, user_id, actor, address, request_id)
SELECT 'account_enabled', id, $2, $3, $4
FROM enabled
RETURNING user_id;

-- name: outdate-logins
-- A login that has read its credentials already finds the version changed, and makes no session.
UPDATE users
SET security_version = security_version + 1
WHERE id = $1
RETURNING id;

-- name: delete-mail-of-account
-- Before the first event, unlike the rest that goes with the account: a sender may hold these rows.
DELETE FROM outbox WHERE user_id = $1;

-- name: delete-account
DELETE FROM users WHERE id = $1;

-- name: list-sessions
SELECT id, user_id, client_id, created_at, rotated_at, idle_expires_at, expires_at, ended_at, end_reason,
  host(address) AS address, user_agent
FROM sessions
WHERE user_id = $1
ORDER BY created_at DESC, id;

-- name: find-session
SELECT id, user_id, client_id, created_at, rotated_at, idle_expires_at, expires_at, ended_at, end_reason,
  host(address) AS address, user_agent
FROM sessions
WHERE id = $1;

-- name: end-session
-- $1 session, $2 now, $3 reason, $4 when the last access token is dead, $5 actor, $6 address, $7 request id.
WITH ended AS (
  UPDATE sessions
  SET ended_at = $2, end_reason = $3
  WHERE id = $1 AND ended_at IS NULL
  RETURNING id, user_id, client_id, status_list_id, status_idx
), revoked AS (
  INSERT INTO revocations (status_list_id, status_idx, expires_at)
  SELECT status_list_id, status_idx, $4 FROM ended
  ON CONFLICT DO NOTHING
)
INSERT INTO audit_events (kind, user_id, session_id, client_id, actor, address, request_id, detail)
SELECT 'session_ended', user_id, id, client_id, $5, $6, $7, jsonb_build_object('reason', $3::text)
FROM ended
RETURNING session_id;
