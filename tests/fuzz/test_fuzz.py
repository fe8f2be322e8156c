"""A short run of the fuzzer, and every vector as an input."""

import importlib.util
import re
import sys
from pathlib import Path

from tests.fuzz.entry_points import ENTRY_POINTS, run, write_corpus
from tests.support.processes import finished
from tests.support.programs import absent

RUNS = 30_000
SECONDS = 20


def test_every_vector_passes_the_entry_points(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    inputs = [path.read_bytes() for path in tmp_path.iterdir()]
    assert {data[:1] for data in inputs} == set(ENTRY_POINTS)
    for data in inputs:
        run(data)


def test_a_bounded_run_of_the_fuzzer_finds_nothing(tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        absent("atheris is not installed")
    fuzzer = finished(
        [
            *(sys.executable, "-m", "tests.fuzz.target", str(tmp_path / "corpus"), "-seed=1"),
            *(f"-runs={RUNS}", f"-max_total_time={SECONDS}", f"-artifact_prefix={tmp_path}/"),
        ],
        seconds=SECONDS + 60,
    )
    assert fuzzer.returncode == 0, fuzzer.stdout[-2000:] + fuzzer.stderr[-4000:]
    done = re.search(r"Done (\d+) runs", fuzzer.stderr)
    assert done is not None
    assert int(done[1]) > RUNS / 100
