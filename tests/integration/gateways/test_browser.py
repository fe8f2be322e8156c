"""A real browser, through real gateways: only pages of the application's own origin get through with the cookie.

Chromium counts http://localhost as secure: it accepts `Secure` cookies there and sends Fetch Metadata.
"""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Any, Final

import pytest

from tests.support.browser_application import BrowserApplication
from tests.support.gateways import Verifier, running_gateway
from tests.support.processes import free_port
from tests.support.programs import found, program
from tests.support.readme_diffs import apply_diffs

COOKIE: Final = "__Host-access"
GATEWAYS: Final = ("nginx", "envoy", "haproxy", "caddy")
"""The page itself has a policy for anonymous requests. Traefik checks `default` before it."""
_SECONDS: Final = 60.0

PAGE: Final = """\
<!doctype html><title>application</title><body><script>
const status = async (path, options) => (await fetch(path, options)).status;
const message = (source) => new Promise((done) => {
  source.onmessage = (event) => done(event.data);
  source.onerror = () => done("error");
});
const attacks = () => new Promise((done) => {
  let finished = 0;
  window.onmessage = () => { finished += 1; if (finished === 2) done(finished); };
  for (const url of ATTACKS) {
    const frame = document.createElement("iframe");
    frame.src = url;
    document.body.append(frame);
  }
});
(async () => {
  const report = {
    readable: document.cookie,
    get: await status("/data"),
    post: await status("/data", { method: "POST" }),
    events: await message(new EventSource("/events")),
    websocket: await message(new WebSocket(`ws://${location.host}/websocket`)),
    attacks: await attacks(),
  };
  await fetch("/admin/logout");
  report.afterwards = await status("/data");
  await fetch("/admin/report", { method: "POST", body: JSON.stringify(report) });
})();
</script>
"""

ATTACK: Final = """\
<!doctype html><title>attack</title><body><script>
const settled = (promise) => promise.catch(() => 0);
const closed = (socket) => new Promise((done) => { socket.onclose = done; socket.onmessage = done; });
const loaded = (element) => new Promise((done) => {
  element.onload = element.onerror = done;
  document.body.append(element);
});
(async () => {
  for (const method of ["GET", "POST"]) {
    await settled(fetch(`${TARGET}/attack-fetch`, { method, mode: "no-cors", credentials: "include" }));
  }
  await settled(fetch(`${TARGET}/attack-cors`, { method: "DELETE", credentials: "include" }));
  await closed(new WebSocket(`${TARGET.replace("http", "ws")}/attack-websocket`));
  const image = new Image();
  image.src = `${TARGET}/attack-image`;
  await loaded(image);
  const frame = document.createElement("iframe");
  frame.name = "forged";
  const sent = loaded(frame);
  await sent;
  const form = document.createElement("form");
  Object.assign(form, { action: `${TARGET}/attack-form`, method: "POST", target: "forged" });
  document.body.append(form);
  const answered = new Promise((done) => { frame.onload = done; });
  form.submit();
  await answered;
  parent.postMessage("finished", "*");
})();
</script>
"""


@dataclass(frozen=True)
class Visit:
    """The report of a page, and the requests that the application received."""

    report: dict[str, Any]
    received: list[tuple[str, str, str]]
    attempts: int


@pytest.fixture(scope="module", params=GATEWAYS)
def visit(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    folder: Path = tmp_path_factory.mktemp("browser")
    policies = folder / "policies.toml"
    verifier, application, attacker = Verifier(folder, policies=policies), BrowserApplication(), BrowserApplication()
    # The policy must name the origin, and so the port, before the gateway has one.
    port = free_port()
    origin = f"http://localhost:{port}"
    policies.write_text(
        f'[policies.default]\ncookie = "{COOKIE}"\norigins = ["{origin}"]\n[policies.admin]\nanonymous = true\n'
    )
    application.cookie = (
        f"{COOKIE}={verifier.forge.token(time()).decode()}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=600"
    )

    def prepare(configuration: Path) -> None:
        apply_diffs(request.param, "Tokens in cookies", configuration)

    with (
        verifier.running(),
        application.running(),
        attacker.running(),
        running_gateway(request.param, folder, verifier.port, application.port, prepare=prepare, port=port),
    ):
        # Another port is another origin of the same site, as a sibling subdomain is; an IP address is another site.
        attacks = [f"http://{host}:{attacker.port}/attack" for host in ("localhost", "127.0.0.1")]
        application.page = PAGE.replace("ATTACKS", json.dumps(attacks))
        attacker.attack = ATTACK.replace("const settled", f'const TARGET = "{origin}";\nconst settled')
        _browse(f"{origin}/admin/page", folder, application)
        yield Visit(application.report, application.received, len(attacks))


def _browse(url: str, folder: Path, application: BrowserApplication) -> None:
    """Open a page in the browser until it has reported."""
    profile = f"--user-data-dir={folder / 'profile'}"
    command = [
        found("google-chrome") or program("chromium"),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        profile,
        url,
    ]
    with (folder / "chromium.log").open("wb") as log:
        browser = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        assert application.reported.wait(_SECONDS), (folder / "chromium.log").read_text(encoding="utf-8")
    finally:
        os.killpg(browser.pid, signal.SIGKILL)
        browser.wait()


def test_a_page_of_the_application_calls_it_with_the_cookie(visit: Visit) -> None:
    assert (visit.report["get"], visit.report["post"]) == (200, 200)
    assert (visit.report["events"], visit.report["websocket"]) == ("hello", "hello")
    paths = [(method, path) for method, path, _ in visit.received]
    assert paths == [("GET", "/data"), ("POST", "/data"), ("GET", "/events"), ("GET", "/websocket")]
    assert all(subject for _, _, subject in visit.received)


def test_no_script_can_read_the_token(visit: Visit) -> None:
    assert visit.report["readable"] == ""


def test_no_request_of_another_origin_reaches_the_application(visit: Visit) -> None:
    assert visit.report["attacks"] == visit.attempts
    assert [path for _, path, _ in visit.received if "attack" in path] == []


def test_without_the_cookie_the_page_is_rejected(visit: Visit) -> None:
    assert visit.report["afterwards"] == 401
