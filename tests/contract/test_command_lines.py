"""Every command has a help, and errors name the PostgreSQL server that cannot be used."""

import argparse
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest

from doctor.__main__ import _parser as doctor_parser
from issuer.__main__ import _parser as issuer_parser
from issuer.__main__ import main
from loadtests.__main__ import _parser as loadtests_parser
from tests.support.processes import free_port
from verifier.__main__ import _parser as verifier_parser

PARSERS: Final = (issuer_parser(), verifier_parser(), doctor_parser(), loadtests_parser())
WITHOUT_DATABASE: Final = {"keys", "calibrate", "serve"}
"""`serve` waits for PostgreSQL and reports its outage in the log and by /readyz."""


def _all(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _all(command)


COMMANDS: Final = [(top, command) for top in PARSERS for command in _all(top)]


def _example(command: argparse.ArgumentParser) -> list[str]:
    """Return the arguments of the example in a command's help."""
    line = command.format_help().rstrip("\n").rpartition("\nexample:\n  ")[2]
    words = shlex.split(line)
    redirection = next((index for index, word in enumerate(words) if word in {"<", ">", ">>"}), len(words))
    return words[3:redirection]


@pytest.mark.parametrize(("top", "command"), COMMANDS, ids=[command.prog for _, command in COMMANDS])
def test_the_help_of_a_command_has_a_description_and_an_example_that_is_valid(
    top: argparse.ArgumentParser, command: argparse.ArgumentParser
) -> None:
    assert command.description
    assert command.description in command.format_help()
    example = _example(command)
    assert [*command.prog.split()[:3], *example][: len(command.prog.split())] == command.prog.split()
    top.parse_args(example)


def _of_the_database() -> Iterator[list[str]]:
    for command in _all(PARSERS[0]):
        if command.prog.split()[3:4] and not command._subparsers and command.prog.split()[3] not in WITHOUT_DATABASE:
            yield _example(command)


@pytest.mark.parametrize("arguments", list(_of_the_database()), ids=lambda words: "-".join(words[:2]))
def test_a_command_without_postgresql_names_host_port_and_database_only(
    arguments: Sequence[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    port, password = free_port(), uuid4().hex
    monkeypatch.setenv("ISSUER_DATABASE_URL", f"postgresql://gatepass:{password}@127.0.0.1:{port}/accounts")
    monkeypatch.setenv("ISSUER_KEYS_DIR", str(tmp_path / "keys"))
    monkeypatch.setenv("ISSUER_ARGON2_MEMORY_MIB", "19")
    monkeypatch.chdir(tmp_path)
    Path("accounts.jsonl").write_text("", encoding="utf-8")
    Path("heads.txt").write_text(f"1  1  {'0' * 64}\n", encoding="utf-8")
    with Path("password.txt").open("w+", encoding="utf-8") as standard_input:
        standard_input.write("seven quiet green rivers\n")
        standard_input.seek(0)
        monkeypatch.setattr("sys.stdin", standard_input)
        assert main(["keys", "generate"]) == 0
        assert main(arguments) == 1
    printed = "".join(capsys.readouterr())
    assert f"PostgreSQL cannot be used: 127.0.0.1:{port}, database accounts" in printed
    assert password not in printed


def test_the_name_of_a_key_may_begin_like_an_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ISSUER_KEYS_DIR", str(tmp_path))
    assert main(["keys", "revoke", "-h" + "x" * 41, "--json"]) == 1
    assert "no keys found" in capsys.readouterr().err
