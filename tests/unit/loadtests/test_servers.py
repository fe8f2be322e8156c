import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from loadtests.benchmark.contenders import CONTENDERS, Contender, Server
from loadtests.benchmark.material import TOKENS, Material, make_material
from loadtests.benchmark.processes import ProcessError, run, running
from loadtests.benchmark.programs import DEBIAN_PACKAGES, MissingProgramError, find_programs
from loadtests.benchmark.servers import CONFIGURATIONS, Site, VoidRunError, check, serving
from shared.access_token import MAX_ISSUED_BYTES
from tests.support.programs import absent, program

CORE = min(os.sched_getaffinity(0))
VERIFYING = Contender("fake", "Fake", ())


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return make_material(tmp_path_factory.mktemp("material"))


@contextmanager
def _answering(decide: Callable[[str], int]) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(decide(self.headers.get("Authorization", "")))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_tokens_are_distinct_and_of_the_size_that_the_issuer_allows(material: Material) -> None:
    assert len(set(material.good)) == TOKENS
    assert all(800 <= len(token) <= MAX_ISSUED_BYTES for token in material.good)
    assert material.tokens.read_text().split() == list(material.good)


def test_no_private_key_is_written(material: Material) -> None:
    written = b"".join(path.read_bytes() for path in material.tokens.parent.iterdir())
    assert b"PRIVATE" not in written
    assert b'"d"' not in written


def test_a_contender_that_decides_rightly_passes(material: Material) -> None:
    good = {f"Bearer {token}" for token in material.good}
    with _answering(lambda credentials: 200 if credentials in good else 401) as port:
        check(VERIFYING, port, material, good=material.good[:20])


@pytest.mark.parametrize("fault", ["no token", "an expired token", "a tampered signature", "another audience"])
def test_a_contender_that_lets_a_bad_token_in_voids_the_run(material: Material, fault: str) -> None:
    let_in = f"Bearer {material.bad[fault]}" if fault in material.bad else ""
    allowed = {let_in, *(f"Bearer {token}" for token in material.good)}
    with (
        _answering(lambda credentials: 200 if credentials in allowed else 401) as port,
        pytest.raises(VoidRunError, match=f"fake answered 200 to {fault}"),
    ):
        check(VERIFYING, port, material, good=material.good[:1])


@pytest.mark.parametrize("status", [302, 401, 503])
def test_a_contender_that_refuses_a_good_token_voids_the_run(material: Material, status: int) -> None:
    with (
        _answering(lambda _: status) as port,
        pytest.raises(VoidRunError, match=f"fake answered {status} to a good token"),
    ):
        check(VERIFYING, port, material, good=material.good[:1])


def test_every_contender_has_its_own_name_and_its_configuration_exists() -> None:
    assert len({contender.name for contender in CONTENDERS}) == len(CONTENDERS)
    templates = {server.template for contender in CONTENDERS for server in contender.servers} - {""}
    assert all((CONFIGURATIONS / template).is_file() for template in templates)


@pytest.mark.parametrize("name", ["envoy-cached", "haproxy", "starlette", "nginx+verifier", "verifier-uncached"])
def test_real_contenders_accept_all_good_tokens_and_refuse_all_bad_ones(
    material: Material, tmp_path: Path, name: str
) -> None:
    contender = next(one for one in CONTENDERS if one.name == name)
    with serving(contender, Site(tmp_path, material, _programs(), core=CORE)) as port:
        check(contender, port, material, good=material.good[:3])


def test_a_server_that_dies_is_named_with_its_last_words(material: Material, tmp_path: Path) -> None:
    dying = Contender("dying", "Dying", (Server(("sh", "-c", "echo cannot bind; exit 3")),))
    with (
        pytest.raises(ProcessError, match=r"dying-0 ended with 3: cannot bind"),
        serving(dying, Site(tmp_path, material, {}, core=CORE)),
    ):
        pass


def test_servers_are_gone_after_the_block_even_those_that_ignore_the_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loadtests.benchmark.processes.STOP_SECONDS", 0.2)
    log = tmp_path / "deaf.log"
    command = ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]
    with running(command, cores=[CORE], environment={}, log=log) as process:
        process.ensure_alive()
    with pytest.raises(ProcessError, match="deaf ended with -"):
        process.ensure_alive()


def test_a_command_that_hangs_is_ended() -> None:
    with pytest.raises(ProcessError, match="took longer"):
        run(["sleep", "30"], timeout=0.1)


def _programs() -> dict[str, str]:
    for name in DEBIAN_PACKAGES:
        program(name)
    try:
        return dict(find_programs(print))
    except MissingProgramError as error:
        absent(str(error))
