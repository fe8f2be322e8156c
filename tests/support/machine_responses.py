"""Requests that cause each documented response to a registered client."""

from collections.abc import Callable
from typing import Final

import httpx

from tests.support.machines import Machine
from tests.support.plain_http import HTTP

Key = tuple[str, str, str]
METADATA: Final = "/.well-known/oauth-authorization-server"


def _from_unknown_client(path: str) -> Callable[[Machine], httpx.Response]:
    form = {"token": "x", "grant_type": "client_credentials"}
    return lambda machine: HTTP.post(machine.issuer.url + path, data=form, auth=("nobody", "gpc_x"), timeout=30)


def _metadata(**fields: str) -> Callable[[Machine], httpx.Response]:
    return lambda machine: HTTP.get(machine.issuer.url + METADATA, headers=fields, timeout=30)


SERVED: Final[dict[Key, Callable[[Machine], httpx.Response]]] = {
    ("/token", "post", "401"): _from_unknown_client("/token"),
    ("/revoke", "post", "200"): lambda machine: machine.post("/revoke", token=machine.token()),
    ("/revoke", "post", "400"): lambda machine: machine.post("/revoke"),
    ("/revoke", "post", "401"): _from_unknown_client("/revoke"),
    ("/introspect", "post", "200"): lambda machine: machine.post("/introspect", token=machine.token()),
    ("/introspect", "post", "400"): lambda machine: machine.post("/introspect"),
    ("/introspect", "post", "401"): _from_unknown_client("/introspect"),
    (METADATA, "get", "200"): _metadata(),
    (METADATA, "get", "304"): _metadata(**{"If-None-Match": "*"}),
}

AWAY: Final[dict[Key, Callable[[Machine], httpx.Response]]] = {
    ("/revoke", "post", "503"): _from_unknown_client("/revoke"),
    ("/introspect", "post", "503"): _from_unknown_client("/introspect"),
}
