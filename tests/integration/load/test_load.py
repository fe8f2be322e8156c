"""`python -m loadtests` as in `make load`, and plain locust: a real stack, few users, some seconds."""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.http_listener import Handler, serving
from tests.support.plain_http import HTTP, get_status
from tests.support.processes import ROOT, finished, free_port, running, wait_until, without_settings
from tests.support.stack import Stack, running_stack

MET: Final = 0
NOT_MET: Final = 1


class Finished:
    """A run that has ended."""

    def __init__(self, out: Path, *arguments: str) -> None:
        self.out = out
        command = [sys.executable, "-m", "loadtests", *arguments, "--out", str(out)]
        self.done = finished(command, environ=without_settings())

    @property
    def status(self) -> int:
        return self.done.returncode

    @property
    def results(self) -> dict[str, bool | None]:
        """Return the outcome of each threshold of the last run, by name."""
        document: dict[str, Any] = json.loads((self.out / "load.json").read_text(encoding="utf-8"))
        return {result["name"]: result["met"] for result in document["results"]}

    @property
    def output(self) -> str:
        return self.done.stdout + self.done.stderr


@pytest.fixture(name="out")
def _out() -> Iterator[Path]:
    # Not pytest's private folder: the stack below it runs PostgreSQL as another user.
    with tempfile.TemporaryDirectory(prefix="gatepass-load-") as folder:
        yield Path(folder)


@pytest.fixture(name="stack", scope="module")
def _stack() -> Iterator[Stack]:
    with (
        tempfile.TemporaryDirectory(prefix="gatepass-stack-") as folder,
        running_stack(Path(folder) / "home") as stack,
    ):
        yield stack


def test_the_exit_status_follows_the_thresholds(out: Path) -> None:
    run = Finished(out, "load", "--users", "10", "--duration", "12", "--think", "0.1", "--accounts", "500")
    assert run.results["failures"] is True, run.output
    assert {"register", "login", "me", "refresh", "logout", "call"} <= run.results.keys()
    # How fast this machine is today is not tested: the status has to follow the table.
    assert run.status == (NOT_MET if False in run.results.values() else MET)
    assert run.done.stdout.count("NOT MET") == list(run.results.values()).count(False)
    assert re.search(r"0:05 +10 users .* failures 0", run.done.stdout)
    assert re.search(r"core-seconds used: .*locust [\d.]+", run.done.stdout)
    for name in ("load.json", "report.html", "requests_stats.csv", "logs/issuer.log"):
        assert (out / name).stat().st_size > 0, name
    assert not list(out.glob("stack-*"))


def locust(stack: Stack, *arguments: str, files: str = "locustfile.py", host: str = "GATEWAY_PORT") -> list[str]:
    """Return a command of locust itself, with files of `loadtests`."""
    command = [sys.executable, "-m", "locust", "-f", ",".join(f"{ROOT}/loadtests/{file}" for file in files.split())]
    return [*command, "--host", stack.url(host), "--issuer", stack.url("ISSUER_PORT"), "--think", "0.1", *arguments]


