-- Clients. Every lookup is by the primary key. An operator's change locks the row first and writes its event last.

-- name: find-client
SELECT id, name, auth_method, secret_hash, jwks, scope, audiences, claims, created_at, disabled_at,
       status_list_id, status_idx, security_version
FROM clients
WHERE id = $1;

-- name: list-clients
SELECT id, name, auth_method, secret_hash, jwks, scope, audiences, claims, created_at, disabled_at,
       status_list_id, status_idx, security_version
FROM clients
ORDER BY created_at, id;

-- name: lock-client
SELECT id, name, auth_method, secret_hash, jwks, scope, audiences, claims, created_at, disabled_at,
       status_list_id, status_idx, security_version
FROM clients
WHERE id = $1
FOR UPDATE;

-- name: insert-client
INSERT INTO clients (id, name, auth_method, secret_hash, jwks, scope, audiences, created_at, claims)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (id) DO NOTHING
RETURNING id;

-- name: update-client
-- The index of earlier tokens is detached: the next token gets another one.
UPDATE clients
SET secret_hash = $2, jwks = $3, scope = $4, audiences = $5, disabled_at = $6, claims = $7,
    status_list_id = NULL, status_idx = NULL, security_version = security_version + 1
WHERE id = $1;

-- name: find-largest-account
-- $1 scope tokens of a client, $2 its claims, which those of an account override. Returns the account whose tokens for
-- this client have the longest scope, roles and claims. A character beyond ASCII takes six or twelve bytes in a token.
SELECT scope, roles, claims FROM users
ORDER BY
  (SELECT coalesce(sum(length(token) + 1), 0) FROM unnest(string_to_array(scope, ' ')) AS token WHERE token = ANY ($1::text[]))
  + (SELECT coalesce(sum(length(to_json(role)::text) + 1), 0) FROM unnest(roles) AS role)
  + CASE WHEN claims = '{}' THEN length($2::text) ELSE length(
      regexp_replace(regexp_replace(($2::jsonb || claims)::text, '[\U00010000-\U0010FFFF]', repeat('x', 12), 'g'),
        '[^\u0001-\u007F]', repeat('x', 6), 'g')) END DESC
LIMIT 1;

-- name: delete-client
DELETE FROM clients WHERE id = $1;

-- name: revoke-index
INSERT INTO revocations (status_list_id, status_idx, expires_at)
VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING;

-- name: assign-status
-- Of concurrent requests, the first assigns the index. A request that authenticated before the last change gets no row,
-- since its token would have the old claims.
UPDATE clients
SET status_list_id = coalesce(status_list_id, $3), status_idx = coalesce(status_idx, $4)
WHERE id = $1 AND security_version = $2 AND disabled_at IS NULL
RETURNING status_list_id, status_idx;

-- name: revoke-status
-- $1 client, $2 status list, $3 index, $4 when the last access token expires, $5 actor, $6 IP address, $7 request id.
WITH detached AS (
  UPDATE clients
  SET status_list_id = NULL, status_idx = NULL
  WHERE id = $1 AND status_list_id = $2 AND status_idx = $3
  RETURNING id
), revoked AS (
  INSERT INTO revocations (status_list_id, status_idx, expires_at)
  SELECT $2, $3, $4 FROM detached
  ON CONFLICT DO NOTHING
)
INSERT INTO audit_events (kind, client_id, actor, address, request_id, detail)
SELECT 'client_tokens_revoked', id, $5, $6, $7, '{}'::jsonb
FROM detached;

-- name: record-assertion
-- Of concurrent uses at any number of issuers, one inserts the row. The lock prevents a deletion of the client between
-- the SELECT and the INSERT.
INSERT INTO client_assertions (client_id, jti_hash, expires_at)
SELECT id, $2, $3 FROM clients WHERE id = $1 FOR KEY SHARE
ON CONFLICT (client_id, jti_hash) DO NOTHING
RETURNING client_id;
