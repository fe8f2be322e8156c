"""Java's Nimbus, which Spring Security uses, verifying our access tokens."""

from pathlib import Path
from typing import Final

from tests.support.issuer_process import IssuerProcess
from tests.support.machines import with_secret
from tests.support.processes import finished
from tests.support.programs import absent_if_unavailable, program
from tests.support.real_providers.install import nimbus

AUDIENCE: Final = "https://orders.example"


def test_nimbus_accepts_an_access_token_and_rejects_others(issuer: IssuerProcess) -> None:
    java = program("java", "default-jdk-headless")
    with absent_if_unavailable():
        archive = nimbus()
    machine = with_secret(issuer, None, "orders:read orders:write", [AUDIENCE, "files"])
    token = machine.token()
    signed, _, signature = token.rpartition(".")
    tokens = [token, f"{signed}.{'A' * len(signature)}", machine.token(resource="files")]
    command = [java, "-cp", str(archive), str(Path(__file__).parent / "java/Verify.java"), issuer.url, AUDIENCE]
    done = finished(command, stdin="\n".join(tokens))
    assert done.returncode == 0, done.stderr
    accepted, *others = done.stdout.splitlines()
    assert '"scope":"orders:read orders:write"' in accepted
    assert others == ["rejected", "rejected"]
