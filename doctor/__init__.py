"""`python -m doctor URL`: tests a gateway from outside, as an attacker would, and reports what leaks.

The probes are data: bytes to send, and a pure judgement of the response (`unauthenticated`, `spoofing`,
`path_confusion`, `bypass`, `request_smuggling`). `runner` puts them in order, `findings` explains each finding and
its fix, `raw_client` alone does I/O. It is an HTTP client: it imports neither the verifier nor the issuer.
"""
