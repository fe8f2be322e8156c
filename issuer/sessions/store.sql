-- Sessions and their revocation bits.

-- name: revoke-sessions-of-user
-- $1 account, $2 a session to keep or null, $3 now, $4 reason, $5 when the last access token expires,
-- $6 actor, $7 IP address, $8 request id, $9 how many others to keep: the newest, live ones first.
-- Run it as a separate statement after the change of the account, in the same transaction: its snapshot must be newer
-- than the lock on the account's row, or it would miss the session of a login that was just committed.
-- Because the events are sorted, all rows are locked before the first event locks its chain.
-- At most 1,000 rows are updated, each with an event; that is the highest limit of sessions per account. An earlier
-- release had no limit: sessions beyond 1,000 are deleted with one event for all. For 50,000 sessions that takes a
-- third of the time, within the statement timeout.
WITH live AS MATERIALIZED (
  SELECT id, row_number() OVER (ORDER BY least(idle_expires_at, expires_at) <= $3, created_at DESC, id) - $9 AS number
  FROM sessions
  WHERE user_id = $1 AND ended_at IS NULL AND id IS DISTINCT FROM $2
), updated AS (
  UPDATE sessions s
  SET ended_at = $3, end_reason = $4
  FROM live
  WHERE s.id = live.id AND number BETWEEN 1 AND 1000 AND s.ended_at IS NULL
  RETURNING s.id, s.client_id, s.status_list_id, s.status_idx
), deleted AS (
  DELETE FROM sessions
  WHERE user_id = $1 AND ended_at IS NULL AND id IS DISTINCT FROM $2
    AND id NOT IN (SELECT id FROM live WHERE number <= 1000)
  RETURNING status_list_id, status_idx
), revoked AS (
  INSERT INTO revocations (status_list_id, status_idx, expires_at)
  SELECT status_list_id, status_idx, $5::timestamptz FROM updated
  UNION ALL
  SELECT status_list_id, status_idx, $5::timestamptz FROM deleted
  ON CONFLICT DO NOTHING
), events AS (
  SELECT id, client_id, jsonb_build_object('reason', $4::text) AS detail
  FROM updated
  UNION ALL
  SELECT NULL, NULL, jsonb_build_object('reason', $4::text, 'sessions', count(*))
  FROM deleted
  HAVING count(*) > 0
)
INSERT INTO audit_events (kind, user_id, session_id, client_id, actor, address, request_id, detail)
SELECT 'session_revoked', $1, id, client_id, $6, $7, $8, detail
FROM events
ORDER BY id
RETURNING coalesce((detail ->> 'sessions')::int, 1) AS sessions;

-- name: insert-session
-- $1 id, $2 account, $3 its security_version when the password was verified, $4 client, $5 scope, $6 now,
-- $7 idle expiry, $8 absolute expiry, $9 status list, $10 index, $11 IP address, $12 user agent, $13 actor, $14 request
-- id, $15 how many sessions an account may have beside this one, $16 keys of the counters that limit this login, $17
-- free failures of each, $18 delays beyond those, $19 whether the login requested the scope, $20 requested audiences or
-- null, $21 the client's security_version when it was read. Returns whether a counter limits the login, whether the
-- client is still as it was read, and whether the account has too many sessions now.
-- The counters are checked again, since other attempts may have failed during the hash. A success clears the first
-- counter and subtracts its failures from the second: those of other networks, or of other sessions, stay. Rows are
-- locked in the order counters, users, chain of events, as in `count-failed-login`.
-- FOR SHARE waits for a concurrent disabling or password change, and makes a later one wait: either it sees this
-- session, or this login sees that the account has changed. Without the lock, 370 of 400 concurrent logins got a
-- session nevertheless. FOR KEY SHARE, which the foreign key takes, does not conflict and would not be enough. For the
-- client's row it is enough, since changes of a client lock that row FOR UPDATE. The client is locked before the account.
-- The condition on `counted` is always true: it makes PostgreSQL lock the counters before the account.
WITH decision AS MATERIALIZED (
  SELECT EXISTS (
    SELECT FROM rate_limit_counters JOIN unnest($16::bytea[], $17::integer[]) AS given (key, free) USING (key)
    WHERE expires_at > $6 AND count >= free
      AND last_at + ($18::interval[])[least(count - free + 1, cardinality($18))] > $6
  ) AS limited
), counted AS MATERIALIZED (
  SELECT key, count, expires_at FROM rate_limit_counters
  WHERE key = ANY (($16::bytea[])[1:2]) AND NOT (SELECT limited FROM decision)
  ORDER BY array_position($16, key)
  FOR UPDATE
), client AS MATERIALIZED (
  SELECT id FROM clients
  WHERE id = $4 AND auth_method = 'none' AND disabled_at IS NULL AND security_version = $21
  FOR KEY SHARE
), known AS MATERIALIZED (
  SELECT $4 = 'first-party' OR EXISTS (SELECT FROM client) AS client_known
), account AS MATERIALIZED (
  SELECT id FROM users
  WHERE id = $2 AND security_version = $3 AND disabled_at IS NULL AND (SELECT client_known FROM known)
    AND NOT (SELECT limited FROM decision) AND (SELECT count(*) FROM counted) >= 0
  FOR SHARE
), created AS (
  INSERT INTO sessions (
    id, user_id, client_id, scope, created_at, rotated_at, idle_expires_at, expires_at,
    status_list_id, status_idx, address, user_agent, scope_limited, audiences
  )
  SELECT $1, id, $4, $5, $6, $6, $7, $8, $9, $10, $11, $12, $19, $20 FROM account
  RETURNING id, user_id, client_id
), cleared AS (
  DELETE FROM rate_limit_counters USING created WHERE key = ($16::bytea[])[1]
), lowered AS (
  UPDATE rate_limit_counters AS counter
  SET count = greatest(counter.count - counted.count, 0)
  FROM created, counted
  WHERE counter.key = ($16::bytea[])[2] AND counted.key = ($16::bytea[])[1] AND counted.expires_at > $6
), recorded AS (
  INSERT INTO audit_events (kind, user_id, session_id, client_id, actor, address, request_id)
  SELECT 'login_succeeded', user_id, id, client_id, $13, $11, $14
  FROM created
  RETURNING EXISTS (SELECT FROM sessions WHERE user_id = $2 AND ended_at IS NULL OFFSET $15) AS too_many
)
SELECT limited, client_known, too_many FROM decision CROSS JOIN known LEFT JOIN recorded ON true;

