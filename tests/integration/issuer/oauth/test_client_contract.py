"""Responses to clients are as documented."""

import pytest

from tests.integration.issuer.http.test_contract import check
from tests.support.issuer_process import IssuerProcess, running_issuer
from tests.support.machine_responses import AWAY, SERVED
from tests.support.machines import Machine, with_secret
from tests.support.openapi import contract
from tests.support.plain_http import HTTP
from tests.support.processes import free_port


def test_every_documented_response_to_a_client_occurs(issuer: IssuerProcess) -> None:
    machine = with_secret(issuer, scope="read")
    for (path, method, status), ask in SERVED.items():
        check(contract(), path, method, status, ask(machine))


def test_client_tokens_and_their_introspection_are_as_documented(issuer: IssuerProcess) -> None:
    without_scope = with_secret(issuer)
    check(contract(), "/token", "post", "200", without_scope.ask())
    check(contract(), "/introspect", "post", "200", without_scope.post("/introspect", token="x"))


def test_every_documented_outage_response_to_a_client_occurs(tmp_path_factory: pytest.TempPathFactory) -> None:
    nowhere = f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"
    with running_issuer(nowhere, tmp_path_factory.mktemp("no-keys"), ready=503) as issuer:
        for (path, method, status), ask in AWAY.items():
            check(contract(), path, method, status, ask(Machine(issuer, "nobody")))


def test_options_and_other_methods_get_the_usual_responses(issuer: IssuerProcess) -> None:
    for path in ("/token", "/revoke", "/introspect"):
        assert HTTP.options(issuer.url + path).headers["allow"] == "POST, OPTIONS"
        assert HTTP.put(issuer.url + path).status_code == 405
