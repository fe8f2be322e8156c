-- Accounts. Every lookup is by the primary key or by email_key.

-- name: insert-account
-- One atomic statement: of any number of registrations of one address, one finds the key free.
INSERT INTO users (id, email, email_key, password_hash, created_at)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (email_key) DO NOTHING
RETURNING id;

-- name: find-credentials
SELECT id, password_hash, disabled_at, password_disabled_at, security_version
FROM users
WHERE email_key = $1;

-- name: find-account
SELECT id, email, created_at
FROM users
WHERE id = $1 AND disabled_at IS NULL;

-- name: replace-password-hash
-- Compare and swap: a password changed meanwhile must not be undone by the rehash of the old one.
UPDATE users
SET password_hash = $3
WHERE id = $1 AND password_hash = $2;

-- name: disable-password
-- $1 key, $2 now, $3 address, $4 request id.
-- Nobody is the actor: whoever guessed has not proved to be the owner. The version stops logins that are on
-- their way, so that a guess beyond the last one opens nothing, however many ran at once. A new password sets
-- password_disabled_at to null.
WITH disabled AS (
  UPDATE users
  SET password_disabled_at = $2, security_version = security_version + 1
  WHERE email_key = $1 AND password_disabled_at IS NULL
  RETURNING id
)
INSERT INTO audit_events (kind, user_id, address, request_id)
SELECT 'password_disabled', id, $3, $4 FROM disabled;
