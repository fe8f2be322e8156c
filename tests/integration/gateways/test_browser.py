"""The browser guide in a real browser, behind five gateways with TLS: only the application's pages get access.

Three pages attack while a user is logged in: of another site, of another subdomain, and of another port of the host.
The last two are the same site as the application, so the browser adds its cookies to their requests.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.browser import Attacker, browsing
from tests.support.browser_pages import ATTACK, TAB, VISIT, with_constants
from tests.support.certificates import HOST
from tests.support.gateways import running_gateway
from tests.support.guides import GUIDES, files_of
from tests.support.issuer_process import PASSWORD, IssuerProcess, running_issuer
from tests.support.plain_http import HTTP
from tests.support.postgres import Postgres, execute
from tests.support.processes import free_port, listens, running, wait_until
from tests.support.readme_diffs import apply_diffs
from tests.support.releases import with_other_clock
from tests.support.verifier_process import VerifierFolder, VerifierProcess

pytestmark = pytest.mark.timeout(300)

GUIDE: Final = (GUIDES / "browser-application.md").read_text(encoding="utf-8")
SITES: Final = ("nginx/site", "caddy/site", "haproxy/site", "traefik/site", "envoy/site")
ATTACKING_HOSTS: Final = ("foreign.test", "other.example.com", HOST)
BEHIND_SECONDS: Final = 50
"""How far the issuer's clock is behind: its access tokens, valid for a minute, expire some seconds after a login."""
_ROUTES: Final = {"/login": 200, "/token": 200, "/logout": 204}
_number = count()


@dataclass
class Stack:
    """The processes behind the gateways, which serve one after the other at `origin`."""

    folder: Path
    port: int
    attacker_port: int
    issuer: IssuerProcess
    verifier: VerifierProcess
    application_port: int
    counts: list[tuple[dict[str, Any], dict[str, float]]] = field(default_factory=list)

    @property
    def origin(self) -> str:
        return f"https://{HOST}:{self.port}"

    def count(self, report: dict[str, Any]) -> None:
        """Count, at each report, the changes that an attack must not cause, and the rejections."""
        metrics = "".join(service.admin("/metrics").text for service in (self.issuer, self.verifier))

        def total(labels: str) -> float:
            return sum(float(number) for number in re.findall(rf"_total{{[^}}]*{labels}}} ([\d.]+)", metrics))

        counts = {route: total(f'route="{route}",status="{status}"') for route, status in _ROUTES.items()}
        counts |= {f"{route} rejected": total(f'route="{route}",status="403"') for route in _ROUTES}
        counts["gateway rejected"] = total('reason="cross_origin"')
        self.counts.append((report, counts))

    def received(self) -> list[str]:
        """Return the requests that reached the application, from its log."""
        log = (self.folder / "application.log").read_text(encoding="utf-8")
        return re.findall(r'"((?:GET|POST|PUT|DELETE|OPTIONS|WebSocket) .*?)"', log)


