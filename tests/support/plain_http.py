"""Requests to the processes of these tests by HTTP without TLS."""

from typing import Final

import httpx

HTTP: Final = httpx.Client(verify=False, limits=httpx.Limits(max_keepalive_connections=0))
"""Like `httpx.get`, which would read the machine's certificates for each request: 20 ms, most of its time.

Each request has its own connection, so that no test depends on another.
"""


def visible(response: httpx.Response) -> tuple[int, bytes, list[tuple[str, str]]]:
    """Return everything that a client sees, without the two fields that differ every time."""
    fields = [(name, value) for name, value in response.headers.items() if name not in {"date", "x-request-id"}]
    return response.status_code, response.content, fields
