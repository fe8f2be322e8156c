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

-- name: import-accounts
-- $1 ids, $2 addresses, $3 keys, $4 hashes, $5 created, $6 verified, $7 scopes, $8 roles as JSON lists, $9 actor.
-- In the order of the keys, so that two imports at once never wait for each other; the sort of the events makes
-- every row precede the first lock of a chain.
WITH imported AS (
  INSERT INTO users (id, email, email_key, password_hash, created_at, email_verified_at, scope, roles)
  SELECT id, email, email_key, password_hash, created_at, email_verified_at, scope,
         ARRAY(SELECT jsonb_array_elements_text(roles))
  FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::text[],
              $8::jsonb[])
    AS given (id, email, email_key, password_hash, created_at, email_verified_at, scope, roles)
  ORDER BY email_key
  ON CONFLICT (email_key) DO NOTHING
  RETURNING id, email_key
), events AS (
  INSERT INTO audit_events (kind, user_id, actor)
  SELECT 'account_imported', id, $9 FROM imported ORDER BY id
)
SELECT email_key FROM imported;

-- name: find-taken
SELECT email_key FROM users WHERE email_key = ANY ($1::text[]);

-- name: find-login
-- $1 keys of the throttle, $2 now, $3 email key, $4 and $5 the client's network, $6 a session that was shown.
-- One statement for accounts that exist and that do not: a row for each count that is not forgotten, or one row if
-- there is none, and the account again in each. A session that ended as stolen vouches for nobody.
WITH account AS (
  SELECT id, password_hash, disabled_at, email_verified_at, password_disabled_at, security_version, scope, roles
  FROM users
  WHERE email_key = $3
), claim AS (
  SELECT EXISTS (
    SELECT FROM account JOIN sessions ON sessions.user_id = account.id
    WHERE sessions.address BETWEEN $4 AND $5 AND sessions.end_reason IS DISTINCT FROM 'reused'
  ) OR EXISTS (
    SELECT FROM account JOIN sessions ON sessions.user_id = account.id
    WHERE sessions.id = $6 AND sessions.end_reason IS DISTINCT FROM 'reused'
  ) AS known
)
SELECT claim.known, throttles.key, throttles.failures, throttles.failed_at, throttles.expires_at, account.*
FROM claim
LEFT JOIN account ON true
LEFT JOIN throttles ON throttles.key = ANY ($1::bytea[]) AND throttles.expires_at > $2;

-- name: find-account
SELECT u.id, u.email, u.created_at
FROM users u JOIN sessions s ON s.user_id = u.id
WHERE u.id = $1 AND u.disabled_at IS NULL AND s.id = $2 AND s.ended_at IS NULL AND s.expires_at > $3;

-- name: record-refused-login
-- A row in any case, of no account where there is none: an unknown address costs what a known one does.
INSERT INTO audit_events (kind, user_id, actor, address, request_id)
VALUES ('login_refused', (SELECT id FROM users WHERE email_key = $1), $2, $3, $4);

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
