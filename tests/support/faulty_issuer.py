"""A proxy in front of a real issuer that fails the first attempt of every request, like an unreliable network."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from tests.support.http_listener import Handler, serving
from tests.support.plain_http import HTTP

LOST: Final = 0
"""The status of a response that was cut off after the issuer had processed the request."""

RETRY_AFTER_SECONDS: Final = 1
_FIRST_ATTEMPT: Final = {"/login": 503, "/token": LOST, "/revoke": 429, "/me": 503}
_PASSED_ON: Final = ("Authorization", "Content-Type")
_RETURNED: Final = ("Content-Type", "Retry-After", "WWW-Authenticate")


@dataclass
class FaultyIssuer:
    """The proxy.

    Attributes:
        url: which clients use as the URL of the issuer.
        seen: path and status of each request, in the order of the responses.
    """

    url: str
    issuer_url: str
    seen: list[tuple[str, int]] = field(default_factory=list)
    _first_seen: dict[tuple[str, bytes, str], float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def statuses(self, path: str) -> list[int]:
        """Return the statuses of all responses to requests of this path."""
        return [status for seen, status in self.seen if seen == path]

    def fault(self, path: str, body: bytes, authorization: str) -> int | None:
        """Return the status with which the request fails; None when it does not.

        503 and 429 stay until the announced time is over.
        """
        with self._lock:
            first = self._first_seen.setdefault((path, body, authorization), now := time.monotonic())
        fault = _FIRST_ATTEMPT.get(path)
        if fault == LOST:
            return LOST if first == now else None
        return fault if now - first < RETRY_AFTER_SECONDS else None


@contextmanager
def faulty_issuer(issuer_url: str) -> Iterator[FaultyIssuer]:
    """Run the proxy on a free port."""

    class Proxy(Handler):
        def on_request(self) -> None:
            body = self.body()
            fault = proxy.fault(self.path, body, self.headers.get("Authorization", ""))
            if fault in {429, 503}:
                proxy.seen.append((self.path, fault))
                self.respond(fault, ("Retry-After", str(RETRY_AFTER_SECONDS)))
                return
            fields = {name: value for name in _PASSED_ON if (value := self.headers.get(name))}
            response = HTTP.request(self.command, issuer_url + self.path, content=body, headers=fields)
            proxy.seen.append((self.path, LOST if fault == LOST else response.status_code))
            if fault != LOST:
                returned = [(name, value) for name in _RETURNED if (value := response.headers.get(name))]
                self.respond(response.status_code, *returned, body=response.content)

    with serving(Proxy) as url:
        proxy = FaultyIssuer(url, issuer_url)
        yield proxy
