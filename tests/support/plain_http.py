"""Requests to the processes of these tests, which all speak HTTP without TLS."""

from typing import Final

import httpx

HTTP: Final = httpx.Client(verify=False, limits=httpx.Limits(max_keepalive_connections=0))
"""As `httpx.get` and its kin, which read the machine's certificates anew for each request: 20 ms, most of it all.

Each request has a connection of its own as with them, so that no test meets what another left behind.
"""
