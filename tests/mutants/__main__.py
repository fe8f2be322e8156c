"""`make mutants`: change the code of a package, one place at a time, and list the changes that no test detects.

mutmut works in a copy of the tree in `.mutants/`, and continues there after an interruption. Exit status: 0 every
survivor has a reason in `survivors.json` and the score reaches its target, 1 otherwise, 2 not finished in time.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tests.mutants import POSTGRES
from tests.mutants.scores import PAGE, REJECTED, RESULTS, with_scores
from tests.support.documents import git
from tests.support.postgres import running_postgres
from tests.support.processes import ROOT

PACKAGES: Final = Path(__file__).with_name("packages.toml")
_MUTMUT: Final = Path(sys.executable).with_name("mutmut")
_OUTCOMES: Final = {1: "killed", 3: "killed", 0: "survived", 5: "survived", 33: "survived", 37: REJECTED} | {
    None: "unfinished"
}
"""mutmut's exit statuses; 5 and 33 are changes in code that no test executes. All others are timeouts and crashes."""

_MYPY: Final = [
    *(sys.executable, "-m", "mypy", "--output=json", "--no-warn-unused-ignores"),
    *(f"--disable-error-code={code}" for code in ("misc", "no-redef")),
]
"""Options without the errors that mutmut causes: it repeats each function, and marks its own lines."""


def main() -> int:
    """Run the command and return the exit status."""
    packages = tomllib.loads(PACKAGES.read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("package", choices=list(packages))
    parser.add_argument("--seconds", type=int, default=600, help="stop after this time; the next run goes on")
    parser.add_argument("--write", action="store_true", help="record and publish the score, keeping reasons")
    arguments = parser.parse_args()
    # A shell starts background jobs with SIGINT ignored; mutmut must not inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = ROOT / ".mutants" / arguments.package.replace("/", "-")
    recorded = json.loads(RESULTS.read_text(encoding="utf-8"))
    reasons = {one["mutant"]: one["reason"] for one in recorded.get(arguments.package, {}).get("survivors", [])}
    _copy_the_tree(folder, arguments.package, packages[arguments.package])
    survived_before = {name for name, outcome in _outcomes(folder).items() if outcome == "survived"}
    with _environment(in_process=packages[arguments.package].get("in_process", False)) as environ:
        if not _run(folder, environ, arguments.seconds):
            return 2
        # On a busy machine a test can take too long: a timeout is tried again before it counts. mutmut keeps
        # its verdicts when tests change, so what survived an earlier run is tried again too.
        again = [
            name
            for name, outcome in _outcomes(folder).items()
            if outcome == "timeout" or (outcome == "survived" and name in survived_before and not reasons.get(name))
        ]
        if again and not _run(folder, environ, arguments.seconds, *again):
            return 2
    outcomes = _outcomes(folder)
    counts = Counter(outcomes.values())
    if counts["unfinished"] or not outcomes:
        print(f"{counts['unfinished']} of {len(outcomes)} are not tried yet; run it again")
        return 2
    survivors = [
        {"mutant": name, "change": _change(folder, name), "reason": reasons.get(name, "")}
        for name, outcome in outcomes.items()
        if outcome == "survived"
    ]
    score = 100 * (1 - len(survivors) / len(outcomes))
    for one in survivors:
        print(f"{one['mutant']}: {one['reason'] or 'no reason'}", *one["change"], sep="\n    ")
    print(f"{arguments.package}: {len(outcomes) - len(survivors)} of {len(outcomes)} noticed ({score:.1f} %)")
    if arguments.write:
        now = datetime.now(UTC).date().isoformat()
        recorded[arguments.package] = {
            "date": now,
            "mutants": len(outcomes),
            "timeouts": counts["timeout"],
            **({REJECTED: counts[REJECTED]} if packages[arguments.package].get("mypy") else {}),
            "score": round(score, 1),
            "survivors": survivors,
        }
        RESULTS.write_text(json.dumps(recorded, indent=2) + "\n", encoding="utf-8")
        PAGE.write_text(with_scores(PAGE.read_text(encoding="utf-8"), recorded), encoding="utf-8")
    unexplained = sum(not one["reason"] for one in survivors)
    reached = 100 * (1 - unexplained / len(outcomes)) >= packages[arguments.package]["target"]
    return 0 if reached else 1


def _copy_the_tree(folder: Path, package: str, settings: dict[str, Any]) -> None:
    """Update the copy. Unchanged files keep their time, by which mutmut finds changes."""
    names = git("ls-files").stdout.splitlines()
    for name in (name for name in names if (ROOT / name).is_file()):
        copy = folder / name
        if name != "pyproject.toml" and not (copy.exists() and copy.read_bytes() == (ROOT / name).read_bytes()):
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy)
    sources = sorted({path.split("/")[0] for path in names} - {"tests", "pyproject.toml"})
    selected = [*settings["tests"], *(f"--deselect={test}" for test in settings.get("without", []))]
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for unwanted in ('"--dist=loadfile", ', '"ignore-without-code", ', '"redundant-expr", '):
        assert unwanted in project
        project = project.replace(unwanted, "")
    options = {
        "source_paths": [package.split("/", maxsplit=1)[0]],
        "only_mutate": [f"{package}/*"],
        "also_copy": [source for source in sources if source != package.split("/", maxsplit=1)[0]],
        # One process, warnings of mutmut's own code allowed, and no time limit of pytest: mutmut has one.
        "pytest_add_cli_args": [
            *("-p", "no:xdist", "-p", "no:cacheprovider", "--timeout=0", "-W", "ignore"),
            *(("-p", "tests.mutants.in_process") if settings.get("in_process") else ()),
        ],
        "pytest_add_cli_args_test_selection": selected,
        # An endless loop ends after three times the duration of the tests and half a minute. The default is 15.
        "timeout_constant": 10.0,
        "timeout_multiplier": 3.0,
    }
    if settings.get("mypy"):
        options["type_check_command"] = [*_MYPY, package]
    lines = [f"{name} = {json.dumps(value)}" for name, value in options.items()]
    lines.append("use_git_change_detection = false")
    (folder / "pyproject.toml").write_text("\n".join([project, "[tool.mutmut]", *lines, ""]), encoding="utf-8")


