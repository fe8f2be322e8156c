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

CLAIM_HEADER_PREFIX: Final = "X-Auth-Claim-"
"""Prefix of the names of additional identity headers, which the policy file chooses."""
CLAIM_HEADER_NAME: Final = rf"{CLAIM_HEADER_PREFIX}[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*"
"""A regular expression: one spelling for gateways and applications that read `_` and `.` as `-`."""
