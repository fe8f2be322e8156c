"""One issuer and a verifier of its tokens, after some requests of each kind."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.issuer_process import IssuerProcess, running_issuer
from tests.support.postgres import Postgres
from tests.support.verifier_process import VerifierFolder, VerifierProcess


@dataclass(frozen=True)
class Site:
    """Both processes."""

    issuer: IssuerProcess
    verifier: VerifierProcess

    def use(self) -> None:
        """Send logins that succeed and fail, a refresh, and requests that are accepted and rejected."""
        self.issuer.register("ada@example.com")
        login = self.issuer.login("ada@example.com").json()
        self.issuer.login("ada@example.com", "not her password at all")
        assert self.issuer.refresh(login["refresh_token"]).status_code == 200
        token = login["access_token"].encode()
        assert [self.verifier.ask(token=token).status for _ in range(3)] == [200] * 3
        assert self.verifier.ask(token=token[:-4] + b"AAAA").status == 401


@pytest.fixture(scope="package")
def site(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("verifier")
    mail = tmp_path_factory.mktemp("mail").as_uri()
    with (
        running_issuer(postgres.migrated_database(), MAIL_URL=mail, MAIL_FROM="gatepass@example.com") as issuer,
        VerifierFolder(folder).running(**issuer.verifier_settings) as verifier,
    ):
        site = Site(issuer, verifier)
        site.use()
        yield site