@pytest.fixture(scope="module")
def stack(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("browser")
    port, attacker_port, application_port = (free_port() for _ in range(3))
    origin = f"https://{HOST}:{port}"
    (folder / "static").mkdir()
    for name, text in files_of(GUIDE).items():
        (folder / name).write_text(text, encoding="utf-8")
    written = re.search(r"policies\.toml <<END\n(.*?)^END$", GUIDE, re.DOTALL | re.MULTILINE)
    assert written
    uvicorn = [
        *("env", f"--chdir={folder}", sys.executable, "-m", "uvicorn", "app:app"),
        *("--port", str(application_port)),
    ]
    with ExitStack() as processes:
        issuer = processes.enter_context(
            running_issuer(
                postgres.migrated_database(),
                release=with_other_clock(-BEHIND_SECONDS),
                COOKIE_ORIGINS=origin,
                # Its pages may call the issuer, which gives them no cookies.
                CORS_ORIGINS=f"https://other.example.com:{attacker_port}",
                ACCESS_TOKEN_SECONDS="60",
                TRUSTED_PROXY_HOPS="1",
            )
        )
        verifier = processes.enter_context(
            VerifierFolder(folder).running(
                policies=written[1].replace("https://$HOST", origin),
                **issuer.verifier_settings,
                LEEWAY_SECONDS=0,
            )
        )
        processes.enter_context(
            running(uvicorn, folder / "application.log", ready=lambda: listens(application_port), seconds=60)
        )
        yield Stack(folder, port, attacker_port, issuer, verifier, application_port)


@dataclass(frozen=True)
class Visit:
    """Reports of the pages, requests that reached the application, counts around the attacks, and sessions.

    Of each session: its number of refreshes, and whether it is live.
    """

    report: dict[str, Any]
    received: list[str]
    before: dict[str, float]
    after: dict[str, float]
    sessions: list[tuple[int, bool]]
    sessions_of_mallory: list[tuple[int, bool]]


@pytest.fixture(scope="module", params=SITES)
def visit(request: pytest.FixtureRequest, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Visit:
    folder: Path = tmp_path_factory.mktemp("visit")
    number = next(_number)
    email, mallory = f"ada{number}@example.com", f"mallory{number}@example.com"
    stack.issuer.register(email)
    tokens = stack.issuer.session(mallory)
    planted = {f"__Host-{name}": tokens[name] for name in ("access_token", "refresh_token")}
    attacker = Attacker(stack.attacker_port, folder / "attacker", stack.count)
    attacker.cookies = [f"{name}={value}; Path=/; Secure; Domain=example.com" for name, value in planted.items()]
    stack.counts.clear()
    prepare = partial(apply_diffs, request.param, "Tokens in cookies")
    with (
        attacker.running(),
        running_gateway(
            request.param,
            folder,
            stack.verifier.port,
            stack.application_port,
            issuer_port=stack.issuer.port,
            prepare=prepare,
            port=stack.port,
        ),
    ):
        constants = {
            "TARGET": stack.origin,
            "REPORTS": f"https://foreign.test:{stack.attacker_port}",
            "ATTACKS": [f"https://{host}:{stack.attacker_port}" for host in ATTACKING_HOSTS],
            "PLANTED": planted,
            "EMAIL": email,
            "MALLORY": mallory,
            "PASSWORD": PASSWORD,
        }
        static = stack.folder / "static"
        (static / "visit.html").write_text(with_constants(VISIT, constants), encoding="utf-8")
        (static / "tab.html").write_text(TAB, encoding="utf-8")
        attacker.page = with_constants(ATTACK, constants)
        # Traefik listens before it has read its routes, and a browser does not load a page again by itself.
        page = f"https://127.0.0.1:{stack.port}/static/visit.html"
        host, sni = {"Host": f"{HOST}:{stack.port}"}, {"sni_hostname": HOST}
        wait_until(lambda: HTTP.get(page, headers=host, extensions=sni).status_code == 200, "the page is served")
        received = len(stack.received())
        first = f"https://other.example.com:{stack.attacker_port}/attack"
        with browsing(first, folder, [attacker.certificate, folder / "fullchain.pem"]):
            attacker.wait(folder / "chromium.log")
    attacks = [counts for report, counts in stack.counts if {"attacks", "attacked"} & report.keys()]
    # The first page only plants cookies.
    sessions = {name: _sessions(stack.issuer.database_url, name) for name in (email, mallory)}
    return Visit(
        attacker.reports, stack.received()[received:], attacks[2], attacks[-1], sessions[email], sessions[mallory]
    )


def _sessions(database_url: str, email: str) -> list[tuple[int, bool]]:
    rows = execute(
        database_url,
        "SELECT generation, ended_at IS NULL AS live FROM sessions JOIN users ON users.id = user_id WHERE email = $1",
        email,
    )
    return [(row["generation"], row["live"]) for row in rows]


def test_the_pages_work(visit: Visit) -> None:
    report = visit.report
    assert report.get("error") is None
    assert report["notes"] == ["by the page"]
    assert report["events"] == "1"
    assert report["websocket"] == '["by the page","by a socket"]'


def test_no_script_can_read_the_tokens(visit: Visit) -> None:
    assert visit.report["readable"] == ""


def test_a_page_of_another_host_plants_no_cookie(visit: Visit) -> None:
    # 400: there is no refresh token.
    assert visit.report["before"] == [401, 400]


def test_no_request_of_another_origin_reaches_the_application(visit: Visit) -> None:
    assert visit.report["attacked"] == len(ATTACKING_HOSTS) - 1
    assert [request for request in visit.received if "attack" in request] == []
    assert visit.report["notes_afterwards"] == ["by the page", "by a socket"]
    assert visit.after["gateway rejected"] > visit.before["gateway rejected"]


@pytest.mark.parametrize("route", _ROUTES)
def test_no_page_of_another_origin_logs_in_refreshes_or_logs_out(visit: Visit, route: str) -> None:
    assert visit.after[route] == visit.before[route]
    assert visit.after[f"{route} rejected"] > visit.before[f"{route} rejected"]
    assert visit.sessions_of_mallory == [(0, True)]
    assert visit.report["still"] == 200


def test_an_expired_access_token_is_refreshed(visit: Visit) -> None:
    assert visit.report["tabs"] == [200] * 5


def test_refreshes_of_five_tabs_at_once_keep_the_session(visit: Visit) -> None:
    assert visit.report["parallel"] == [200] * 5
    assert visit.report["refreshed"] == 200


def test_after_a_logout_the_page_is_rejected(visit: Visit) -> None:
    assert visit.report["after_logout"] == 401
    assert visit.report["refresh_after_logout"] == 400
    assert [live for _, live in visit.sessions] == [False]
