-- Expand only: the release before works on this schema unchanged. Columns with constant defaults rewrite no table.

-- name: lock-timeout
-- As long as a login's own lock_timeout: logins that queue behind a revision that gives up are then served.
SET LOCAL lock_timeout = '800ms';

-- name: extend-users
ALTER TABLE users ADD COLUMN claims jsonb NOT NULL DEFAULT '{}';

-- name: extend-clients
ALTER TABLE clients ADD COLUMN claims jsonb NOT NULL DEFAULT '{}';
