"""One issuer for all clients that a process of pytest tests."""

from collections.abc import Iterator

import pytest

from tests.support.issuer_process import IssuerProcess, running_issuer
from tests.support.postgres import Postgres


@pytest.fixture(scope="package")
def issuer(postgres: Postgres) -> Iterator[IssuerProcess]:
    with running_issuer(postgres.migrated_database()) as process:
        yield process
