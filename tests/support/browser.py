"""Chromium, and a server of pages that attack, which collects the reports of all pages."""

import base64
import hashlib
import json
import os
import signal
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.certificates import site_certificate
from tests.support.http_listener import Handler, serving
from tests.support.processes import ROOT
from tests.support.programs import found, program

_SECONDS: Final = 150.0


@contextmanager
def browsing(url: str, folder: Path, certificates: Sequence[Path]) -> Iterator[None]:
    """Open a page in Chromium, which resolves every host of `example.com` and `foreign.test` to this machine.

    It accepts these certificates, and writes its profile and log into the folder.
    """
    command = [
        found("google-chrome") or program("chromium"),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-popup-blocking",
        "--host-resolver-rules=MAP *.example.com 127.0.0.1, MAP foreign.test 127.0.0.1",
        f"--ignore-certificate-errors-spki-list={','.join(map(_key_digest, certificates))}",
        f"--user-data-dir={folder / 'profile'}",
        url,
    ]
    environ = os.environ | {"LD_PRELOAD": str(_no_netlink(folder))}
    with (folder / "chromium.log").open("wb") as log:
        browser = subprocess.Popen(command, stdout=log, stderr=log, env=environ, start_new_session=True)
    try:
        yield
    finally:
        os.killpg(browser.pid, signal.SIGKILL)
        browser.wait()


def _no_netlink(folder: Path) -> Path:
    """Return `no_netlink.c` as a library."""
    library = folder / "no_netlink.so"
    source = ROOT / "tests/support/no_netlink.c"
    subprocess.run([program("gcc"), "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    return library


def _key_digest(certificate: Path) -> str:
    key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    encoded = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(encoded).digest()).decode()


@dataclass
class Attacker:
    """A server with TLS, whose page is at `/attack`.

    Attributes:
        on_report: called with each report, before the page goes on.
        cookies: values of `Set-Cookie` that come with it.
        reports: of all pages, in one.
    """

    port: int
    folder: Path
    on_report: Callable[[dict[str, Any]], None]
    page: str = ""
    cookies: list[str] = field(default_factory=list)
    reports: dict[str, Any] = field(default_factory=dict)
    finished: threading.Event = field(default_factory=threading.Event)
    certificate: Path = Path()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Serve."""
        attacker = self

        class Pages(Handler):
            protocol_version = "HTTP/1.1"

            def on_request(self) -> None:
                if self.command == "POST":
                    attacker.take(json.loads(self.body()))
                    self.respond(200)
                    return
                is_page = self.path.startswith("/attack")
                cookies = [("Set-Cookie", cookie) for cookie in attacker.cookies if is_page]
                page = attacker.page.encode() if is_page else b""
                self.respond(200, ("Content-Type", "text/html"), *cookies, body=page)

        self.folder.mkdir()
        self.certificate, key = site_certificate(self.folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        with serving(Pages, self.port, context):
            yield

    def wait(self, log: Path) -> None:
        """Wait for the last report."""
        assert self.finished.wait(_SECONDS), f"{self.reports}\n{log.read_text(encoding='utf-8')}"

    def take(self, report: dict[str, Any]) -> None:
        """Take a report."""
        self.on_report(report)
        self.reports |= report
        if report.get("finished"):
            self.finished.set()
