-- name: lock-timeout
-- A revision that cannot have its lock soon gives up, instead of queuing every login behind it.
SET LOCAL lock_timeout = '5s';

-- name: create-users
-- email is what the person wrote, email_key the identity: compared byte by byte, so that no collation
-- can ever make two keys equal. The bounds of the hash reject malformed values from every writer.
CREATE TABLE users (
  id                uuid        PRIMARY KEY,
  email             text        NOT NULL CHECK (octet_length(email) BETWEEN 3 AND 1024),
  email_key         text        COLLATE "C" NOT NULL UNIQUE CHECK (email_key ~ '^[\x21-\x7e]{3,254}$'),
  password_hash     text        NOT NULL CHECK (octet_length(password_hash) BETWEEN 20 AND 512),
  created_at        timestamptz NOT NULL,
  email_verified_at timestamptz,
  disabled_at       timestamptz,
  security_version  integer     NOT NULL DEFAULT 0
);
