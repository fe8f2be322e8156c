"""Requests to the processes of these tests by HTTP without TLS."""

from typing import Final

import httpx

HTTP: Final = httpx.Client(verify=False, timeout=30, limits=httpx.Limits(max_keepalive_connections=0))
"""Faster than `httpx.get`, which reads the machine's certificates for each request (20 ms).

Each request has its own connection, so that no test depends on another. A response may take long on a busy machine.
"""


def get_status(url: str, **headers: str) -> int:
    """Return the status of a GET; 0 without a response."""
    try:
        return HTTP.get(url, headers=headers, timeout=5).status_code
    except httpx.TransportError:
        return 0


def visible(response: httpx.Response) -> tuple[int, bytes, list[tuple[str, str]]]:
    """Return the status, fields and body of a response, without the two fields that always differ."""
    fields = [(name, value) for name, value in response.headers.items() if name not in {"date", "x-request-id"}]
    return response.status_code, response.content, fields
