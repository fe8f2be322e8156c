"""Only what issuer and verifier must agree on byte for byte, and the two habits both keep.

The agreement: the token profile (`access_token`), its claims (`claims`), the form of signed tokens (`jws`), the key
set (`jwks`), one strict reading of JSON (`strict_json`) and of base64url (`base64url`). The habits: settings from the
environment (`settings`), logs as JSON lines (`logs`). This package imports neither side, opens no socket and no
private key.
"""
