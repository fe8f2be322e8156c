"""The headers that tell an application who is calling: always all of them, empty where a claim is absent.

A gateway overwrites only what a response contains, so a missing header would let a client's own through.
"""

from typing import Final

IDENTITY_HEADERS: Final = (
    "X-Auth-Issuer",
    "X-Auth-Subject",
    "X-Auth-Client",
    "X-Auth-Scope",
    "X-Auth-Roles",
    "X-Auth-Session",
    "X-Auth-Token",
    "X-Auth-Expires",
)
