"""The pages of `docs/reference` that are generated from the code. `python -m tests.support.tables` writes them."""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from annotated_types import Ge, Gt, Le
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from doctor.__main__ import _parser as doctor_parser
from issuer.__main__ import _parser as issuer_parser
from issuer.settings import IssuerSettings
from issuer.telemetry.metrics import Metrics
from shared.settings import Settings
from stack.settings import DEFAULT_PORTS
from tests.support.processes import ROOT
from verifier.__main__ import _parser as verifier_parser
from verifier.metrics import Metrics as VerifierMetrics
from verifier.settings import VerifierSettings

REFERENCE: Final = ROOT / "docs/reference"
_COMMANDS: Final = """\
# Commands

Every command reads its settings from [environment variables](settings.md) and has `--help` and `--version`. In a
source tree run it in the folder of the tree, and write `.venv/bin/python` for `python`. The administrative commands
of the issuer print one JSON object per line with `--json`. `python -m tests.support.tables` generates this page.
"""


def settings_table(settings: type[Settings]) -> str:
    """Return variable, default, meaning and bounds of every setting."""
    rows = [
        (f"`{settings.variable(name)}`", _default(field), _meaning(settings, name, field))
        for name, field in settings.model_fields.items()
    ]
    return _table(("variable", "default", "what it is"), rows)


def stack_table() -> str:
    """Return the variables of `make run`."""
    ports = [(f"`{name}`", f"`{port}`" if port else "any free port") for name, port in DEFAULT_PORTS.items()]
    return _table(("variable", "default"), [("`GATEPASS_HOME`", "`.gatepass`"), *ports])


def metrics_table() -> str:
    """Return name and meaning of every metric."""
    suffixes = {"counter": "_total", "info": "_info"}
    rows = [
        (f"`{family.name}{suffixes.get(family.type, '')}`", family.documentation)
        for metrics in (Metrics(), VerifierMetrics())
        for family in metrics.registry.collect()
    ]
    return _table(("metric", "is"), rows)


def pages() -> dict[Path, str]:
    """Return the required content of each page. A table is found by the name in its first row."""
    pages = {
        "settings.md": [settings_table(IssuerSettings), settings_table(VerifierSettings), stack_table()],
        "metrics.md": [metrics_table()],
    }
    found = {REFERENCE / name: _updated(REFERENCE / name, tables) for name, tables in pages.items()}
    return found | {REFERENCE / "commands.md": commands_page()}


def commands_page() -> str:
    """Return every command with its arguments."""
    parts = [_COMMANDS]
    for parser in (issuer_parser(), verifier_parser(), doctor_parser()):
        parts.append(f"## {parser.prog}\n\n{parser.description}\n")
        commands = list(_commands(parser))
        parts += [
            f"### {command.prog}\n\n{summary}\n\n{_example(command)}{_arguments(command)}"
            for command, summary in commands
        ]
        parts += [] if commands else [_example(parser) + _arguments(parser)]
    return "\n".join(parts)


def _commands(parser: argparse.ArgumentParser) -> Iterator[tuple[argparse.ArgumentParser, str]]:
    """Yield the commands of a parser that have no subcommands, with their help."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            summaries = {choice.dest: str(choice.help) for choice in action._choices_actions}
            for name, command in action.choices.items():
                below = list(_commands(command))
                yield from below or [(command, f"{summaries[name][0].upper()}{summaries[name][1:]}.")]


def _example(parser: argparse.ArgumentParser) -> str:
    """Return the last line of a help as a block of code."""
    return f"```sh\n{(parser.epilog or '').splitlines()[-1].strip() % {'prog': parser.prog}}\n```\n"


def _arguments(parser: argparse.ArgumentParser) -> str:
    rows = [
        (f"`{' '.join(filter(None, [*action.option_strings[-1:], _value(action)]))}`", action.help or "")
        for action in parser._actions
        if action.dest not in {"help", "version", "json"}
    ]
    return "\n" + _table(("argument", "meaning"), rows) if rows else ""


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    return str(action.metavar or (action.dest.upper() if action.option_strings else action.dest))


def _updated(page: Path, tables: Sequence[str]) -> str:
    text, current = page.read_text(encoding="utf-8"), {_name(table): table.strip() for table in tables}
    paragraphs = text.rstrip("\n").split("\n\n")
    assert current.keys() <= {_name(paragraph) for paragraph in paragraphs}, f"{page} lacks a table"
    return "\n\n".join(current.get(_name(paragraph), paragraph) for paragraph in paragraphs) + "\n"


def _name(table: str) -> str:
    first_row = "".join(table.splitlines()[2:3])
    return first_row.split("|")[1].strip() if first_row.startswith("| `") else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ["---"] * len(head), *rows))


def _default(field: FieldInfo) -> str:
    default: Any = field.default
    if default is None or isinstance(default, SecretStr):
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _meaning(settings: type[Settings], name: str, field: FieldInfo) -> str:
    by_file = f" (or by file: `{settings.variable(name)}_FILE`)" if field.annotation is SecretStr else ""
    return f"{field.description}{by_file}{_bounds(field)}"


def _bounds(field: FieldInfo) -> str:
    bounds = {type(bound): bound for bound in field.metadata}
    match bounds.get(Ge), bounds.get(Gt), bounds.get(Le):
        case Ge(ge=low), _, Le(le=high):
            return f"; {low} to {high}"
        case _, Gt(gt=low), Le(le=high):
            return f"; over {low}, up to {high}"
        case _:
            return ""


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
