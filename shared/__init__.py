"""Code that issuer and verifier share: the form of tokens, key sets and status lists, settings and logs.

Formats: the token profile (`access_token`), its claims (`claims`), the form of signed tokens (`jws`), their
signatures (`signatures`, `ed25519`), the key set (`jwks`), status lists (`status_list`), identity headers
(`identity_headers`), strict JSON (`strict_json`) and base64url (`base64url`). For browsers: cookies (`cookies`) and
the same-origin rule (`same_origin`). Basics: settings from the environment (`settings`), logs as JSON lines
(`logs`), metrics (`metrics`), request and trace ids (`trace_context`), accepting connections (`acceptor`), sockets
from a service manager (`systemd`), command lines (`command_line`) and the version (`version`). This package imports
neither the issuer nor the verifier, and opens no private key.
"""
