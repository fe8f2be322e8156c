-- Expand only: the release before works on this schema unchanged, until the first public client is registered. Columns
-- with constant defaults rewrite no table.

-- name: lock-timeout
-- A revision that cannot have its lock soon gives up, instead of queuing every login behind it. No longer than a
-- login's own lock_timeout: those that queued meanwhile are then served and not rejected.
SET LOCAL lock_timeout = '800ms';

-- name: extend-sessions
-- scope is what the login was granted. If scope_limited, the login asked for it, and the session never gets more.
-- audiences are those that the login asked for; null for all of its client.
ALTER TABLE sessions
  ADD COLUMN scope_limited boolean NOT NULL DEFAULT false,
  ADD COLUMN audiences     text[];

-- name: allow-public-clients
ALTER TABLE clients
  DROP CONSTRAINT clients_auth_method_check,
  ADD CONSTRAINT clients_auth_method_check CHECK (auth_method IN ('client_secret_basic', 'private_key_jwt', 'none'));
