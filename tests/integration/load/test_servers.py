from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from loadtests.bench.contenders import CONTENDERS, Contender, Server
from loadtests.bench.fixtures import TOKENS, Fixtures, make_fixtures
from loadtests.bench.servers import Setup, check, serving
from loadtests.processes import InvalidRunError, ProcessError, run, running
from shared.access_token import MAX_ISSUED_TOKEN_BYTES
from tests.support import http_listener
from tests.support.bench_programs import core, programs
from tests.support.http_listener import Handler

VERIFYING = Contender("fake", "Fake", ())


@pytest.fixture(scope="module")
def fixtures(tmp_path_factory: pytest.TempPathFactory) -> Fixtures:
    return make_fixtures(tmp_path_factory.mktemp("fixtures"))


@contextmanager
def _responding(decide: Callable[[str], int]) -> Iterator[int]:
    class Server(Handler):
        protocol_version = "HTTP/1.1"

        def on_request(self) -> None:
            self.respond(decide(self.headers.get("Authorization", "")))

    with http_listener.serving(Server) as url:
        yield int(url.rpartition(":")[2])


def test_tokens_are_distinct_and_of_the_size_that_the_issuer_allows(fixtures: Fixtures) -> None:
    assert len(set(fixtures.valid)) == TOKENS
    assert all(800 <= len(token) <= MAX_ISSUED_TOKEN_BYTES for token in fixtures.valid)
    assert fixtures.tokens.read_text().split() == list(fixtures.valid)


def test_no_private_key_is_written(fixtures: Fixtures) -> None:
    written = b"".join(path.read_bytes() for path in fixtures.tokens.parent.iterdir())
    assert b"PRIVATE" not in written
    assert b'"d"' not in written


def test_a_contender_that_decides_correctly_is_accepted(fixtures: Fixtures) -> None:
    valid = {f"Bearer {token}" for token in fixtures.valid}
    with _responding(lambda credentials: 200 if credentials in valid else 401) as port:
        check(VERIFYING, port, fixtures, valid=fixtures.valid[:20])


@pytest.mark.parametrize("fault", ["no token", "an expired token", "a tampered signature", "another audience"])
def test_a_contender_that_lets_an_invalid_token_in_voids_the_run(fixtures: Fixtures, fault: str) -> None:
    let_in = f"Bearer {fixtures.invalid[fault]}" if fault in fixtures.invalid else ""
    allowed = {let_in, *(f"Bearer {token}" for token in fixtures.valid)}
    with (
        _responding(lambda credentials: 200 if credentials in allowed else 401) as port,
        pytest.raises(InvalidRunError, match=f"fake responded 200 to {fault}"),
    ):
        check(VERIFYING, port, fixtures, valid=fixtures.valid[:1])


@pytest.mark.parametrize("status", [302, 401, 503])
def test_a_contender_that_rejects_a_valid_token_voids_the_run(fixtures: Fixtures, status: int) -> None:
    with (
        _responding(lambda _: status) as port,
        pytest.raises(InvalidRunError, match=f"fake responded {status} to a valid token"),
    ):
        check(VERIFYING, port, fixtures, valid=fixtures.valid[:1])


@pytest.mark.parametrize("fault", ["no exp", "no client_id", "another type"])
def test_a_hardened_contender_must_also_reject_tokens_without_a_required_claim(
    fixtures: Fixtures, fault: str
) -> None:
    rejected = {None, *fixtures.invalid.values(), *fixtures.invalid_for_hardened.values()} - {
        fixtures.invalid_for_hardened[fault]
    }
    statuses = {f"Bearer {token}" if token else "": 401 for token in rejected}
    with _responding(lambda credentials: statuses.get(credentials, 200)) as port:
        check(VERIFYING, port, fixtures, valid=fixtures.valid[:1])
        with pytest.raises(InvalidRunError, match=f"fake responded 200 to {fault}"):
            check(replace(VERIFYING, hardened=True), port, fixtures, valid=fixtures.valid[:1])


def test_a_token_that_a_contender_cannot_reject_does_not_void_the_run(fixtures: Fixtures) -> None:
    lax = replace(VERIFYING, hardened=True, cannot_reject=frozenset({"no exp"}))
    accepted = {f"Bearer {token}" for token in (fixtures.invalid_for_hardened["no exp"], *fixtures.valid)}
    with _responding(lambda credentials: 200 if credentials in accepted else 401) as port:
        check(lax, port, fixtures, valid=fixtures.valid[:1])
        with pytest.raises(InvalidRunError, match="fake responded 200 to no exp"):
            check(replace(lax, cannot_reject=frozenset()), port, fixtures, valid=fixtures.valid[:1])


@pytest.mark.parametrize(
    "name", ["envoy-cached", "haproxy", "starlette", "haproxy-plain", "nginx+verifier", "verifier-uncached"]
)
def test_contenders_accept_valid_tokens_and_reject_invalid_ones(
    fixtures: Fixtures, tmp_path: Path, name: str
) -> None:
    contender = next(one for one in CONTENDERS if one.name == name)
    with serving(contender, Setup(tmp_path, fixtures, programs(), core=core())) as served:
        check(contender, served.port, fixtures, valid=fixtures.valid[:3])


def test_a_server_that_exits_is_named_with_its_last_output(fixtures: Fixtures, tmp_path: Path) -> None:
    dying = Contender("dying", "Dying", (Server(("sh", "-c", "echo cannot bind; exit 3")),))
    with (
        pytest.raises(ProcessError, match=r"dying-0 ended with 3: cannot bind"),
        serving(dying, Setup(tmp_path, fixtures, {}, core=core())),
    ):
        pass


def test_servers_that_ignore_the_signal_are_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadtests.processes.STOP_SECONDS", 0.2)
    log = tmp_path / "deaf.log"
    command = ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]
    with running(command, core=core(), environment={}, log=log) as process:
        process.ensure_alive()
    with pytest.raises(ProcessError, match="deaf ended with -"):
        process.ensure_alive()


def test_a_command_that_hangs_is_stopped() -> None:
    with pytest.raises(ProcessError, match="took longer"):
        run(["sleep", "30"], timeout=0.1)