@contextmanager
def _environment(*, in_process: bool) -> Iterator[dict[str, str]]:
    """Yield the environment of mutmut, with a PostgreSQL for `in_process.py`."""
    environ = os.environ | {"GATEPASS_TESTS_IN_PROCESS": "1"}
    if not in_process:
        yield environ
        return
    with running_postgres() as server:
        server.make_template()
        yield environ | {POSTGRES: str(server.server.pgdata)}


def _run(folder: Path, environ: Mapping[str, str], seconds: int, *mutants: str) -> bool:
    """Run mutmut on one processor; return whether it finished."""
    command = ["nice", "-n", "15", str(_MUTMUT), "run", "--max-children", "1", *mutants]
    with (folder / "mutmut.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environ, stdout=log, stderr=log)
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # it ends the process that it has forked
            process.wait()
            print(f"not finished in {seconds} s; run it again to go on")
            return False
    if status:
        print((folder / "mutmut.log").read_text(encoding="utf-8", errors="replace")[-2000:], file=sys.stderr)
    return status == 0


def _outcomes(folder: Path) -> dict[str, str]:
    found: dict[str, int | None] = {}
    for path in sorted((folder / "mutants").rglob("*.meta")):
        found |= json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
    return {name: _OUTCOMES.get(status, "timeout") for name, status in found.items()}


def _change(folder: Path, mutant: str) -> list[str]:
    shown = subprocess.run(
        [str(_MUTMUT), "show", mutant], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return [line for line in shown if line[:1] in "+-" and line[:3] not in ("+++", "---")]


if __name__ == "__main__":
    sys.exit(main())
