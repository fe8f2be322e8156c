-- Expand only: release 0001 works on this schema unchanged.

-- name: lock-timeout
-- A revision that cannot have its lock soon gives up, instead of queuing every login behind it. No longer than a
-- login's own lock_timeout: those that queued meanwhile are then served and not refused.
SET LOCAL lock_timeout = '800ms';

-- name: extend-users
ALTER TABLE users
  ADD COLUMN scope                text        NOT NULL DEFAULT 'profile',
  ADD COLUMN roles                text[]      NOT NULL DEFAULT '{}',
  ADD COLUMN password_changed_at  timestamptz,
  ADD COLUMN password_disabled_at timestamptz;

-- name: create-status-lists
-- Token Status Lists. Issuers lease ranges of indices; next_idx is the first index that is not leased.
CREATE TABLE status_lists (
  id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  size       integer     NOT NULL CHECK (size > 0 AND size % 8 = 0),
  next_idx   integer     NOT NULL DEFAULT 0 CHECK (next_idx BETWEEN 0 AND size),
  created_at timestamptz NOT NULL
);

-- name: create-revocations
-- The bits that are set. A row is needed until the last access token that refers to it has expired.
-- status_list_id has no foreign key: it would lock the list's row at every logout.
CREATE TABLE revocations (
  status_list_id bigint      NOT NULL,
  status_idx     integer     NOT NULL CHECK (status_idx >= 0),
  revoked_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at     timestamptz NOT NULL,
  PRIMARY KEY (status_list_id, status_idx)
);

-- name: index-revocations-by-expiry
CREATE INDEX revocations_by_expiry ON revocations (expires_at);

-- name: create-sessions
-- One row for each login. The refresh token is a signed counter: generation is all that is stored of it.
-- The free space keeps refreshes HOT: none of the columns that they change is indexed.
CREATE TABLE sessions (
  id              uuid        PRIMARY KEY,
  user_id         uuid        NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  client_id       text        NOT NULL,
  scope           text        NOT NULL,
  generation      bigint      NOT NULL DEFAULT 0 CHECK (generation >= 0),
  retries         smallint    NOT NULL DEFAULT 0,
  created_at      timestamptz NOT NULL,
  rotated_at      timestamptz NOT NULL,
  idle_expires_at timestamptz NOT NULL,
  expires_at      timestamptz NOT NULL,
  ended_at        timestamptz,
  end_reason      text,
  status_list_id  bigint      NOT NULL,
  status_idx      integer     NOT NULL CHECK (status_idx >= 0),
  address         inet,
  user_agent      text        CHECK (octet_length(user_agent) <= 512),
  UNIQUE (status_list_id, status_idx),
  CHECK ((ended_at IS NULL) = (end_reason IS NULL))
) WITH (fillfactor = 70);

-- name: index-live-sessions
CREATE INDEX sessions_live_by_user ON sessions (user_id) WHERE ended_at IS NULL;

-- name: index-sessions-by-user-and-address
CREATE INDEX sessions_by_user_and_address ON sessions (user_id, address);

-- name: index-sessions-by-expiry
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

-- name: index-ended-sessions
-- For the clean-up. A refresh changes nothing that it looks at.
CREATE INDEX sessions_by_end ON sessions (ended_at) WHERE ended_at IS NOT NULL;

-- name: create-clients
-- OAuth clients. secret_hash is SHA-256 of a random secret that the issuer generated, never of a chosen one.
-- security_version grows with every change, so that nothing is granted by what was true before.
CREATE TABLE clients (
  id             text        COLLATE "C" PRIMARY KEY CHECK (id ~ '^[A-Za-z0-9._-]{1,64}$'),
  name           text        NOT NULL,
  auth_method    text        NOT NULL CHECK (auth_method IN ('client_secret_basic', 'private_key_jwt')),
  secret_hash    bytea       CHECK (octet_length(secret_hash) = 32),
  jwks           jsonb,
  scope          text        NOT NULL DEFAULT '',
  audiences      text[]      NOT NULL,
  created_at     timestamptz NOT NULL,
  disabled_at    timestamptz,
  status_list_id bigint,
  status_idx     integer     CHECK (status_idx >= 0),
  security_version integer   NOT NULL DEFAULT 0,
  CHECK ((auth_method = 'client_secret_basic') = (secret_hash IS NOT NULL)),
  CHECK ((auth_method = 'private_key_jwt') = (jwks IS NOT NULL)),
  CHECK ((status_list_id IS NULL) = (status_idx IS NULL))
);

-- name: create-client-assertions
-- The jti of every client assertion that was accepted, until it would have expired (RFC 7523 §3).
CREATE TABLE client_assertions (
  client_id  text        COLLATE "C" NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
  jti_hash   bytea       NOT NULL CHECK (octet_length(jti_hash) = 32),
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (client_id, jti_hash)
);