-- name: rotate-session
-- $1 session, $2 generation presented, $3 client or null for that of the session, $4 now, $5 idle expiry, $6 requested
-- scope tokens or null, $7 requested audience or null, $8 audience of the default client.
-- A compare and swap of columns that no index has, so that PostgreSQL changes no index (HOT). The conditions are those
-- under which `evaluate_refresh` returns ROTATE and `authorize_refresh` raises no error, so that a request with an
-- invalid scope or audience does not use up the token. Concurrent statements wait for the row and check again.
-- rotated_at is set by the database's clock, which find-session uses too, since the clocks of issuers differ.
UPDATE sessions s
SET generation = s.generation + 1, rotated_at = clock_timestamp(), idle_expires_at = least($5, s.expires_at),
  retries = 0, retried_in_a_row = CASE WHEN s.retries > 0 THEN least(s.retried_in_a_row + 1, 1000) ELSE 0 END
FROM users u
WHERE s.id = $1 AND s.generation = $2 AND ($3::text IS NULL OR s.client_id = $3)
  AND s.ended_at IS NULL AND s.expires_at > $4 AND s.idle_expires_at > $4
  AND u.id = s.user_id AND u.disabled_at IS NULL
  AND ($6::text[] IS NULL
    OR $6 <@ string_to_array(CASE WHEN s.scope_limited THEN s.scope ELSE s.scope || ' ' || u.scope END, ' '))
  AND CASE WHEN s.client_id = 'first-party'
    THEN ($7::text IS NULL OR $7 = $8) AND (s.audiences IS NULL OR $8 = ANY (s.audiences)) ELSE EXISTS (
    SELECT FROM clients c
    WHERE c.id = s.client_id AND c.auth_method = 'none' AND c.disabled_at IS NULL
      AND ($6 IS NULL OR $6 <@ string_to_array(c.scope, ' '))
      AND c.audiences && coalesce(s.audiences, c.audiences)
      AND ($7 IS NULL OR ($7 = ANY (c.audiences) AND $7 = ANY (coalesce(s.audiences, c.audiences))))
  ) END
RETURNING s.id, s.user_id, s.client_id, s.generation, s.retries, s.retried_in_a_row, s.created_at,
  interval '0' AS rotated_ago, s.idle_expires_at AS expires_at, s.ended_at AS revoked_at, u.disabled_at,
  s.scope AS login_scope, s.scope_limited, s.audiences, u.scope, u.roles, u.claims, s.status_list_id, s.status_idx,
  CASE WHEN s.client_id <> 'first-party' THEN (
    SELECT jsonb_build_object('audiences', c.audiences, 'scope', c.scope, 'claims', c.claims)
    FROM clients c WHERE c.id = s.client_id
  ) END AS client;

-- name: find-session
SELECT s.id, s.user_id, s.client_id, s.generation, s.retries, s.retried_in_a_row, s.created_at,
  clock_timestamp() - s.rotated_at AS rotated_ago, least(s.idle_expires_at, s.expires_at) AS expires_at,
  s.ended_at AS revoked_at, u.disabled_at, s.scope AS login_scope, s.scope_limited, s.audiences, u.scope, u.roles, u.claims, s.status_list_id,
  s.status_idx, CASE WHEN c.id IS NOT NULL
    THEN jsonb_build_object('audiences', c.audiences, 'scope', c.scope, 'claims', c.claims) END AS client
