"""`make promises`: measure every published bound, and report whether each is kept.

Exit status: 0 all are kept, 1 one is broken or could not be measured. Other work on the machine makes figures worse.
"""

import argparse
import json
import os
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime

from loadtests import machine
from shared.command_line import add_version
from tests.promises.bounds import HELD, MEASURED
from tests.promises.measurements import SCENES
from tests.promises.report import PAGE, RESULTS, Results, as_page, as_text, is_kept
from tests.support.processes import finished


def main() -> int:
    """Measure all bounds; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.promises", description=__doc__)
    parser.add_argument("--write", action="store_true", help="replace the published table")
    names = [scene.__name__ for scene in SCENES]
    parser.add_argument("--only", choices=names, help="measure one scene and print no table")
    add_version(parser)
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    scenes = [scene for scene in SCENES if arguments.only in (None, scene.__name__)]
    measured: dict[str, float] = {}
    for scene in scenes:
        # A scene that fails leaves its bounds unmeasured, which is a broken promise; the others are measured.
        try:
            for name, value in scene():
                measured[name] = round(value, 3)
                print(f"{name}: {value:.3f} {MEASURED[name].unit}", flush=True)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is reported and the exit status is 1
            print(f"{scene.__name__} failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    if arguments.only:
        return 0
    results = Results(datetime.now(UTC).date().isoformat(), machine.describe(), round(load, 2), measured, _held())
    print(f"\n{as_text(results)}")
    if arguments.write:
        RESULTS.write_text(json.dumps(results.__dict__, indent=2) + "\n", encoding="utf-8")
        PAGE.write_text(as_page(results), encoding="utf-8")
    return 0 if is_kept(results) else 1


def _held() -> list[str]:
    """Run the tests of the bounds in simulated time; return those that pass."""
    passed = []
    for one in HELD:
        command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", f"tests/{one.test}"]
        with suppress(subprocess.TimeoutExpired):
            if not finished(command).returncode:
                passed.append(one.test)
    return passed


if __name__ == "__main__":
    sys.exit(main())
