"""An issuer that publishes its key set and status lists over HTTP, and can be faulty."""

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from shared.status_list import encode, pack
from tests.support.jwks_server import Behaviour, Exchange, JwksServer, by_path, response, serves_with_etag
from tests.support.token_forge import Forge

JWKS: Final = "/.well-known/jwks.json"
AGGREGATION: Final = "/status-lists"


@dataclass
class StatusIssuer:
    """Publishes lists of `size` bits. `routes`, the behaviour of each path, may be changed at any time.

    Attributes:
        revoked: list number → the bits that are set.
        issued_at: `iat` of the lists; the current time if None.
    """

    forge: Forge
    server: JwksServer
    routes: dict[str, Behaviour]
    size: int = 1024
    revoked: dict[int, set[int]] = field(default_factory=dict)
    issued_at: float | None = None

    @property
    def aggregation_url(self) -> str:
        return self.server.url_of(AGGREGATION)

    @property
    def jwks_url(self) -> str:
        return self.server.url_of(JWKS)

    def uri(self, number: int = 1) -> str:
        """Return the URI of a list in tokens, which has the issuer's public name instead of its loopback port."""
        return f"{self.forge.issuer}{AGGREGATION}/{number}"

    def path(self, number: int = 1) -> str:
        return f"{AGGREGATION}/{number}"

    def status(self, idx: int, number: int = 1) -> dict[str, Any]:
        """Return the `status` claim for an index."""
        return {"status_list": {"uri": self.uri(number), "idx": idx}}

    def token(self, idx: int, number: int = 1, **changes: Any) -> bytes:
        """Return a new access token with this status list index."""
        changes.setdefault("jti", f"{idx}-{time.monotonic_ns()}")
        return self.forge.token(time.time(), status=self.status(idx, number), **changes)

    def list_token(self, number: int = 1, **changes: Any) -> bytes:
        """Return the signed list, with changes as in `Forge.list_claims`."""
        lst = encode(pack(self.revoked.get(number, ()), self.size))
        now = time.time() if self.issued_at is None else self.issued_at
        return self.forge.status_list(now, self.uri(number), lst, **changes)

    def revoke(self, idx: int, number: int = 1) -> None:
        """Set a bit and publish the list with an `iat` that is not before those of earlier lists."""
        self.revoked.setdefault(number, set()).add(idx)
        self.publish(number)

    def publish(self, number: int = 1, **changes: Any) -> None:
        """Serve a list as it is now."""
        token = self.list_token(number, **changes)
        self.routes[self.path(number)] = serves_with_etag(token, f'"{hashlib.sha256(token).hexdigest()}"')

    def name(self, *numbers: int) -> None:
        """Publish the aggregation of these lists."""
        document = json.dumps({"status_lists": [self.uri(number) for number in numbers]}).encode()
        self.routes[AGGREGATION] = serves_with_etag(document, f'"{hashlib.sha256(document).hexdigest()}"')


def down(exchange: Exchange) -> None:
    """Close the connection without a response."""
    del exchange


def unavailable(exchange: Exchange) -> None:
    """Respond 503 to every request."""
    exchange.socket.sendall(response(b"", status="503 Service Unavailable"))


@contextmanager
def running_status_issuer(forge: Forge, lists: tuple[int, ...] = (1,)) -> Iterator[StatusIssuer]:
    """Yield an issuer with a key set, these lists, and nothing revoked."""
    routes: dict[str, Behaviour] = {JWKS: serves_with_etag(forge.jwks, '"keys"', "Cache-Control: max-age=10")}
    with JwksServer(by_path(routes)).running() as server:
        issuer = StatusIssuer(forge, server, routes)
        issuer.name(*lists)
        for number in lists:
            issuer.publish(number)
        yield issuer
