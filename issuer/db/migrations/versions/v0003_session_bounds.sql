-- Expand only: release 0002 works on this schema unchanged. Columns with constant defaults rewrite no table.

-- name: lock-timeout
-- A revision that cannot have its lock soon gives up, instead of queuing every login behind it. No longer than a
-- login's own lock_timeout: those that queued meanwhile are then served and not rejected.
SET LOCAL lock_timeout = '800ms';

-- name: extend-sessions
-- The last refreshes without a gap whose tokens were presented again.
ALTER TABLE sessions ADD COLUMN retried_in_a_row smallint NOT NULL DEFAULT 0;
