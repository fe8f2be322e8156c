"""Signing keys and MAC secrets: their files, their life, and the ring of a running issuer.

`ring` and `lifecycle` are pure: states and how they follow one another. `folder` does what an operator or a tick
asks for, by `writes`, which survives a crash anywhere. `keyring` opens private keys, and nothing else does.
`live` follows the folder while an issuer runs, `ticker` moves it on.
"""
