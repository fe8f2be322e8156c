"""`python -m doctor URL`: tests a gateway from outside, as an attacker would, and reports vulnerabilities.

Probes (`probes/`) are data: bytes to send and a pure check of the response. `runner` orders them, `findings` explains
each issue and its fix, and `raw_client` does all I/O. The doctor imports neither the verifier nor the issuer.
"""
