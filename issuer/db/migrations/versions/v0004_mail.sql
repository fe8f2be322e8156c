-- Issuers of revision 0003 cannot store a token once its unique constraint is gone: their mail waits in the outbox until
-- they are replaced.

-- name: lock-timeout
SET LOCAL lock_timeout = '800ms';

-- name: index-one-time-tokens-by-user
CREATE INDEX one_time_tokens_by_user ON one_time_tokens (user_id, purpose);

-- name: allow-several-one-time-tokens
-- A newer mail leaves the links of the ones before it valid.
ALTER TABLE one_time_tokens DROP CONSTRAINT one_time_tokens_user_id_purpose_key;

-- name: create-mail-limits
-- How many mails of a kind went to one recipient in a row, and when the next may. The key is a keyed hash of kind and
-- address: an account that is deleted and registered again has the counter that it had.
CREATE TABLE mail_limits (
  key        bytea       PRIMARY KEY CHECK (octet_length(key) = 16),
  mails      smallint    NOT NULL CHECK (mails > 0),
  next_at    timestamptz NOT NULL,
  expires_at timestamptz NOT NULL
);

-- name: index-mail-limits-by-expiry
CREATE INDEX mail_limits_by_expiry ON mail_limits (expires_at);