FROM sessions s JOIN users u ON u.id = s.user_id
LEFT JOIN clients c ON c.id = s.client_id AND c.auth_method = 'none' AND c.disabled_at IS NULL
WHERE s.id = $1;

-- name: count-retry
-- $1 session, $2 generation presented, $3 now, $4 maximum number of retries.
UPDATE sessions
SET retries = retries + 1
WHERE id = $1 AND generation = $2::bigint + 1 AND retries < $4
  AND ended_at IS NULL AND expires_at > $3 AND idle_expires_at > $3
RETURNING id;

-- name: revoke-reused-session
-- $1 session, $2 generation presented, $3 now, $4 when the last access token expires, $5 actor, $6 IP address,
-- $7 request id.
WITH updated AS (
  UPDATE sessions
  SET ended_at = $3, end_reason = 'refresh_token_reuse'
  WHERE id = $1 AND generation > $2 AND ended_at IS NULL
  RETURNING id, user_id, client_id, generation, status_list_id, status_idx
), revoked AS (
  INSERT INTO revocations (status_list_id, status_idx, expires_at)
  SELECT status_list_id, status_idx, $4 FROM updated
  ON CONFLICT DO NOTHING
)
INSERT INTO audit_events (kind, user_id, session_id, client_id, actor, address, request_id, detail)
SELECT event.kind, user_id, id, client_id, $5, $6, $7, event.detail
FROM updated CROSS JOIN LATERAL (VALUES
  ('refresh_token_reuse_detected', jsonb_build_object('generations_behind', generation - $2)),
  ('session_revoked', jsonb_build_object('reason', 'refresh_token_reuse'))
) AS event (kind, detail)
RETURNING session_id;

-- name: revoke-session
-- $1 session, $2 account or null for any account, $3 now, $4 reason, $5 when the last access token expires, $6 actor,
-- $7 IP address, $8 request id.
-- An expired session is revoked too: its last access token may be valid for minutes.
WITH updated AS (
  UPDATE sessions
  SET ended_at = $3, end_reason = $4
  WHERE id = $1 AND ($2::uuid IS NULL OR user_id = $2) AND ended_at IS NULL
  RETURNING id, user_id, client_id, status_list_id, status_idx
), revoked AS (
  INSERT INTO revocations (status_list_id, status_idx, expires_at)
  SELECT status_list_id, status_idx, $5 FROM updated
  ON CONFLICT DO NOTHING
)
INSERT INTO audit_events (kind, user_id, session_id, client_id, actor, address, request_id, detail)
SELECT 'session_revoked', user_id, id, client_id, $6, $7, $8, jsonb_build_object('reason', $4::text)
FROM updated
RETURNING session_id;

-- name: revoke-sessions-of-client
-- $1 client, $2 now, $3 reason, $4 when the last access token expires, $5 actor, $6 IP address, $7 request id,
-- $8 maximum number. The client must be disabled before, so that no login adds a session.
WITH updated AS (
  UPDATE sessions
  SET ended_at = $2, end_reason = $3
  WHERE id = ANY (ARRAY(SELECT id FROM sessions WHERE client_id = $1 AND ended_at IS NULL ORDER BY id LIMIT $8))
    AND ended_at IS NULL
  RETURNING id, user_id, client_id, status_list_id, status_idx
), revoked AS (
  INSERT INTO revocations (status_list_id, status_idx, expires_at)
  SELECT status_list_id, status_idx, $4 FROM updated
  ON CONFLICT DO NOTHING
)
INSERT INTO audit_events (kind, user_id, session_id, client_id, actor, address, request_id, detail)
SELECT 'session_revoked', user_id, id, client_id, $5, $6, $7, jsonb_build_object('reason', $3::text)
FROM updated
ORDER BY id
RETURNING session_id;

-- name: lock-account
-- Run it before revoking all sessions of an account: it waits for logins and other such revocations in progress.
SELECT id FROM users WHERE id = $1 FOR NO KEY UPDATE;

-- name: list-live-sessions
-- $1 account, $2 now, $3 and $4 creation time and id of the session after which to start or nulls, $5 maximum number.
SELECT id, created_at, rotated_at AS last_used_at, least(idle_expires_at, expires_at) AS expires_at,
  host(address) AS ip_address, user_agent
FROM sessions
WHERE user_id = $1 AND ended_at IS NULL AND expires_at > $2 AND idle_expires_at > $2
  AND ($3::timestamptz IS NULL OR created_at < $3 OR (created_at = $3 AND id > $4))
ORDER BY created_at DESC, id
LIMIT $5;