def run_locust(command: list[str], folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environ = without_settings() | {"PYTHONPATH": str(ROOT)}
    return finished([*command, "--headless"], folder=folder, environ=environ)


def test_locust_runs_the_file_by_itself(stack: Stack, tmp_path: Path) -> None:
    options = ("-u", "4", "-r", "4", "-t", "8s", "--csv", str(tmp_path / "run"))
    done = run_locust(locust(stack, *options, "TypicalUser", "InvalidTokenCaller"))
    assert re.search(r"^\| failures +\| +0 \|.* met +\|$", done.stdout, re.MULTILINE), done.stdout + done.stderr
    assert "call" in (tmp_path / "run_stats.csv").read_text(encoding="utf-8")


def test_worker_processes_have_one_result_together(stack: Stack, tmp_path: Path) -> None:
    password, results = tmp_path / "password", tmp_path / "results.json"
    password.write_text("seven quiet green rivers", encoding="ascii")
    options = ("-u", "4", "-r", "4", "-t", "10s", "--tags", "invalid", "--processes", "2")
    files = ("--password-file", str(password), "--results", str(results))
    done = run_locust(locust(stack, *options, *files, host="APPLICATION_PORT"))
    assert "Traceback" not in done.stderr
    assert len(re.findall(r"^\| failures ", done.stdout, re.MULTILINE)) == 1, done.stdout + done.stderr
    found = json.loads(results.read_text(encoding="utf-8"))
    (rejected,) = [row for row in found["results"] if row["name"] == "rejected call"]
    assert rejected["count"] > 0
    assert ["rejected call", "wrong accept: 200 for no token"] in [failure[:2] for failure in found["failures"]]
    assert done.returncode == NOT_MET


def test_locust_sweeps_by_itself_into_a_new_folder(stack: Stack, tmp_path: Path) -> None:
    steps = ("--steps", "2,4", "--step-seconds", "4", "--arrival-seconds", "1", "SteadyCaller")
    done = run_locust(locust(stack, *steps, files="locustfile.py sweep.py"), tmp_path)
    assert done.returncode == MET, done.stdout + done.stderr
    rows = (tmp_path / ".load/sweep.csv").read_text(encoding="ascii").splitlines()
    assert [row.split(",")[0] for row in rows] == ["users", "2", "4"]


def test_the_web_interface_starts_runs_with_figures_of_their_own(stack: Stack, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "locust.log"
    url, host = f"http://127.0.0.1:{port}", ("--web-host", "127.0.0.1", "--web-port", str(port))

    def measure(port: str) -> str:
        """Let users send invalid tokens to this port; return the result."""
        before = log.read_text(encoding="utf-8")
        form = {"user_count": "2", "spawn_rate": "2", "host": stack.url(port)}
        assert HTTP.post(f"{url}/swarm", data=form).json()["success"]
        wait_until(lambda: HTTP.get(f"{url}/stats/requests").json()["total_rps"] > 0, "requests", 60)
        assert HTTP.post(f"{url}/stop").json()["success"]
        return log.read_text(encoding="utf-8").removeprefix(before)

    with running(locust(stack, *host, "InvalidTokenCaller"), log, ready=lambda: get_status(url) == 200, seconds=60):
        assert re.search(r"^\| failures .* NOT MET ", measure("APPLICATION_PORT"), re.MULTILINE)
        assert re.search(r"^\| failures +\| +0 ", measure("GATEWAY_PORT"), re.MULTILINE)
        page = HTTP.get(url).text
    offered = json.JSONDecoder().raw_decode(page.partition("window.templateArgs = ")[2])[0]["extra_options"]
    # The page stops with an error if it has to show choices that are no list.
    assert {name: option["choices"] for name, option in offered.items()} == dict.fromkeys(offered)
    assert {"issuer", "call", "think"} <= offered.keys()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--accounts", "5"), "--accounts needs --password-file"),
        (("--password-file", "nowhere"), "nowhere is not a file"),
        (("--tags", "nothing"), "no task has these tags"),
    ],
)
def test_locust_rejects_options_that_measure_nothing(stack: Stack, options: tuple[str, ...], message: str) -> None:
    done = run_locust(locust(stack, "-t", "2s", *options))
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr


def test_wrongly_accepted_invalid_tokens_are_failures(out: Path, stack: Stack) -> None:
    issuer, few = stack.url("ISSUER_PORT"), ("--users", "4", "--duration", "8", "--think", "0.1")
    invalid = ("load", "--scenario", "invalid-tokens", *few, "--issuer", issuer)
    guarded = Finished(out, *invalid, "--host", stack.url("GATEWAY_PORT"))
    assert guarded.results["failures"] is True, guarded.output
    bare = Finished(out, *invalid, "--host", stack.url("APPLICATION_PORT"))
    assert (bare.status, bare.results["failures"]) == (NOT_MET, False)
    for what in ("no token", "a token with another signature", "a token without a signature"):
        assert re.search(
            rf"^failure: \d+ x rejected call: wrong accept: 200 for {what}$", bare.done.stdout, re.MULTILINE
        )


def test_seeded_accounts_log_out_and_their_tokens_are_rejected(out: Path, stack: Stack) -> None:
    assert Finished(out, "seed", "--accounts", "20").status == MET
    seed = f". {stack.home}/issuer.env && {sys.executable} -m issuer users import - < {out}/accounts.jsonl"
    subprocess.run(["sh", "-c", seed], cwd=ROOT, capture_output=True, check=True)
    hosts = ("--host", stack.url("GATEWAY_PORT"), "--issuer", stack.url("ISSUER_PORT"))
    few = ("--users", "4", "--duration", "9", "--ramp", "1", "--think", "0.1", "--accounts", "20")
    run = Finished(out, "load", "--scenario", "revocation", *few, *hosts)
    assert "register" not in run.results
    assert run.results["failures"] is True, run.output
    assert re.search(r"^\| logout to rejection +\| +[1-9]", run.done.stdout, re.MULTILINE), run.output


