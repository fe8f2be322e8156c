"""The headers with the identity for the application: always all of them, empty where a claim is absent.

A gateway overwrites only headers that the response contains. If one were missing, a header of the same name from the
client would reach the application.
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
"""A regular expression without `_` and `.`: some gateways and applications read them as `-`."""
