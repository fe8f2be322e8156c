"""The issuer: users register and log in here, and it signs the tokens that the verifier checks.

One package for each subject, listed from the top: a package imports only packages below its own line.

    cli             the operator's commands; app wires settings into the running process
    accounts oauth  register, log in, recover, administer; the OAuth endpoints and their clients
    sessions        create, refresh, revoke, list
    status_lists    which tokens are revoked: allocate an index, publish the lists
    http settings   server, limits, request bodies, problem documents; ISSUER_ variables
    throttling mail rate limits; the outbox and its templates
    audit tokens cleanup            the audit trail; the three token formats; deletion of expired rows
    db keys passwords background    PostgreSQL; private keys; argon2; restarts of failed tasks
    errors context telemetry email_address   used everywhere

Only `http`, each `routes.py` and a few modules beside them import the web framework, and only `db` and the stores
import asyncpg; pyproject.toml lists them. The statements of a store are in the `.sql` file beside it.
"""
