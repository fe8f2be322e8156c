"""Signing keys and MAC secrets: their files, rotation and the key set of a running issuer.

`models` and `rotation` are pure: records, states and transitions. `manager` performs the operator's commands and
the due transitions through `writes`, whose order survives a crash at any point. `store` alone opens private keys.
`watcher` reloads the directory while an issuer runs; `rotation_task` advances it.
"""
