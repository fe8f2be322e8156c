-- Every statement of the release whose head revision was 0001, as it was shipped. Never changed: it stands for
-- the processes that still run while, and after, a newer release migrates.

-- name: insert-account
INSERT INTO users (id, email, email_key, password_hash, created_at)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (email_key) DO NOTHING
RETURNING id;

-- name: find-credentials
SELECT id, password_hash, disabled_at, security_version
FROM users
WHERE email_key = $1;

-- name: find-account
SELECT id, email, created_at
FROM users
WHERE id = $1 AND disabled_at IS NULL;

-- name: replace-password-hash
UPDATE users
SET password_hash = $3
WHERE id = $1 AND password_hash = $2;