def test_a_sweep_has_figures_of_each_step(out: Path, stack: Stack) -> None:
    steady = ("sweep", "--scenario", "steady-calls", "--steps", "2,4", "--duration", "8", "--think", "0.1")
    run = Finished(out, *steady, "--host", stack.url("GATEWAY_PORT"), "--issuer", stack.url("ISSUER_PORT"))
    assert run.status == MET, run.output
    rows = (out / "sweep.csv").read_text(encoding="ascii").splitlines()
    assert [row.split(",")[0] for row in rows] == ["users", "2", "4"]
    assert "knee" in json.loads((out / "sweep.json").read_text(encoding="utf-8"))
    assert "<svg" in (out / "sweep.svg").read_text(encoding="utf-8")


def test_a_soak_run_checks_growth(out: Path) -> None:
    command = [sys.executable, "-m", "loadtests.soak", "--minutes", "0.2", "--users", "4", "--out", str(out)]
    done = finished(command)
    assert (out / "soak.md").exists(), done.stdout + done.stderr
    result = (out / "soak.md").read_text(encoding="utf-8")
    assert "| wrong responses | 0 | 0 | | 0 | met |" in re.sub(" +", " ", result), done.stdout + done.stderr
    # Whether seconds of growth meet bounds of hours is not tested: the status has to follow the table.
    assert done.returncode == (NOT_MET if "NOT MET" in result else MET)
    assert {"issuer", "verifier", "PostgreSQL"} <= json.loads((out / "soak.json").read_text())["samples"][0][
        "parts"
    ].keys()
    assert "<svg" in (out / "soak.svg").read_text(encoding="utf-8")
    assert not list(out.glob("stack-*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--users", "0"), "must be a number from 1 to 20000"),
        (("--duration", "3ms"), "must be a time such as"),
        (("--duration", "-1"), "must be a time such as 90, 90s or 3m, more than 0"),
        (("--scenario", "party"), "invalid choice"),
        (("--duration", "10", "--ramp", "10"), "the ramp must be shorter than the duration"),
        (("--issuer", "http://127.0.0.1:1"), "ISSUER names the issuer of a HOST"),
        (("--host", "http://127.0.0.1:99999"), "must be http://HOST"),
        (("--host", "ftp://127.0.0.1"), "must be http://HOST"),
        (("--host", "http://127.0.0.1:1"), "cannot be reached"),
        (("--scenario", "key-rotation", "--duration", "20"), "takes at least 150 s"),
    ],
)
def test_impossible_options_are_rejected_with_one_line(out: Path, arguments: tuple[str, ...], message: str) -> None:
    run = Finished(out, "load", *arguments)
    assert (run.status, message in run.done.stderr) == (2, True), run.output


def test_a_host_of_the_environment_is_not_loaded(out: Path) -> None:
    with _redirecting("http://127.0.0.1:1") as (url, requested):
        os.environ["LOCUST_HOST"] = url
        try:
            Finished(out, "load", "--users", "1", "--duration", "2", "--host", "http://127.0.0.1:1")
        finally:
            del os.environ["LOCUST_HOST"]
        assert requested == []


def test_a_redirect_is_a_failure_and_not_followed(out: Path) -> None:
    with _redirecting("http://127.0.0.1:1") as (elsewhere, followed), _redirecting(elsewhere) as (url, requested):
        run = Finished(out, "load", "--users", "2", "--duration", "6", "--think", "0.1", "--host", url)
    assert followed == []
    assert requested
    assert run.status == NOT_MET
    assert "x register: status 302" in run.done.stdout


@contextmanager
def _redirecting(to: str) -> Iterator[tuple[str, list[str]]]:
    """Redirect every request; yield the URL, and the paths that were requested."""
    requested: list[str] = []

    class Redirect(Handler):
        def on_request(self) -> None:
            self.body()
            requested.append(self.path)
            self.respond(302, ("Location", to + self.path))

    with serving(Redirect) as url:
        yield url, requested
