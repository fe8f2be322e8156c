"""Only what issuer and verifier must agree on byte for byte, and the three habits both keep.

The agreement: the token profile (`access_token`), its claims (`claims`), the form of signed tokens (`jws`), the key
set (`jwks`), one strict reading of JSON (`strict_json`) and of base64url (`base64url`). The habits: settings from the
environment (`settings`), logs as JSON lines (`logs`), sockets from a service manager (`systemd`). This package
imports neither side, connects to nothing but a service manager and opens no private key.
"""
