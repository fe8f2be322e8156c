"""Private keys that all tests share."""

from collections.abc import Iterator
from itertools import cycle

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from issuer.keys import manager as key_management
from issuer.keys import store as key_files
from issuer.keys.store import new_private
from tests.support.signing_keys import load_key


@pytest.fixture(scope="session")
def private_keys() -> Iterator[RSAPrivateKey]:
    """Return more keys than a test creates in one key directory, in a cycle."""
    return cycle([new_private() for _ in range(12)])


@pytest.fixture(autouse=True)
def _created_and_opened_once(private_keys: Iterator[RSAPrivateKey], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_management, "new_private", lambda: next(private_keys))
    monkeypatch.setattr(key_files, "load_pem_private_key", load_key)
