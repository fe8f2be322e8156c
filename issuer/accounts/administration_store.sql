-- Commands of operators. Every transaction locks the account's row first and inserts its events last.

-- name: list-accounts
-- $1 the id after which to start or null, $2 whether to list only disabled accounts, $3 maximum number.
SELECT id, email, created_at, email_verified_at, password_changed_at, password_disabled_at, disabled_at,
  scope, roles, claims
FROM users
WHERE ($1::uuid IS NULL OR id > $1) AND (NOT $2 OR disabled_at IS NOT NULL)
ORDER BY id
LIMIT $3;

-- name: find-record
-- $1 id or null, $2 email_key or null.
SELECT id, email, created_at, email_verified_at, password_changed_at, password_disabled_at, disabled_at,
  scope, roles, claims
FROM users
WHERE id = $1 OR email_key = $2;

-- name: lock-account
-- A deletion runs this too: it needs the full lock before its event locks a chain. A concurrent request for mail holds
-- FOR KEY SHARE and may wait for that chain. If the deletion then waited for the request's lock, both would deadlock.
SELECT id, email, created_at, email_verified_at, password_changed_at, password_disabled_at, disabled_at,
  scope, roles, claims
FROM users
WHERE id = $1
FOR UPDATE;

-- name: list-public-clients
SELECT id, audiences, scope, claims FROM clients WHERE auth_method = 'none';

-- name: update-permissions
UPDATE users SET scope = $2, roles = $3, claims = $4 WHERE id = $1;

-- name: disable-account
UPDATE users
SET disabled_at = $2, security_version = security_version + 1
WHERE id = $1 AND disabled_at IS NULL
RETURNING id;

-- name: enable-account
UPDATE users SET disabled_at = NULL WHERE id = $1 AND disabled_at IS NOT NULL RETURNING id;

-- name: set-password
-- $1 account, $2 now, $3 new password hash. The new version invalidates logins with the old password that are in
-- progress.
UPDATE users
SET password_hash = $3, password_changed_at = $2, password_disabled_at = NULL,
    security_version = security_version + 1
WHERE id = $1
RETURNING email_key;

-- name: enable-password
UPDATE users SET password_disabled_at = NULL WHERE id = $1 AND password_disabled_at IS NOT NULL RETURNING id;

-- name: invalidate-pending-logins
-- A login in progress then finds that the version has changed, and creates no session.
UPDATE users
SET security_version = security_version + 1
WHERE id = $1
RETURNING id;

-- name: list-sessions
SELECT id, user_id, client_id, created_at, rotated_at, idle_expires_at, expires_at, ended_at AS revoked_at,
  end_reason AS revocation_reason, host(address) AS ip_address, user_agent
FROM sessions
WHERE user_id = $1
ORDER BY created_at DESC, id;

-- name: find-session
SELECT id, user_id, client_id, created_at, rotated_at, idle_expires_at, expires_at, ended_at AS revoked_at,
  end_reason AS revocation_reason, host(address) AS ip_address, user_agent
FROM sessions
WHERE id = $1;
