"""The one-machine stack: PostgreSQL, issuer, verifier, a real gateway and a sample application, by one command.

Starts, supervises and stops the processes. Imports neither issuer nor verifier: like any operator, it runs
`python -m issuer` and `python -m verifier`.
"""
