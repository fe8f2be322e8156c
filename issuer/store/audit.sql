-- Audit events. Insert them last in a transaction: the insert holds its chain until the commit, and whoever
-- waited for a row while holding it could wait for somebody who waits for the chain.

-- name: record-event
INSERT INTO audit_events (kind, user_id, session_id, client_id, actor, address, request_id, detail)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8);
