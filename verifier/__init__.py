"""The verifier: answers a gateway's auth subrequest from memory, with public keys alone.

Bytes come in at `protocol`, are decided in `decider` by `verification`, and leave as `answers`. It holds
nothing worth stealing and depends on nothing that can be down: no database, no private key, no network call
on the request path.
"""
