"""Fixtures: the providers, each started once for a module."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.programs import absent_if_unavailable
from tests.support.real_providers.hydra import Hydra, running_hydra
from tests.support.real_providers.keycloak import Keycloak, running_keycloak
from tests.support.real_providers.oauth_client import receiving_logouts
from tests.support.real_providers.oidc_provider import OidcProvider, running_oidc_provider


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("providers")


@pytest.fixture(scope="module")
def keycloak(folder: Path) -> Iterator[Keycloak]:
    with absent_if_unavailable(), receiving_logouts() as logouts, running_keycloak(folder, logouts) as provider:
        yield provider


@pytest.fixture(scope="module")
def oidc_provider(folder: Path) -> Iterator[OidcProvider]:
    with absent_if_unavailable(), receiving_logouts() as logouts, running_oidc_provider(folder, logouts) as provider:
        yield provider


@pytest.fixture(scope="module")
def hydra(folder: Path) -> Iterator[Hydra]:
    with absent_if_unavailable(), receiving_logouts() as logouts, running_hydra(folder, logouts) as provider:
        yield provider
