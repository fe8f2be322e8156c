"""The verifier: responds to a gateway's auth subrequest from memory, with public keys alone.

`subrequest` parses requests and writes responses, `decision` verifies tokens, and `refresh` fetches key sets and
status lists in the background. The verifier holds nothing worth stealing and depends on nothing that can be down: no
database, no private key, no network call on the request path.
"""
