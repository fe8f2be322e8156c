"""An access token for one service is rejected by another, and by the issuer.

Two services, each behind a real gateway with its own verifier, and one issuer with an application that uses both.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.gateways import ask, running_application, running_gateway
from tests.support.issuer_process import PASSWORD, IssuerProcess, running_issuer
from tests.support.machines import public_client
from tests.support.plain_http import HTTP
from tests.support.postgres import Postgres, execute
from tests.support.verifier_process import VerifierFolder

SHOP: Final = "https://shop.example"
STOCK: Final = "https://stock.example"
EMAIL: Final = "ann@example.com"
POLICIES: Final = """
[policies.default]
scopes_all = ["read"]

[policies.admin]
scopes_all = ["admin"]
"""


@dataclass(frozen=True)
class Site:
    """The issuer, and the port of each service's gateway by audience."""

    issuer: IssuerProcess
    gateways: dict[str, int]

    def log_in(self, **body: Any) -> dict[str, Any]:
        credentials = {"email": EMAIL, "password": PASSWORD, "client_id": "browser"}
        response = HTTP.post(f"{self.issuer.url}/login", json=credentials | body)
        assert response.status_code == 200, response.text
        tokens: dict[str, Any] = response.json()
        return tokens

    def refresh(self, refresh_token: str, **form: str) -> dict[str, Any]:
        response = self.issuer.refresh(refresh_token, client_id="browser", **form)
        assert response.status_code == 200, response.text
        tokens: dict[str, Any] = response.json()
        return tokens

    def statuses(self, tokens: dict[str, Any], path: str = "/orders") -> dict[str, int]:
        """Return the status of each service."""
        token = tokens["access_token"].encode()
        return {audience: ask(port, path, token=token).status for audience, port in self.gateways.items()}


@pytest.fixture(scope="module")
def site(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ExitStack() as stack:
        issuer = stack.enter_context(running_issuer(postgres.migrated_database()))
        application = stack.enter_context(running_application(tmp_path_factory.mktemp("application")))
        gateways = {}
        for audience, program in ((SHOP, "nginx"), (STOCK, "envoy")):
            folder: Path = tmp_path_factory.mktemp(program)
            verifier = VerifierFolder(folder).running(
                policies=POLICIES,
                ISSUER=issuer.url,
                AUDIENCE=audience,
                JWKS_FILE=None,
                JWKS_URL=f"{issuer.url}/.well-known/jwks.json",
            )
            port = stack.enter_context(verifier).port
            gateways[audience] = stack.enter_context(running_gateway(program, folder, port, application))
        public_client(issuer, "browser", "read write admin", [SHOP, STOCK])
        issuer.register(EMAIL)
        execute(issuer.database_url, "UPDATE users SET scope = 'read write admin'")
        yield Site(issuer, gateways)


def test_a_token_is_accepted_by_its_service_alone(site: Site) -> None:
    first = site.log_in()
    assert site.statuses(first) == {SHOP: 200, STOCK: 401}
    second = site.refresh(first["refresh_token"], resource=STOCK)
    assert site.statuses(second) == {SHOP: 401, STOCK: 200}
    third = site.refresh(second["refresh_token"], resource=SHOP)
    assert site.statuses(third) == {SHOP: 200, STOCK: 401}


def test_a_narrowed_token_has_only_its_own_scope(site: Site) -> None:
    tokens = site.log_in(resource=[SHOP, STOCK])
    assert site.statuses(tokens, "/admin/") == {SHOP: 200, STOCK: 401}
    narrowed = site.refresh(tokens["refresh_token"], scope="read")
    assert (site.statuses(narrowed), site.statuses(narrowed, "/admin/")) == (
        {SHOP: 200, STOCK: 401},
        {SHOP: 403, STOCK: 401},
    )
    without = site.refresh(narrowed["refresh_token"], scope="write", resource=STOCK)
    assert site.statuses(without) == {SHOP: 401, STOCK: 403}
