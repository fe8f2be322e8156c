"""An identity provider that publishes metadata and a key set, and faults of its metadata."""

import contextlib
import json
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from tests.support.hostile_sources import hostile_responses
from tests.support.jwks_server import Behaviour, JwksServer, by_path, serves
from tests.support.token_forge import Forge

OPENID: Final = "/tenant/.well-known/openid-configuration"
OAUTH: Final = "/.well-known/oauth-authorization-server/tenant"


def metadata(issuer: str, jwks_uri: str, /, **members: Any) -> dict[str, Any]:
    """Return the metadata of an identity provider. A member `...` is left out."""
    document = {
        "issuer": issuer,
        "jwks_uri": jwks_uri,
        "authorization_endpoint": f"{issuer}/authorize",
        "response_types_supported": ["code"],
        "mtls_endpoint_aliases": {"token_endpoint": f"{issuer}/mtls/token"},
        "claims_parameter_supported": False,
        **members,
    }
    return {name: value for name, value in document.items() if value is not ...}


@dataclass
class Provider:
    """An identity provider. Tests may change its pages at any time."""

    server: JwksServer
    forge: Forge
    pages: dict[str, Behaviour] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.server.behaviour = by_path(self.pages)
        self.pages["/keys"] = serves(self.forge.jwks)
        self.describe()

    def describe(self, path: str = OPENID, **members: Any) -> None:
        """Publish metadata."""
        document = metadata(self.forge.issuer, self.server.url_of("/keys"), **members)
        self.pages[path] = serves(json.dumps(document).encode())

    @property
    def discovery(self) -> str:
        return self.server.url_of(OPENID)

    @property
    def table(self) -> str:
        return f'[issuers."{self.forge.issuer}"]\ndiscovery = "{self.discovery}"\n'

    def token(self) -> bytes:
        return self.forge.token(time.time())


@contextlib.contextmanager
def running_provider(forge: Forge | None = None, tls: ssl.SSLContext | None = None) -> Iterator[Provider]:
    """Yield an identity provider on a loopback port. Its issuer identifier is its URL by default."""
    with JwksServer(lambda _: None, tls).running() as server:
        yield Provider(server, forge or Forge(server.url_of("/tenant")))


def spoilt_metadata(provider: Provider) -> dict[str, bytes]:
    """Return invalid metadata, by name."""
    name, uri = provider.forge.issuer, provider.server.url_of("/keys")
    valid = json.dumps(metadata(name, uri)).encode()

    def changed(**members: Any) -> bytes:
        return json.dumps(metadata(name, uri, **members)).encode()

    issuers = [
        f"{name}/",
        name[:-1],
        name.upper(),
        f"{name}?",
        f"{name}#",
        "https://another.example",
        "\u00e4\n\x1b[2J",
        "",
        None,
        1,
    ]
    uris = [
        "http://idp.example/keys",
        "http://169.254.169.254/latest",
        "ftp://idp.example/keys",
        "file:///etc/passwd",
        "data:application/json,{}",
        "/keys",
        "//idp.example/keys",
        "https://user:password@idp.example/keys",
        "https://idp.example/keys#x",
        "https://idp.example:99999/keys",
        "https://idp.example/k\u00e4ys",
        "https://idp.example/\r\nX: y",
        "https://idp.example/" + "x" * 3000,
        "",
        None,
        1,
    ]
    return {
        **{f"issuer {number}": changed(issuer=value) for number, value in enumerate([*issuers, [name]])},
        **{f"jwks_uri {value!r:.60}": changed(jwks_uri=value) for value in uris},
        "jwks_uri is a list": changed(jwks_uri=[uri]),
        "no issuer": changed(issuer=...),
        "no jwks_uri": changed(jwks_uri=...),
        "a key set": provider.forge.jwks,
        "two issuers": valid[:-1] + b',"issuer":' + json.dumps(name).encode() + b"}",
        "NaN": valid[:-1] + b',"x":NaN}',
        "nested deeply": valid[:-1] + b',"x":' + b"[" * 500 + b"]" * 500 + b"}",
        "nested without end": b'{"issuer":' + b"[" * 50_000,
        "huge": valid + b" " * 300_000,
        "a list": b"[" + valid + b"]",
        "twice in a row": valid * 2,
        "half of it": valid[: len(valid) // 2],
        "a byte order mark": b"\xef\xbb\xbf" + valid,
        "UTF-16": valid.decode().encode("utf-16"),
        "an HTML page": b"<!doctype html><title>503</title>",
        "empty": b"",
    }


def metadata_faults(provider: Provider) -> dict[str, Behaviour]:
    """Return the faults in the delivery of valid metadata, by name."""
    valid = json.dumps(metadata(provider.forge.issuer, provider.server.url_of("/keys"))).encode()
    return {
        **hostile_responses(valid),
        **{f"200 with {name}": serves(document) for name, document in spoilt_metadata(provider).items()},
    }
