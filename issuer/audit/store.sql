-- Audit events. Insert them last in a transaction. The insert locks its chain until the commit: a transaction that
-- waits for another row while it holds the chain can deadlock with one that waits for the chain.

-- name: record-event
INSERT INTO audit_events (kind, user_id, session_id, client_id, actor, address, request_id, detail)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8);

-- name: list-events
-- $1 account or null, $2 kind or null, $3 earliest time or null, $4 maximum number of events; newest first.
SELECT at, kind, user_id, session_id, client_id, actor, host(address) AS ip_address, request_id, detail::text,
  chain, position
FROM audit_events
WHERE ($1::uuid IS NULL OR user_id = $1) AND ($2::text IS NULL OR kind = $2)
  AND ($3::timestamptz IS NULL OR at >= $3)
ORDER BY at DESC, chain, position
LIMIT $4;

-- name: list-chained-events
-- $1, $2 chain and position after which to start, $3 maximum number of events.
-- Builds the content itself instead of calling audit_event_content of the schema: an attacker who alters rows may
-- have replaced that function. A test keeps the two equal.
SELECT chain, position, previous_hash, hash, pg_catalog.jsonb_build_array(
  chain, position, extract(epoch FROM at), kind, user_id, session_id,
  client_id, actor, address, request_id, detail
)::pg_catalog.text AS content
FROM audit_events
WHERE (chain, position) > ($1, $2)
ORDER BY chain, position
LIMIT $3;

-- name: list-heads
SELECT DISTINCT ON (chain) chain, position, hash
FROM audit_events
ORDER BY chain, position DESC;
