"""`python -m loadtests.journeys` as `make load` calls it: real locust, real stack, few users, few seconds."""

import http.server
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.processes import ROOT
from tests.support.stack import Stack, running_stack

MET: Final = 0
NOT_MET: Final = 1


class Finished:
    """A run that has ended."""

    def __init__(self, out: Path, *arguments: str) -> None:
        own = {name: value for name, value in os.environ.items() if not re.match("ISSUER_|VERIFIER_|LOCUST_", name)}
        self.out = out
        self.done = subprocess.run(
            [sys.executable, "-m", "loadtests.journeys", *arguments, "--out", str(out)],
            cwd=ROOT,
            env=own,
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def status(self) -> int:
        return self.done.returncode

    @property
    def verdict(self) -> dict[str, bool | None]:
        """Name → met, from the report."""
        document: dict[str, Any] = json.loads((self.out / "load.json").read_text(encoding="utf-8"))
        return {line["name"]: line["met"] for line in document["verdict"]}


@pytest.fixture(name="out")
def _out() -> Iterator[Path]:
    # Not pytest's own: the stack below it runs PostgreSQL as somebody else.
    with tempfile.TemporaryDirectory(prefix="gatepass-load-") as folder:
        yield Path(folder)


@pytest.fixture(name="stack", scope="module")
def _stack() -> Iterator[Stack]:
    with (
        tempfile.TemporaryDirectory(prefix="gatepass-stack-") as folder,
        running_stack(Path(folder) / "home") as stack,
    ):
        yield stack


def test_ten_people_are_served_and_the_exit_status_is_the_verdict(out: Path) -> None:
    run = Finished(out, "load", "--users", "10", "--duration", "8", "--think", "0.1", "--accounts", "500")
    told = run.done.stdout
    assert run.verdict["failures"] is True, told + run.done.stderr
    assert {"register", "login", "me", "refresh", "logout", "call"} <= run.verdict.keys()
    # How fast this machine is today is not what is tested: the status has to follow the table.
    assert run.status == (NOT_MET if False in run.verdict.values() else MET)
    assert told.count("NOT MET") == list(run.verdict.values()).count(False) + (run.status == NOT_MET)
    assert re.search(r"0:05 of 0:08 +10 users .* failures 0", told)
    assert re.search(r"of \d+ core-seconds: .*locust [\d.]+", told)
    for name in ("load.json", "load.svg", "report.html", "requests_stats.csv", "logs/issuer.log"):
        assert (out / name).stat().st_size > 0, name
    assert "Total Requests per Second" in (out / "report.html").read_text(encoding="utf-8")
    assert not list(out.glob("stack-*"))


def test_garbage_is_refused_by_the_gateway_and_by_name_where_there_is_none(out: Path, stack: Stack) -> None:
    issuer, few = stack.url("ISSUER_PORT"), ("--users", "4", "--duration", "3", "--think", "0.1")
    garbage = ("load", "--journey", "verify-garbage", *few, "--issuer", issuer)
    guarded = Finished(out, *garbage, "--host", stack.url("GATEWAY_PORT"))
    assert guarded.verdict["failures"] is True, guarded.done.stdout + guarded.done.stderr
    bare = Finished(out, *garbage, "--host", stack.url("APPLICATION_PORT"))
    assert (bare.status, bare.verdict["failures"]) == (NOT_MET, False)
    for what in ("no token", "a token with another signature", "a token without a signature"):
        assert re.search(rf"wrong: \d+ x refused call: wrong accept: 200 for {what}$", bare.done.stdout, re.MULTILINE)


def test_accounts_that_were_seeded_elsewhere_log_out_and_the_gateway_hears_of_it(out: Path, stack: Stack) -> None:
    assert Finished(out, "seed", "--accounts", "20").status == MET
    seed = f". {stack.home}/issuer.env && {sys.executable} -m issuer users import - < {out}/people.jsonl"
    subprocess.run(["sh", "-c", seed], cwd=ROOT, capture_output=True, check=True)
    hosts = ("--host", stack.url("GATEWAY_PORT"), "--issuer", stack.url("ISSUER_PORT"))
    few = ("--users", "4", "--duration", "7", "--ramp", "1", "--think", "0.1", "--accounts", "20")
    run = Finished(out, "load", "--journey", "revocation", *few, *hosts)
    assert "register" not in run.verdict
    assert run.verdict["failures"] is True, run.done.stdout + run.done.stderr
    assert re.search(r"^logout until refused +[1-9]", run.done.stdout, re.MULTILINE), run.done.stdout


def test_a_sweep_is_plotted_step_by_step(out: Path, stack: Stack) -> None:
    steady = ("sweep", "--journey", "verify-steady", "--steps", "2,4", "--duration", "6", "--think", "0.1")
    run = Finished(out, *steady, "--host", stack.url("GATEWAY_PORT"), "--issuer", stack.url("ISSUER_PORT"))
    rows = (out / "sweep.csv").read_text(encoding="ascii").splitlines()
    assert [row.split(",")[0] for row in rows] == ["users", "2", "4"], run.done.stdout + run.done.stderr
    assert re.search(r"^(no )?knee", run.done.stdout, re.MULTILINE)
    assert "<polyline" in (out / "sweep.svg").read_text(encoding="utf-8")


def test_a_redirect_leads_nowhere_but_into_the_failures(out: Path) -> None:
    with _redirecting(to="http://127.0.0.1:1") as elsewhere, _redirecting(to=elsewhere.url) as server:
        run = Finished(out, "load", "--users", "2", "--duration", "2", "--think", "0.1", "--host", server.url)
        assert elsewhere.asked == 0
        assert server.asked > 0
    assert run.status == NOT_MET
    assert "x register: answered 302" in run.done.stdout


class _Redirecting(http.server.ThreadingHTTPServer):
    """Sends everybody elsewhere, and counts them."""

    daemon_threads = True

    def __init__(self, to: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.to = to
        self.asked = 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Redirecting

    def do_POST(self) -> None:
        self.server.asked += 1
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(302)
        self.send_header("Location", self.server.to + self.path)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST  # noqa: N815 - the name that http.server calls

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as http.server names it
        pass


@contextmanager
def _redirecting(to: str) -> Iterator[_Redirecting]:
    with _Redirecting(to) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
