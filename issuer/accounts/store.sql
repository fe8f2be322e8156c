-- Accounts. Every lookup is by the primary key or by email_key.

-- name: insert-account
-- One atomic statement: of any number of concurrent registrations of one email, one succeeds.
-- $6 actor, $7 IP address, $8 request id.
WITH inserted AS (
  INSERT INTO users (id, email, email_key, password_hash, created_at)
  VALUES ($1, $2, $3, $4, $5)
  ON CONFLICT (email_key) DO NOTHING
  RETURNING id
)
INSERT INTO audit_events (kind, user_id, actor, address, request_id)
SELECT 'account_registered', id, $6, $7, $8 FROM inserted
RETURNING user_id;

-- name: insert-unverified
-- $1 to $5 as insert-account, $6 and $7 keys of the recipient's limits for verification and for resets,
-- $8 waits and $9 quiet as in request-mail of self_service_store.sql, $10 actor, $11 IP address, $12 request id.
-- One statement whether or not the email has an account. A new account gets a token to verify its email; the user of
-- an existing one gets a token to reset its password, and never one to verify the email: the existing account may have
-- been registered by an attacker, who waits until the user of the mailbox verifies it with the attacker's password.
-- The first mail of a new account is counted, and never delayed.
WITH inserted AS (
  INSERT INTO users (id, email, email_key, password_hash, created_at)
  VALUES ($1, $2, $3, $4, $5)
  ON CONFLICT (email_key) DO NOTHING
  RETURNING id
), present AS (
  SELECT id FROM users
  WHERE email_key = $3 AND disabled_at IS NULL
    AND NOT EXISTS (SELECT FROM outbox WHERE outbox.user_id = users.id AND template = 'account_exists')
  FOR KEY SHARE
), counted AS (
  INSERT INTO mail_limits (key, mails, next_at, expires_at)
  SELECT key, 1, $5::timestamptz + ($8::interval[])[1], $5 + $9::interval
  FROM (SELECT $6::bytea FROM inserted UNION ALL SELECT $7::bytea FROM present) AS mail (key)
  ON CONFLICT (key) DO UPDATE
  SET (mails, next_at, expires_at) = (
    SELECT count, $5 + ($8::interval[])[count], $5 + $9
    FROM (
      SELECT CASE WHEN mail_limits.expires_at <= $5 THEN 1 ELSE least(mail_limits.mails + 1, cardinality($8)) END
    ) AS mail (count)
  )
  WHERE mail_limits.next_at <= $5 OR mail_limits.key = $6
  RETURNING key
), queued AS (
  INSERT INTO outbox (user_id, template, created_at, next_attempt_at)
  SELECT id, 'verify_email', $5, $5 FROM inserted
  UNION ALL
  SELECT id, 'account_exists', $5, $5 FROM present, counted
  ON CONFLICT (user_id, template) DO NOTHING
)
INSERT INTO audit_events (kind, user_id, actor, address, request_id)
SELECT 'account_registered', id, $10, $11, $12 FROM inserted
RETURNING user_id;

-- name: import-accounts
-- $1 ids, $2 emails, $3 email keys, $4 hashes, $5 created, $6 verified, $7 scopes, $8 roles as JSON lists, $9 actor,
-- $10 additional claims.
-- Accounts are inserted in the order of their email keys, so that two concurrent imports cannot deadlock. Because the events
-- are sorted, all accounts are inserted before the first event locks its chain.
WITH imported AS (
  INSERT INTO users (id, email, email_key, password_hash, created_at, email_verified_at, scope, roles, claims)
  SELECT id, email, email_key, password_hash, created_at, email_verified_at, scope,
         ARRAY(SELECT jsonb_array_elements_text(roles)), claims
  FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::text[],
              $8::jsonb[], $10::jsonb[])
    AS given (id, email, email_key, password_hash, created_at, email_verified_at, scope, roles, claims)
  ORDER BY email_key
  ON CONFLICT (email_key) DO NOTHING
  RETURNING id, email_key
), events AS (
  INSERT INTO audit_events (kind, user_id, actor)
  SELECT 'account_imported', id, $9 FROM imported ORDER BY id
)
SELECT email_key FROM imported;

-- name: find-registered
SELECT email_key FROM users WHERE email_key = ANY ($1::text[]);