-- name: index-client-assertions-by-expiry
CREATE INDEX client_assertions_by_expiry ON client_assertions (expires_at);

-- name: create-one-time-tokens
-- Only hashes of the tokens that go out by mail; one of a purpose is alive at a time.
CREATE TABLE one_time_tokens (
  token_hash bytea       PRIMARY KEY CHECK (octet_length(token_hash) = 32),
  user_id    uuid        NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  purpose    text        NOT NULL,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  UNIQUE (user_id, purpose)
);

-- name: index-one-time-tokens-by-expiry
CREATE INDEX one_time_tokens_by_expiry ON one_time_tokens (expires_at);

-- name: create-outbox
-- Mail to be sent: template and recipient. Its token is created when it is sent and is not stored here.
-- One of a template waits for a person at a time, however often it is asked for.
CREATE TABLE outbox (
  id              bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  user_id         uuid        NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  template        text        NOT NULL,
  created_at      timestamptz NOT NULL,
  next_attempt_at timestamptz NOT NULL,
  attempts        smallint    NOT NULL DEFAULT 0,
  UNIQUE (user_id, template)
);

-- name: index-outbox-by-next-attempt
CREATE INDEX outbox_by_next_attempt ON outbox (next_attempt_at);

-- name: create-throttles
-- Failed attempts by account (existing or not), network and pair. Unlogged: a crash clears them.
-- The delay follows from failures and failed_at.
CREATE UNLOGGED TABLE throttles (
  key        bytea       PRIMARY KEY CHECK (octet_length(key) = 16),
  failures   integer     NOT NULL,
  failed_at  timestamptz NOT NULL,
  expires_at timestamptz NOT NULL
) WITH (fillfactor = 70);

-- name: index-throttles-by-expiry
CREATE INDEX throttles_by_expiry ON throttles (expires_at);

-- name: create-audit-events
-- Append-only, and chained by hash: each row's hash covers the one before it in its chain. Several chains, so
-- that commits wait for each other less; a chain is held from the insert to the commit.
CREATE TABLE audit_events (
  chain         smallint    NOT NULL,
  position      bigint      NOT NULL,
  at            timestamptz NOT NULL,
  kind          text        NOT NULL,
  user_id       uuid,
  session_id    uuid,
  client_id     text,
  actor         text,
  address       inet,
  request_id    text,
  detail        jsonb       NOT NULL DEFAULT '{}',
  previous_hash bytea       NOT NULL CHECK (octet_length(previous_hash) = 32),
  hash          bytea       NOT NULL CHECK (octet_length(hash) = 32),
  PRIMARY KEY (chain, position)
);

-- name: index-audit-events-by-user
CREATE INDEX audit_events_by_user ON audit_events (user_id, at);

-- name: index-audit-events-by-time
CREATE INDEX audit_events_by_time ON audit_events (at);

-- name: create-audit-event-content
-- What a hash covers, as text with one reading.
CREATE FUNCTION audit_event_content(event audit_events) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_array(
    event.chain, event.position, extract(epoch FROM event.at), event.kind, event.user_id, event.session_id,
    event.client_id, event.actor, event.address, event.request_id, event.detail
  )::text
$$;

-- name: create-audit-event-chaining
CREATE FUNCTION chain_audit_event() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  head record;
BEGIN
  NEW.chain := pg_backend_pid() % 8;
  PERFORM pg_advisory_xact_lock(1734439780, NEW.chain);
  SELECT position, hash INTO head FROM audit_events WHERE chain = NEW.chain ORDER BY position DESC LIMIT 1;
  NEW.position := coalesce(head.position, 0) + 1;
  NEW.at := clock_timestamp();
  NEW.previous_hash := coalesce(head.hash, decode(repeat('00', 32), 'hex'));
  NEW.hash := sha256(NEW.previous_hash || convert_to(audit_event_content(NEW), 'UTF8'));
  RETURN NEW;
END
$$;

-- name: chain-audit-events
CREATE TRIGGER chain_audit_event BEFORE INSERT ON audit_events
FOR EACH ROW EXECUTE FUNCTION chain_audit_event();

-- name: create-audit-event-refusal
CREATE FUNCTION refuse_audit_event_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'audit events are never changed or deleted';
END
$$;

-- name: refuse-audit-event-changes
CREATE TRIGGER refuse_audit_event_change BEFORE UPDATE OR DELETE ON audit_events
FOR EACH ROW EXECUTE FUNCTION refuse_audit_event_change();

-- name: refuse-audit-event-truncation
CREATE TRIGGER refuse_audit_event_truncation BEFORE TRUNCATE ON audit_events
FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_event_change();
