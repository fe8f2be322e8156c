-- Accounts. Every lookup is by the primary key or by email_key.

-- name: insert-account
-- One atomic statement: of any number of registrations of one address, one finds the key free.
-- $6 actor, $7 address, $8 request id.
WITH registered AS (
  INSERT INTO users (id, email, email_key, password_hash, created_at)
  VALUES ($1, $2, $3, $4, $5)
  ON CONFLICT (email_key) DO NOTHING
  RETURNING id
)
INSERT INTO audit_events (kind, user_id, actor, address, request_id)
SELECT 'account_registered', id, $6, $7, $8
FROM registered
RETURNING user_id;

-- name: find-credentials
SELECT id, password_hash, disabled_at, security_version
FROM users
WHERE email_key = $1;

-- name: find-account
SELECT id, email, created_at
FROM users
WHERE id = $1 AND disabled_at IS NULL;

-- name: record-refused-login
-- A row in any case, of no account where there is none: an unknown address costs what a known one does.
INSERT INTO audit_events (kind, user_id, actor, address, request_id)
VALUES ('login_refused', (SELECT id FROM users WHERE email_key = $1), $2, $3, $4);

-- name: replace-password-hash
-- Compare and swap: a password changed meanwhile must not be undone by the rehash of the old one.
UPDATE users
SET password_hash = $3
WHERE id = $1 AND password_hash = $2;
