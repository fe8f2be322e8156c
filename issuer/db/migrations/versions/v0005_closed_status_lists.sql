-- Expand only: the release before works on this schema unchanged.

-- name: lock-timeout
-- A revision that cannot have its lock soon gives up, instead of queuing every login behind it. No longer than a
-- login's own lock_timeout: those that queued meanwhile are then served and not rejected.
SET LOCAL lock_timeout = '800ms';

-- name: extend-status-lists
-- Until then every bit of the list is published as set: after a restore, it is not known which ones are.
ALTER TABLE status_lists ADD COLUMN all_revoked_until timestamptz;
