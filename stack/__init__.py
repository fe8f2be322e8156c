"""Everything on one machine with one command: PostgreSQL, issuer, verifier, a real gateway, an application.

Starts the processes, watches them and stops them. Imports neither issuer nor verifier: it knows them as
`python -m issuer` and `python -m verifier`, the way any other operator does.
"""
