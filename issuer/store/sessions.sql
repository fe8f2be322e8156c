-- Sessions and their revocation bits.

-- name: end-sessions-of-user
-- $1 account, $2 a session to spare or null, $3 now, $4 reason, $5 when the last access token is dead,
-- $6 actor, $7 address, $8 request id.
-- Run it as a statement of its own after the change of the account, in one transaction: it needs a snapshot
-- that is younger than the lock on the account's row, or a login that was just committed escapes.
-- The sort makes every row lock precede the first event's lock on its chain.
WITH ended AS (
  UPDATE sessions
  SET ended_at = $3, end_reason = $4
  WHERE user_id = $1 AND ended_at IS NULL AND id IS DISTINCT FROM $2
  RETURNING id, user_id, client_id, status_list_id, status_idx
), revoked AS (
  INSERT INTO revocations (status_list_id, status_idx, expires_at)
  SELECT status_list_id, status_idx, $5 FROM ended
  ON CONFLICT DO NOTHING
)
INSERT INTO audit_events (kind, user_id, session_id, client_id, actor, address, request_id, detail)
SELECT 'session_ended', user_id, id, client_id, $6, $7, $8, jsonb_build_object('reason', $4::text)
FROM ended
ORDER BY id
RETURNING session_id;
