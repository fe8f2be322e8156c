"""Node's `jose`, `oauth4webapi` and `@sd-jwt/jwt-status-list` with a real issuer."""

from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support.client_tests import run_tests
from tests.support.issuer_process import IssuerProcess
from tests.support.machines import KEY, with_key, with_secret
from tests.support.programs import absent_if_unavailable, program
from tests.support.real_providers.install import with_npm_packages

AUDIENCE: Final = "https://orders.example"


def test_node_libraries_work_with_the_issuer(issuer: IssuerProcess) -> None:
    """Run all tests of `node/libraries.test.mjs` in one process."""
    node = program("node", "nodejs")
    with absent_if_unavailable():
        folder = with_npm_packages(Path(__file__).parent / "node")
    machine = with_secret(issuer, None, "orders:read orders:write", [AUDIENCE])
    key = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    given = {
        "issuer": issuer.url,
        "audience": AUDIENCE,
        "machine": {"id": machine.id, "secret": machine.secret},
        "keyed": {"id": with_key(issuer, "read").id, "key": key},
        "logins": [issuer.session() for _ in range(4)],
        "accessToken": machine.token(),
    }
    run_tests([node, "--test-reporter=spec", "libraries.test.mjs"], given, folder)