-- name: get-login-state
-- $1 keys of the counters, $2 email key, $3 session that was shown or null, $4 generation of its refresh token or null,
-- $5 now.
-- The same statement whether or not there is an account. Returns a row for each counter that has not expired, or one
-- row if there is none; every row repeats the account. The session is looked up whether or not there is an account.
-- A refresh token is accepted as proof while it is the newest of its session, or the one before: the response with the
-- newest may have been lost.
WITH account AS (
  SELECT id, password_hash, disabled_at, email_verified_at, password_disabled_at, security_version, scope, roles,
    claims
  FROM users
  WHERE email_key = $2
), proof AS (
  SELECT coalesce((SELECT id FROM account) = (
    SELECT user_id FROM sessions
    WHERE id = $3 AND ($4::bigint IS NULL OR generation BETWEEN $4 AND $4 + 1)
      AND ended_at IS NULL AND expires_at > $5 AND idle_expires_at > $5
  ), false) AS shows_own_session
)
SELECT proof.shows_own_session, counter.key, counter.count, counter.last_at, counter.expires_at, account.*
FROM proof
LEFT JOIN account ON true
LEFT JOIN rate_limit_counters AS counter ON counter.key = ANY ($1::bytea[]) AND counter.expires_at > $5;

-- name: count-failed-login
-- $1 email key, $2 keys of the counters, $3 free failures and $4 restart of each, $5 delays beyond the free failures,
-- $6 now, $7 failures of the second counter that disable the password, or null, $8 actor, $9 IP address, $10 request
-- id. Returns a row if the failure was counted; none if other attempts used up a limit meanwhile, so that the response
-- must not reveal the outcome of this one. The first counter is updated first: all attempts of a burst update it one
-- after the other, and those that it rejects change nothing else. Locks are taken in the order counters, users, chain
-- of events, as in `insert-session`. The work is the same whether or not there is an account: one event either way.
-- Only the failure that disables the password writes more. The new version invalidates logins that are in progress.
-- Setting a new password enables logins again.
-- The condition on `disabled` is always true: it makes PostgreSQL lock the account before the first event locks its chain.
WITH first AS (
  INSERT INTO rate_limit_counters AS counter (key, count, last_at, expires_at)
  VALUES (($2::bytea[])[1], 1, $6, ($4::timestamptz[])[1])
  ON CONFLICT (key) DO UPDATE SET
    count = CASE WHEN counter.expires_at <= $6 THEN 1 ELSE counter.count + 1 END,
    last_at = greatest(counter.last_at, $6),
    expires_at = CASE WHEN counter.expires_at <= $6 THEN EXCLUDED.expires_at ELSE counter.expires_at END
  WHERE counter.expires_at <= $6 OR counter.count < ($3::integer[])[1]
    OR counter.last_at + ($5::interval[])[least(counter.count - ($3::integer[])[1] + 1, cardinality($5))] <= $6
  RETURNING key
), others AS (
  INSERT INTO rate_limit_counters AS counter (key, count, last_at, expires_at)
  SELECT key, 1, $6, expires_at
  FROM unnest($2::bytea[], $4::timestamptz[]) WITH ORDINALITY AS given (key, expires_at, number)
  WHERE number > 1 AND EXISTS (SELECT FROM first)
  ORDER BY number
  ON CONFLICT (key) DO UPDATE SET
    count = CASE WHEN counter.expires_at <= $6 THEN 1 ELSE counter.count + 1 END,
    last_at = greatest(counter.last_at, $6),
    expires_at = CASE WHEN counter.expires_at <= $6 THEN EXCLUDED.expires_at ELSE counter.expires_at END
  WHERE counter.expires_at <= $6 OR counter.count < ($3::integer[])[array_position($2, counter.key)]
    OR counter.last_at + ($5::interval[])[
      least(counter.count - ($3::integer[])[array_position($2, counter.key)] + 1, cardinality($5))
    ] <= $6
  RETURNING key, count
), disabled AS (
  UPDATE users
  SET password_disabled_at = $6, security_version = security_version + 1
  WHERE email_key = $1 AND password_disabled_at IS NULL
    AND EXISTS (SELECT FROM others WHERE key = ($2::bytea[])[2] AND count >= $7)
  RETURNING id
)
INSERT INTO audit_events (kind, user_id, actor, address, request_id)
SELECT 'login_failed', (SELECT id FROM users WHERE email_key = $1), $8, $9::inet, $10
WHERE (SELECT count(*) FROM others) = cardinality($2) - 1 AND (SELECT count(*) FROM disabled) >= 0
UNION ALL
SELECT 'password_disabled', id, NULL, $9, $10 FROM disabled
RETURNING kind;

-- name: replace-password-hash
-- A compare and swap: the new hash of an old password must not undo a password change.
UPDATE users
SET password_hash = $3
WHERE id = $1 AND password_hash = $2;
