"""Two issuers with one database and one keys folder behind a real nginx; one is killed under load."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.integration.issuer.keys.test_key_rotation import verifier_of
from tests.support.issuer_process import PASSWORD, IssuerProcess, running_issuer
from tests.support.plain_http import HTTP, get_status
from tests.support.processes import free_port, running, wait_until
from tests.support.programs import program
from tests.support.releases import with_other_clock

CLIENTS = 6
EMAIL = "ann@example.com"
# Two lists of one second are equal to the byte, so a verifier that has one may get 304 from the other issuer.
LISTS_SERVED = [
    f'gatepass_issuer_http_requests_total{{method="GET",route="/status-lists/{{id}}",status="{status}"}}'
    for status in (200, 304)
]

# As one would balance issuers anywhere: the next one is asked where the first could not be reached, never where
# it may have acted already. At random, or of two requests in turn the same one would always go to the same issuer.
BALANCER = """\
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    upstream issuers {{ random; server 127.0.0.1:{first}; server 127.0.0.1:{second}; }}
    server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://issuers; }} }}
}}
"""


@contextmanager
def balancer(folder: Path, first: IssuerProcess, second: IssuerProcess) -> Iterator[str]:
    port, conf = free_port(), folder / "nginx.conf"
    conf.write_text(BALANCER.format(folder=folder, port=port, first=first.port, second=second.port), encoding="utf-8")
    url = f"http://127.0.0.1:{port}"
    command = [program("nginx"), "-p", str(folder), "-c", str(conf)]
    with running(command, folder / "nginx.log", ready=lambda: get_status(f"{url}/.well-known/jwks.json") == 200):
        yield url


@dataclass
class Logins:
    """Clients that log in without pause, each with one request at a time.

    Attributes:
        succeeded: responses of successful logins, with the time of their request.
        failed: times of other requests, with their status.
    """

    url: str
    succeeded: list[tuple[float, dict[str, str]]] = field(default_factory=list)
    failed: list[tuple[float, int]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator[None]:
        with ExitStack() as stack:
            for _ in range(CLIENTS):
                thread = threading.Thread(target=self._run)
                stack.callback(thread.join)
                thread.start()
            stack.callback(self.ended.set)
            yield

    def wait_for_more(self, count: int) -> None:
        enough = len(self.succeeded) + count
        wait_until(lambda: len(self.succeeded) >= enough, f"{count} more logins", 60)

    def _run(self) -> None:
        with httpx.Client(timeout=30) as client:
            while not self.ended.is_set():
                sent = time.monotonic()
                response = client.post(f"{self.url}/login", json={"email": EMAIL, "password": PASSWORD})
                if response.status_code == 200:
                    self.succeeded.append((sent, response.json()))
                else:
                    self.failed.append((sent, response.status_code))


def test_an_issuer_killed_under_load_fails_only_its_own_requests(database_url: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        one = stack.enter_context(running_issuer(database_url, PASSWORD_HASH_TIMEOUT_SECONDS="30"))
        other = stack.enter_context(
            running_issuer(database_url, one.keys_dir, URL=one.url, PASSWORD_HASH_TIMEOUT_SECONDS="30")
        )
        verifier = stack.enter_context(
            verifier_of(one, tmp_path / "verifier", JWKS_FILE=one.keys_dir / "public/jwks.json")
        )
        url = stack.enter_context(balancer(tmp_path, one, other))
        assert one.register(EMAIL).status_code == 201
        logins = Logins(url)
        with logins.running():
            logins.wait_for_more(2 * CLIENTS)
            other.process.send_signal(signal.SIGKILL)
            other.process.wait(10)
            gone = time.monotonic()
            logins.wait_for_more(4 * CLIENTS)

        assert [status for sent, status in logins.failed if sent > gone] == []
        assert len(logins.failed) <= CLIENTS
        refreshed = [one.refresh(tokens["refresh_token"]) for _, tokens in logins.succeeded]
        assert {response.status_code for response in refreshed} == {200}, "sessions of the killed one live on"
        accepted = [verifier.ask(token=tokens["access_token"].encode()).status for _, tokens in logins.succeeded]
        assert set(accepted) == {200}, "and so do its tokens"


@pytest.mark.parametrize("seconds", [45, -45])
def test_a_logout_reaches_verifiers_although_an_issuers_clock_differs(
    database_url: str, tmp_path: Path, seconds: int
) -> None:
    with ExitStack() as stack:
        one = stack.enter_context(running_issuer(database_url))
        release = with_other_clock(seconds)
        other = stack.enter_context(running_issuer(database_url, one.keys_dir, release=release, URL=one.url))
        url = stack.enter_context(balancer(tmp_path, other, one))
        verifier = stack.enter_context(
            verifier_of(
                one,
                tmp_path / "verifier",
                JWKS_FILE=one.keys_dir / "public/jwks.json",
                STATUS_LISTS=f"{url}/status-lists",
            )
        )
        token = one.token(EMAIL)

        def passes() -> int:
            return verifier.ask(token=token.encode()).status

        def other_served() -> bool:
            # The balancer takes turns: without requests between a verifier's two, one issuer may always get the list.
            HTTP.get(f"{url}/status-lists")
            return any(other.metric(name) > 0 for name in LISTS_SERVED)

        wait_until(lambda: passes() == 200, "the verifier knows the list")
        wait_until(other_served, "the verifier has the list of the other issuer", 60)
        other.process.send_signal(signal.SIGKILL)
        other.process.wait(10)
        one.request("POST", "/logout", token)
        # Far over the 3 s that are promised, and far below the 45 s by which the clocks differ.
        wait_until(lambda: passes() == 401, "the verifier rejects it")
