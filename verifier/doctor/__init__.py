"""`python -m verifier doctor URL`: looks at a gateway from outside, as an attacker would, and says what leaked.

The probes are data: bytes to send, and a pure judgement of what came back (`refusals`, `spoofing`, `paths`,
`ambiguity`). `examination` puts them in order, `causes` says why each finding matters and what to change, `wire`
alone does I/O. Nothing here decides about tokens, and nothing that decides imports any of it.
"""
