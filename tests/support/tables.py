"""The tables of the README that say what the code says. `python -m tests.support.tables` writes them into it."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from annotated_types import Ge, Gt, Le
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from issuer.settings import IssuerSettings
from issuer.telemetry.metrics import Metrics
from shared.settings import Settings
from stack.settings import DEFAULT_PORTS
from tests.support.processes import ROOT
from verifier.metrics import Metrics as VerifierMetrics
from verifier.settings import VerifierSettings

README: Final = ROOT / "README.md"


def settings_table(settings: type[Settings]) -> str:
    """Variable, default, meaning and bounds of every setting."""
    rows = [
        (f"`{settings.variable(name)}`", _default(field), _meaning(settings, name, field))
        for name, field in settings.model_fields.items()
    ]
    return _table(("variable", "default", "what it is"), rows)


def stack_table() -> str:
    """The variables of `make run`."""
    ports = [(f"`{name}`", f"`{port}`" if port else "any free port") for name, port in DEFAULT_PORTS.items()]
    return _table(("variable", "default"), [("`GATEPASS_HOME`", "`.gatepass`"), *ports])


def metrics_table() -> str:
    """Name and meaning of everything that is counted, as Prometheus sees it."""
    suffixes = {"counter": "_total", "info": "_info"}
    rows = [
        (f"`{family.name}{suffixes.get(family.type, '')}`", family.documentation)
        for metrics in (Metrics(), VerifierMetrics())
        for family in metrics.registry.collect()
    ]
    return _table(("metric", "is"), rows)


def tables() -> list[str]:
    """All of them, in the order of the README."""
    return [stack_table(), metrics_table(), settings_table(IssuerSettings), settings_table(VerifierSettings)]


def updated(readme: str) -> str:
    """`readme` with each of the tables in the place of what it was: a table is known by its first row's name."""
    current = {_name(table): table.strip() for table in tables()}
    return "\n\n".join(current.get(_name(paragraph), paragraph) for paragraph in readme.split("\n\n"))


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
    README.write_text(updated(README.read_text(encoding="utf-8")), encoding="utf-8")
