-- Accounts. Every lookup is by the primary key or by email_key.

-- name: insert-account
-- One atomic statement: of any number of registrations of one address, one finds the key free.
-- $6 actor, $7 address, $8 request id.
WITH inserted AS (
  INSERT INTO users (id, email, email_key, password_hash, created_at)
  VALUES ($1, $2, $3, $4, $5)
  ON CONFLICT (email_key) DO NOTHING
  RETURNING id
)
INSERT INTO audit_events (kind, user_id, actor, address, request_id)
SELECT 'account_registered', id, $6, $7, $8 FROM inserted
RETURNING user_id;

-- name: find-credentials
SELECT id, password_hash, disabled_at, email_verified_at, security_version, scope, roles
FROM users
WHERE email_key = $1;

-- name: find-account
SELECT u.id, u.email, u.created_at
FROM users u JOIN sessions s ON s.user_id = u.id
WHERE u.id = $1 AND u.disabled_at IS NULL AND s.id = $2 AND s.ended_at IS NULL AND s.expires_at > $3;

-- name: replace-password-hash
-- Compare and swap: a password changed meanwhile must not be undone by the rehash of the old one.
UPDATE users
SET password_hash = $3
WHERE id = $1 AND password_hash = $2;
