"""The issuer: people register and log in here, and it signs the tokens that the verifier checks.

A request's way through the rooms: `protocol` (bytes to requests; the limits of a connection are in `connections`) →
`exchange` (ASGI) → `edge` (request id, log, last resort) → `app` and `routes/` (HTTP in, HTTP out) → `bodies` (strict
parsing) → `accounts` and `tokens` (the use cases) → `passwords`, `keyring`, `store/` (the only doors to argon2,
private keys and PostgreSQL). What goes wrong is named in `errors` and answered by `problems`.

Beside the requests: `background` runs what must go on by itself, such as `cleanup`. The operator's `commands/`
ask the same use cases, `administration` and `audit_chain`.
"""
