-- The tables of the naive application.
CREATE SCHEMA naive;
CREATE TABLE naive.accounts (
  id            uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
  email         text        NOT NULL UNIQUE,
  password_hash text        NOT NULL,
  created_at    timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE naive.refresh_tokens (
  hash       bytea       PRIMARY KEY,
  account_id uuid        NOT NULL REFERENCES naive.accounts,
  expires_at timestamptz NOT NULL
);
CREATE TABLE naive.clients (
  id          text  PRIMARY KEY,
  secret_hash bytea NOT NULL,
  scope       text  NOT NULL
);
