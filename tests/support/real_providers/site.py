"""A verifier that accepts a provider's tokens, and real gateways between it and the sample application."""

import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support.gateways import Response, ask, running_application, running_gateway
from tests.support.real_providers.oauth_client import Provider
from tests.support.verifier_process import VerifierFolder, VerifierProcess, verifier_command

GATEWAYS: Final = ("nginx", "envoy")

EVERYTHING: Final = "/admin/"
"""A path whose policy, `admin`, should accept every audience of the provider."""


@dataclass(frozen=True)
class Site:
    """Gateways with the configurations of `deploy/gateways/`, and the verifier that they ask."""

    verifier: VerifierProcess
    ports: dict[str, int]

    def ask(self, gateway: str, token: str, path: str = "/") -> Response:
        """Send a request with `token` through the gateway of that name."""
        return ask(self.ports[gateway], path, token=token.encode())

    def identity(self, gateway: str, token: str) -> dict[str, str]:
        """Return the identity headers that the application got; AssertionError if it got none."""
        return self.ask(gateway, token).identity

    def rejection(self, gateway: str, token: str, path: str = EVERYTHING) -> tuple[int, str]:
        """Return the status of the gateway's response, and the reason that the verifier counted."""
        before = self._decisions()
        status = self.ask(gateway, token, path).status
        reasons = [reason for reason, count in self._decisions().items() if count > before.get(reason, 0)]
        assert len(reasons) == 1, f"the verifier was asked for {reasons}"
        return status, reasons[0]

    def _decisions(self) -> dict[str, float]:
        counts: dict[str, float] = {}
        for labels, count in self.verifier.samples("decisions_total"):
            counts[labels["reason"]] = counts.get(labels["reason"], 0) + count
        return counts


def discovered(provider: Provider) -> Any:
    """Return the entry of the policy file that `discover` prints for a provider."""
    done = verifier_command("discover", provider.issuer)
    assert (done.returncode, done.stderr) == (0, "")
    ((issuer, entry),) = tomllib.loads(done.stdout)["issuers"].items()
    assert issuer == provider.issuer
    return entry


@contextmanager
def running_site(folder: Path, policies: str) -> Iterator[Site]:
    """Yield a verifier with these policies alone, and every gateway of `GATEWAYS`."""
    with ExitStack() as running:
        verifier = running.enter_context(
            VerifierFolder(folder).running(policies=policies, ISSUER=None, JWKS_FILE=None)
        )
        application = running.enter_context(running_application(folder))
        ports = {}
        for name in GATEWAYS:
            (folder / name).mkdir()
            ports[name] = running.enter_context(running_gateway(name, folder / name, verifier.port, application))
        yield Site(verifier, ports)
